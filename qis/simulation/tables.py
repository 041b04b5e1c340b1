"""What nodes know as if all had joined and looked for their keys, without the messages of it.

Each bucket gets as many nodes as it takes, drawn at random from all whose id belongs in it. That
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


class SortedNodes:
    """All nodes in the order of their ids, so that those near an id are found by its prefix."""

    def __init__(self, nodes: Iterable[OverlayNode]) -> None:
        self.contacts = sorted((node.contact for node in nodes), key=lambda contact: contact.id)
        self._ids = [contact.id for contact in self.contacts]

    def under(self, target: int, bits: int) -> range:
        """Which contacts differ from an id in its last `bits` bits only."""
        start = target >> bits << bits
        return range(bisect_left(self._ids, start), bisect_left(self._ids, start + (1 << bits)))

    def closest(self, target: int, count: int) -> tuple[Contact, ...]:
        """The contacts closest to an id, closest first: all if there are no more."""
        bits = 0
        while len(self.under(target, bits)) < count and bits < ID_BITS:
            bits += 1
        near = (self.contacts[i] for i in self.under(target, bits))
        return tuple(sorted(near, key=lambda contact: contact.id ^ target)[:count])


def fill_tables(nodes: Sequence[OverlayNode], rng: random.Random) -> None:
    """Fill the table of each node."""
    sorted_nodes = SortedNodes(nodes)
    for node in nodes:
        own = node.contact.id
        for bits in range(ID_BITS - 1, -1, -1):
            bucket = sorted_nodes.under(own ^ 1 << bits, bits)
            for i in rng.sample(bucket, min(BUCKET_SIZE, len(bucket))):
                node.table.add(sorted_nodes.contacts[i])
            if len(sorted_nodes.under(own, bits)) == 1:
                break


def remember_closest(nodes: Sequence[OverlayNode], keys: Sequence[Iterable[bytes]]) -> None:
    """Let each node remember who is closest to its keys, as if it had looked for them before."""
    sorted_nodes = SortedNodes(nodes)

    @cache
    def closest(key: bytes) -> tuple[int, tuple[Contact, ...]]:
        target = rendezvous_id(key)
        return target, sorted_nodes.closest(target, RECORDS_LIMIT)

    for node, own in zip(nodes, keys, strict=True):
        for key in own:
            node.lookup_driver.remember(*closest(key))
