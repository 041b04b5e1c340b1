"""What nodes know as if all had joined and looked for their keys, without the messages of it.

Each bucket gets as many nodes as it takes, drawn at random from all whose place belongs in it. That
is what joining comes to in a network that has lived for a while, except that real joins leave the
buckets nearest to a node incomplete now and then.
"""

import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache

from qis.overlay.ids import ID_BITS, rendezvous_id
from qis.overlay.messages import RECORDS_LIMIT
from qis.overlay.node import OverlayNode
from qis.overlay.record import Contact
from qis.overlay.table import BUCKET_SIZE


class Places:
    """All nodes in the order of their places, so that those near one are found by its prefix."""

    def __init__(self, nodes: Iterable[OverlayNode]) -> None:
        self.contacts = sorted((node.contact for node in nodes), key=lambda contact: contact.id)
        self._ids = [contact.id for contact in self.contacts]

    def under(self, place: int, bits: int) -> range:
        """Which contacts differ from a place in its last `bits` bits only."""
        start = place >> bits << bits
        return range(bisect_left(self._ids, start), bisect_left(self._ids, start + (1 << bits)))

    def closest(self, place: int, count: int) -> tuple[Contact, ...]:
        """The contacts closest to a place, closest first: all if there are no more."""
        bits = 0
        while len(self.under(place, bits)) < count and bits < ID_BITS:
            bits += 1
        near = (self.contacts[i] for i in self.under(place, bits))
        return tuple(sorted(near, key=lambda contact: contact.id ^ place)[:count])


def fill_tables(nodes: Sequence[OverlayNode], rng: random.Random) -> None:
    """Fill the table of each node."""
    places = Places(nodes)
    for node in nodes:
        own = node.contact.id
        for bits in range(ID_BITS - 1, -1, -1):
            bucket = places.under(own ^ 1 << bits, bits)
            for i in rng.sample(bucket, min(BUCKET_SIZE, len(bucket))):
                node.table.add(places.contacts[i])
            if len(places.under(own, bits)) == 1:
                break


def fill_places(nodes: Sequence[OverlayNode], keys: Sequence[Iterable[bytes]]) -> None:
    """Let each node remember who is closest to its keys, as if it had looked for them before."""
    places = Places(nodes)

    @cache
    def closest(key: bytes) -> tuple[int, tuple[Contact, ...]]:
        place = rendezvous_id(key)
        return place, places.closest(place, RECORDS_LIMIT)

    for node, own in zip(nodes, keys, strict=True):
        for key in own:
            node.lookup_driver.remember(*closest(key))
