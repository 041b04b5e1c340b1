"""What nodes know as if all had joined and looked for their keys, without the messages of it.

Each bucket gets as many nodes as it takes, drawn at random from all whose place belongs in it. That
is what joining comes to in a network that has lived for a while, except that real joins leave the
buckets nearest to a node incomplete now and then.
"""

import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache
from heapq import nsmallest

from qis.overlay.ids import ID_BITS, rendezvous_id
from qis.overlay.messages import RECORDS_LIMIT
from qis.overlay.node import OverlayNode
from qis.overlay.record import Contact
from qis.overlay.table import BUCKET_SIZE


def fill_tables(nodes: Sequence[OverlayNode], rng: random.Random) -> None:
    """Fill the table of each node."""
    contacts = sorted((node.contact for node in nodes), key=lambda contact: contact.id)
    places = [contact.id for contact in contacts]
    for node in nodes:
        for bits in range(ID_BITS - 1, -1, -1):
            start = (node.contact.id >> bits ^ 1) << bits
            first, last = bisect_left(places, start), bisect_left(places, start + (1 << bits))
            for i in rng.sample(range(first, last), min(BUCKET_SIZE, last - first)):
                node.table.add(contacts[i])
            own = node.contact.id >> bits << bits
            if bisect_left(places, own + (1 << bits)) - bisect_left(places, own) == 1:
                break


def fill_places(nodes: Sequence[OverlayNode], keys: Sequence[Iterable[bytes]]) -> None:
    """Let each node remember who is closest to its keys, as if it had looked for them before."""
    contacts = [node.contact for node in nodes]

    @cache
    def closest(target: int) -> list[Contact]:
        return nsmallest(RECORDS_LIMIT, contacts, key=lambda contact: contact.id ^ target)

    for node, own in zip(nodes, keys, strict=True):
        for key in own:
            target = rendezvous_id(key)
            node.finder.remember(target, closest(target))
