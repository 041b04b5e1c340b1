"""What a holder checks before it passes a packet on: exactly what the receiver will check."""

from collections.abc import Callable
from typing import Final

from qis.about import routing_commitment
from qis.errors import PeerError
from qis.identity import Issuer
from qis.overlay.retained import Carried
from qis.packet import Packet, content_id, issuer_key, screen

VERIFIED_LIMIT: Final = 4_096
"""Packets remembered as verified, as one comes under each of its keys; the oldest goes first."""


class Inspector:
    """Verifies packets of 512 bytes; a node's `inspect`.

    Parameters
    ----------
    accepts
        Whose packets are passed on; a roster's `accepts`.

    """

    def __init__(self, accepts: Callable[[Issuer], bool]) -> None:
        self._accepts = accepts
        self._verified: dict[bytes, Carried] = {}

    def __call__(self, packet: bytes, keys: tuple[bytes, ...], now: float) -> Carried | None:
        """The carried packet, or `None` if it is not valid now or not signed for these keys."""
        try:
            data = screen(packet, now=now)
            known = self._verified.get(data)
            if known is not None:
                return known if known.keys == keys else None
            if not self._accepts(Issuer(issuer_key(data))):
                return None
            parsed = Packet.parse(data)
        except PeerError:
            return None
        if routing_commitment(keys) != parsed.routing_commitment:  # all, the study's id included
            return None
        carried = Carried(
            id=content_id(data),
            issuer=parsed.issuer.key,
            expires_at=parsed.expires_at,
            keys=keys,
            packet=data,
        )
        self._verified[data] = carried
        if len(self._verified) > VERIFIED_LIMIT:
            del self._verified[next(iter(self._verified))]
        return carried
