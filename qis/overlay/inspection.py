"""What a holder checks before it passes a packet on: exactly what the receiver will check."""

from collections.abc import Callable
from typing import Final

from qis.about import routing_commitment
from qis.errors import PeerError
from qis.identity import Issuer
from qis.overlay.recent import Recent
from qis.overlay.retained import Carried
from qis.packet import Packet, issuer_key, screen

VERIFIED_LIMIT: Final = 4_096
"""Packets remembered as verified, as one comes from several nodes; the oldest goes first."""


class Inspector:
    """Verifies packets of 512 bytes; a node's `inspect`.

    Parameters
    ----------
    accepts
        Whose packets are passed on; a roster's `accepts`.
    topic_of
        Of packets for which this is the same the newest replaces the others; empty: of none.

    """

    def __init__(
        self,
        accepts: Callable[[Issuer], bool],
        topic_of: Callable[[Packet], bytes] = lambda _: b"",
    ) -> None:
        self._accepts = accepts
        self._topic_of = topic_of
        self._verified: Recent[bytes, tuple[Packet, Carried | None]] = Recent(VERIFIED_LIMIT)

    def parse(self, data: bytes) -> Packet:
        """The packet, verified once: as `Packet.parse`, which raises if it is none."""
        known = self._verified.get(data)
        if known is not None:
            return known[0]
        packet = Packet.parse(data)
        self._verified.put(data, (packet, None))
        return packet

    def carried(self, packet: Packet, keys: tuple[bytes, ...]) -> Carried:
        """A packet that is known to be valid, as the overlay carries it."""
        return Carried(
            id=packet.id,
            issuer=packet.issuer.key,
            expires_at=packet.expires_at,
            keys=keys,
            packet=bytes(packet),
            scheme_id=packet.fingerprint.scheme_id,
            sketch=packet.fingerprint.sketch,
            topic=self._topic_of(packet),
            sequence=packet.sequence,
        )

    def trust(self, packet: Packet, carried: Carried) -> None:
        """Remember a packet that was signed or verified elsewhere in this process."""
        self._verified.put(carried.packet, (packet, carried))

    def __call__(self, packet: bytes, keys: tuple[bytes, ...], now: float) -> Carried | None:
        """The carried packet, or `None` if it is not valid now or not signed for these keys."""
        try:
            data = screen(packet, now=now)
            if not self._accepts(Issuer(issuer_key(data))):
                return None
            known = self._verified.get(data)
            if known is not None and known[1] is not None:
                return known[1] if known[1].keys == keys else None
            parsed = self.parse(data)
        except PeerError:
            return None
        if routing_commitment(keys) != parsed.routing_commitment:  # all, the study's id included
            return None
        carried = self.carried(parsed, keys)
        self.trust(parsed, carried)
        return carried
