"""The verified packets that one node keeps while they live, so that each is delivered once.

Bounded; when full, the issuer with most packets loses its oldest. Were it the oldest of all, one
issuer's flood could displace what others have sent, which would be delivered again when it comes
again.
"""

from dataclasses import dataclass
from typing import Final

from qis.overlay.shares import Shares
from qis.packet import Packet

HELD_LIMIT: Final = 16_384
"""Packets held per node (some 30 MiB); what goes would be delivered again."""


@dataclass(frozen=True, slots=True)
class Held:
    """A packet, the keys that it travels under, and the nodes that it went through."""

    packet: Packet
    keys: tuple[bytes, ...]
    hops: int


class HeldPackets:
    """By id, and by issuer."""

    def __init__(self) -> None:
        self._held: dict[bytes, Held] = {}
        self._shares = Shares()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, packet_id: object) -> bool:
        return packet_id in self._held

    def put(self, held: Held) -> None:
        """Keep a packet, or keep it with other keys and hops."""
        packet = held.packet
        packet_id = packet.id
        if packet_id not in self._held:
            self._shares.add(packet.issuer.key, packet_id)
        self._held[packet_id] = held
        if len(self._held) > HELD_LIMIT:
            self._drop(self._held[self._shares.oldest_of_most()])

    def live(self, now: float) -> list[Held]:
        """What is alive, in the order in which it came; what has expired is let go."""
        for held in [held for held in self._held.values() if held.packet.expires_at <= now]:
            self._drop(held)
        return list(self._held.values())

    def _drop(self, held: Held) -> None:
        packet = held.packet
        del self._held[packet.id]
        self._shares.remove(packet.issuer.key, packet.id)
