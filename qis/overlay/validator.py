"""What a holder checks before it passes a packet on: exactly what the receiver will check."""

from collections.abc import Callable, Iterable
from typing import Final

from qis.about import routing_commitment
from qis.errors import ExpiredError, NotYetValidError, PeerError
from qis.identity import Issuer, issuer_of
from qis.overlay.lru_cache import LruCache
from qis.overlay.message_store import Carried
from qis.packet import Packet, check_numbered, issuer_key, reread, screen, verify_screened
from qis.refusals import RefusalCode

VERIFIED_LIMIT: Final = 4_096
"""Packets remembered as verified, as one comes from several nodes; the oldest goes first."""


class Validator:
    """Verifies packets of 512 bytes; a node's `inspect`.

    Parameters
    ----------
    accepts
        Whose packets are passed on; a roster's `accepts`.
    topic_of
        Gives a packet's topic: of packets with one topic the newest replaces the others. Packets
        with an empty topic replace none.
    holds
        True if these very bytes have been verified and kept elsewhere in this process.
    on_refusal
        Called with a verified packet that is refused for what it says of itself, and the reason.
    on_early
        Called with the bytes of what may be a packet dated in the future; nothing is verified yet.

    """

    def __init__(
        self,
        accepts: Callable[[Issuer], bool],
        topic_of: Callable[[Packet], bytes] = lambda _: b"",
        *,
        holds: Callable[[bytes], bool] = lambda _: False,
        on_refusal: Callable[[Packet, PeerError], object] = lambda _packet, _error: None,
        on_early: Callable[[bytes], object] = lambda _data: None,
    ) -> None:
        self._accepts = accepts
        self._topic_of = topic_of
        self._holds = holds
        self._on_refusal = on_refusal
        self._on_early = on_early
        self._verified: LruCache[bytes, Packet] = LruCache(VERIFIED_LIMIT)
        self._carried: LruCache[bytes, Carried] = LruCache(VERIFIED_LIMIT)
        self._refused: dict[bytes, PeerError] = {}

    def verify_ahead(self, packets: Iterable[bytes], now: float) -> None:
        """Verify several at once, which `parse` will be asked for before the next several."""
        fresh = self._to_be_verified(packets, now)
        self._refused = {}
        for data, found in zip(fresh, verify_screened(fresh), strict=True):
            if isinstance(found, Packet):
                self._verified.put(data, found)
            else:
                self._refused[data] = found

    def remember(self, packet: Packet) -> None:
        """Remember a packet that was verified elsewhere in this process and not kept."""
        self._verified.put(bytes(packet), packet)

    def known(self, data: bytes) -> Packet | None:
        """The packet of these bytes, if they were verified lately."""
        return self._verified.get(data)

    def parse(self, data: bytes) -> Packet:
        """The packet, verified once: as `Packet.parse`, which raises if it is none."""
        if (known := self.known(data)) is not None:
            return known
        if (refused := self._refused.get(data)) is not None:
            raise refused
        packet = reread(data) if self._holds(data) else Packet.parse(data)
        self._verified.put(data, packet)
        return packet

    def carried(self, packet: Packet, keys: tuple[bytes, ...]) -> Carried:
        """A packet that is known to be valid, as the overlay carries it."""
        about = packet.fingerprint
        return Carried(
            id=packet.id,
            issuer=packet.issuer.key,
            expires_at=packet.expires_at,
            keys=keys,
            packet=bytes(packet),
            scheme_id=about.scheme_id,
            sketch=about.sketch,
            topic=self._topic_of(packet),
            sequence=packet.sequence,
        )

    def trust(self, packet: Packet, carried: Carried) -> None:
        """Remember a packet that was signed or verified elsewhere in this process."""
        self._verified.put(carried.packet, packet)
        self._carried.put(carried.packet, carried)

    def __call__(
        self, packet: bytes, keys: tuple[bytes, ...], now: float
    ) -> Carried | RefusalCode | None:
        """The carried packet, or why not: a code for its issuer, or `None` for what is no packet.

        A code says nothing of whether the signature is right, so it is only for who sent it.
        """
        data = self._current(packet, now)
        if not isinstance(data, bytes):
            return data
        known = self._carried.get(data)
        if known is not None:
            return known if known.keys == keys else None
        try:
            parsed = self.parse(data)
        except PeerError:
            return None
        try:
            check_numbered(parsed.sequence, parsed.issued_at)
        except PeerError as error:
            self._on_refusal(parsed, error)
            return RefusalCode.SEQUENCE
        if routing_commitment(keys) != parsed.routing_commitment:  # all, the study's id included
            return None
        carried = self.carried(parsed, keys)
        self.trust(parsed, carried)
        return carried

    def _current(self, packet: bytes, now: float) -> bytes | RefusalCode | None:
        """The bytes of what passes the cheap checks, or which of them refuses it."""
        try:
            data = screen(packet, now=now)
        except NotYetValidError:
            self._on_early(bytes(packet))
            return RefusalCode.CLOCK
        except ExpiredError:
            return RefusalCode.CLOCK
        except PeerError:
            return None
        return data if self._accepts(issuer_of(issuer_key(data))) else RefusalCode.ROSTER

    def _to_be_verified(self, packets: Iterable[bytes], now: float) -> list[bytes]:
        """Those that pass the cheap checks and have not been verified, once each."""
        fresh: dict[bytes, None] = {}
        for data in packets:
            if data in self._verified:
                continue
            try:
                issuer = issuer_of(issuer_key(screen(data, now=now)))
            except PeerError:
                continue
            if self._accepts(issuer) and not self._holds(data):
                fresh[data] = None
        return list(fresh)
