"""Routing tables as if all nodes had joined, without the messages of it.

Each bucket gets as many nodes as it takes, drawn at random from all whose place belongs in it. That
is what joining comes to in a network that has lived for a while, except that real joins leave the
buckets nearest to a node incomplete now and then.
"""

import random
from bisect import bisect_left
from collections.abc import Sequence

from qis.overlay.ids import ID_BITS
from qis.overlay.node import OverlayNode
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
