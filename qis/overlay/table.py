"""The routing table: few contacts far away, all of them nearby (Kademlia, section 2.4).

Contacts are kept by the length of the prefix that they share with this node. A full bucket keeps
whom it has (who has been there long stays longest) and holds newcomers in reserve; when a contact
dies, the newest in reserve replaces it.
"""

from bisect import insort
from collections.abc import Callable, Iterator
from typing import Final

from qis.overlay.addresses import subnet_of
from qis.overlay.ids import ID_BITS
from qis.overlay.record import Contact

BUCKET_SIZE: Final = 8
RESERVE_SIZE: Final = 8
"""Newcomers held per full bucket; the one heard of longest ago goes first."""

SILENT_LIMIT: Final = 32
"""Contacts remembered that have fallen silent; the one that did so longest ago goes first."""


class _Bucket:
    __slots__ = ("contacts", "reserve")

    def __init__(self) -> None:
        self.contacts: dict[int, Contact] = {}
        self.reserve: dict[int, Contact] = {}


class RoutingTable:
    """At most 256 buckets of 8 contacts and 8 in reserve.

    Parameters
    ----------
    own_id
        This node's id; it is never in its own table.
    subnet_limit
        Most contacts of one subnet in a bucket; `None` where nodes share a network on purpose.

    """

    def __init__(self, own_id: int, *, subnet_limit: int | None = None) -> None:
        self._own_id = own_id
        self._subnet_limit = subnet_limit
        self._news: list[Contact] = []
        self._silent: dict[int, Contact] = {}
        self._buckets: dict[int, _Bucket] = {}
        self._order: list[int] = []  # the buckets' indices, ascending
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Contact]:
        for bucket in self._buckets.values():
            yield from bucket.contacts.values()

    def __contains__(self, node: int) -> bool:
        return self.get(node) is not None

    def get(self, node: int) -> Contact | None:
        """The contact with this id, if the table has it (reserves not counted)."""
        bucket = self._buckets.get(self._index(node))
        return bucket.contacts.get(node) if bucket else None

    def add(self, contact: Contact) -> bool:
        """Take in a node that has answered; whether it is in the table now.

        A record with a lower sequence than the known one changes nothing.
        """
        if contact.id == self._own_id:
            return False
        self._silent.pop(contact.id, None)
        bucket = self._bucket(self._index(contact.id))
        known = bucket.contacts.get(contact.id)
        if known is not None:
            if contact.record.sequence > known.record.sequence:
                self._news.append(contact)
                bucket.contacts[contact.id] = contact
            return True
        if len(bucket.contacts) < BUCKET_SIZE and self._subnet_allows(bucket, contact):
            bucket.contacts[contact.id] = contact
            bucket.reserve.pop(contact.id, None)
            self._size += 1
            self._news.append(contact)
            return True
        bucket.reserve.pop(contact.id, None)
        bucket.reserve[contact.id] = contact
        if len(bucket.reserve) > RESERVE_SIZE:
            del bucket.reserve[next(iter(bucket.reserve))]
        return False

    def take_news(self) -> list[Contact]:
        """Who has come in since this was last called, or has come back with another record."""
        news, self._news = self._news, []
        return news

    @property
    def silent(self) -> tuple[Contact, ...]:
        """Who has fallen silent and not answered since; at most `SILENT_LIMIT`."""
        return tuple(self._silent.values())

    def silence(self, node: int) -> None:
        """Let go of a node that does not answer, and remember it: it may only be out of reach."""
        contact = self.get(node)
        self.remove(node)
        if contact is not None:
            self._silent[node] = contact
            if len(self._silent) > SILENT_LIMIT:
                del self._silent[next(iter(self._silent))]

    def remove(self, node: int) -> None:
        """Let go of a node; the newest admissible in reserve follows."""
        bucket = self._buckets.get(self._index(node))
        if bucket is None:
            return
        bucket.reserve.pop(node, None)
        if bucket.contacts.pop(node, None) is None:
            return
        self._size -= 1
        for heir in reversed(list(bucket.reserve.values())):
            if self._subnet_allows(bucket, heir):
                del bucket.reserve[heir.id]
                bucket.contacts[heir.id] = heir
                self._size += 1
                return

    def keep(self, is_kept: Callable[[Contact], bool]) -> None:
        """Let go of all others, those in reserve and the silent ones too."""
        self._silent = {node: each for node, each in self._silent.items() if is_kept(each)}
        for bucket in self._buckets.values():
            bucket.reserve = {n: c for n, c in bucket.reserve.items() if is_kept(c)}
            for node in [node for node, c in bucket.contacts.items() if not is_kept(c)]:
                self.remove(node)

    def closest(self, target: int, count: int) -> list[Contact]:
        """The `count` contacts closest to an id, closest first."""
        found: list[Contact] = []
        for index in self._nearest_first(target):
            bucket = self._buckets[index].contacts.values()
            found += sorted(bucket, key=lambda contact: contact.id ^ target)
            if len(found) >= count:
                break
        return found[:count]

    def _nearest_first(self, target: int) -> Iterator[int]:
        """The buckets by their distance from an id: all of one are closer than all of the next.

        A bucket is a bit in which its contacts differ from this node. Where the target differs too,
        they are closer to it than this node is, by the highest such bit most; the others are
        farther away, by the lowest least.
        """
        differing = self._own_id ^ target
        for index in self._order:
            if differing >> (ID_BITS - 1 - index) & 1:
                yield index
        for index in reversed(self._order):
            if not differing >> (ID_BITS - 1 - index) & 1:
                yield index

    def _bucket(self, index: int) -> _Bucket:
        bucket = self._buckets.get(index)
        if bucket is None:
            bucket = self._buckets[index] = _Bucket()
            insort(self._order, index)
        return bucket

    def _index(self, node: int) -> int:
        return ID_BITS - (node ^ self._own_id).bit_length()

    def _subnet_allows(self, bucket: _Bucket, contact: Contact) -> bool:
        if self._subnet_limit is None:
            return True
        subnet = subnet_of(contact.record.address)
        same = sum(subnet_of(c.record.address) == subnet for c in bucket.contacts.values())
        return same < self._subnet_limit
