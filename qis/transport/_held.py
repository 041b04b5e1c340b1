"""The verified packets that one node keeps while they live, so that each is delivered once.

Kept are bytes: what else a packet is made of takes twice the memory, and is read again for the few
that are asked for. Bounded; when full, issuers with more than an equal share lose their oldest, and
of those the ids are remembered for as long as there is room. Were it the oldest of all, one
issuer's flood could displace what others have sent.
"""

from collections import Counter
from typing import Final

from qis import _layout
from qis._guard import Guard
from qis.overlay.delivering import Arrived
from qis.overlay.lru_cache import LruCache
from qis.packet import content_id, issuer_key

HELD_LIMIT: Final = 16_384
"""Packets held per node (some 20 MiB)."""
KNOWN_LIMIT: Final = 65_536
"""Ids of packets that were held (some 12 MiB); what goes would be delivered again."""


class HeldPackets:
    """The packets that have arrived, by id and by issuer."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard or Guard()
        self._held: dict[bytes, Arrived] = {}
        self._of_issuer: Counter[bytes] = Counter()
        self._known: LruCache[bytes, None] = LruCache(KNOWN_LIMIT)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, packet_id: object) -> bool:
        """True if the packet of this id has come and need not come again."""
        return packet_id in self._held or packet_id in self._known

    def has_bytes(self, data: bytes) -> bool:
        """True if exactly these bytes are held: with another signature they would be unverified."""
        held = self._held.get(content_id(data))
        return held is not None and held[0] == data

    def is_own(self, packet_id: bytes) -> bool:
        """True if the packet of this id is held and was published here: it came over no hop."""
        held = self._held.get(packet_id)
        return held is not None and held[2] == 0

    def put(self, packet_id: bytes, arrived: Arrived) -> None:
        """Keep a packet, or replace the keys and hops of one that is held."""
        if packet_id not in self._held:
            self._of_issuer[issuer_key(arrived[0])] += 1
        self._held[packet_id] = arrived
        if len(self._held) > HELD_LIMIT:
            self._let_go(HELD_LIMIT // 64 + 1)  # many at once, since each search reads all

    def _let_go(self, number: int) -> None:
        # An equal share of what remains: the issuers above it hold at least `number` too many.
        share = (HELD_LIMIT - number) // len(self._of_issuer)
        going = []
        for packet_id, (data, _, _) in self._held.items():
            issuer = issuer_key(data)
            if self._of_issuer[issuer] > share:
                self._of_issuer[issuer] -= 1
                going.append(packet_id)
                if len(going) == number:
                    break
        for packet_id in going:
            issuer = issuer_key(self._held.pop(packet_id)[0])
            self._guard.at_limit(
                "transport._held.HELD_LIMIT",
                issuer.hex(),
                "a packet is held here no longer: subscriptions that open later get it when it "
                "is published again",
            )
            if not self._of_issuer[issuer]:
                del self._of_issuer[issuer]
            if len(self._known) >= KNOWN_LIMIT:
                self._guard.at_limit(
                    "transport._held.KNOWN_LIMIT",
                    "",
                    "a packet is forgotten, and would be delivered again; a store takes it once",
                )
            self._known.put(packet_id, None)

    def want_all(self) -> None:
        """Forget the ids of what is no longer held: a new subscription has not received it."""
        self._known.clear()

    def live(self, now: float) -> list[Arrived]:
        """Drop what has expired, and return the rest in the order of arrival."""
        for packet_id in [i for i, (data, _, _) in self._held.items() if _expiry(data) <= now]:
            self._drop(packet_id)
        return list(self._held.values())

    def _drop(self, packet_id: bytes) -> None:
        issuer = issuer_key(self._held.pop(packet_id)[0])
        self._of_issuer[issuer] -= 1
        if not self._of_issuer[issuer]:
            del self._of_issuer[issuer]


def _expiry(data: bytes) -> int:
    """Unix seconds at which the packet of these 512 bytes expires."""
    return int.from_bytes(data[_layout.EXPIRES_AT], "big")
