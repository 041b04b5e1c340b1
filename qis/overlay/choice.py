"""Which of the keys that packet and subscription share carry it: the same at every node.

Rendezvous nodes do not talk to each other. Both key lists are known at each, so all rank the shared
keys by one hash and each forwards only under a key that is chosen. The rank depends on packet and
subscriber, so that load spreads; ranked by key order, the busiest node would send ten times as
much. Two keys survive one bad node; the receiver drops the second copy.
"""

from collections.abc import Collection
from typing import Final

from blake3 import blake3

CHOSEN_KEYS: Final = 2


def chosen_keys(
    packet_id: bytes,
    attempt: int,
    subscriber: bytes,
    shared: Collection[bytes],
    *,
    count: int = CHOSEN_KEYS,
) -> list[bytes]:
    """The min(count, shared) shared keys under which a packet goes to a subscriber.

    Parameters
    ----------
    packet_id, subscriber
        32 bytes each: the content's id, and the subscriber's public key.
    attempt
        In [0, 255]; another one chooses anew when a packet is published again.
    shared
        The routing keys, 8 bytes each, that both have and under which the packet is wanted.
    count
        Most keys to choose.

    """
    if len(shared) <= count:
        return sorted(shared)
    # Highest random weight hashing (Thaler and Ravishankar 1998): every node ranks alike, unasked.
    prefix = packet_id + bytes([attempt]) + subscriber
    return sorted(shared, key=lambda key: blake3(prefix + key).digest(8))[:count]
