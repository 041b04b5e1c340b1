"""One session: two keys, a counter for what goes out, a window for what comes in."""

import math
import struct
from typing import Final

from qis.channel.ciphers import TAG_SIZE, Keys, seal, unseal
from qis.channel.handshake import DATA
from qis.channel.replay_window import ReplayWindow

_HEAD = struct.Struct(">BIQ")
OVERHEAD: Final = _HEAD.size + TAG_SIZE
"""Bytes that a sealed datagram is longer: 29."""
LIFETIME_S: Final = 900.0
"""After this a session is gone, with its keys."""
RENEW_AFTER_S: Final = 600.0
DEAD_AFTER_S: Final = 15.0
"""If so long after something was sent nothing authentic has come, the other may have begun anew and
know nothing of the session: it is called again, while this one still serves."""
RENEW_AFTER_SENT: Final = 2**32
"""A session older or busier than this is renewed while it still serves."""


class Session:
    """What two nodes share after a handshake.

    Parameters
    ----------
    peer
        The other's node key, 32 bytes.
    address
        Where it is; it moves once the peer has answered a challenge elsewhere (`Roaming`).
    keys
        To open and to seal with.
    own_number, peer_number
        The session's number here and there.
    now
        Seconds of a clock that never steps.
    clock_s
        The other's date, in Unix seconds, when the clock of `now` was at 0: what the handshake
        showed less `now`, so that it stays right when this machine's date is set.

    """

    __slots__ = (
        "_keys",
        "_sent",
        "_window",
        "address",
        "awaited_since",
        "clock_s",
        "expires_at",
        "former_addresses",
        "moved_at",
        "own_number",
        "peer",
        "peer_number",
        "renew_at",
    )

    def __init__(
        self,
        *,
        peer: bytes,
        address: bytes,
        keys: Keys,
        own_number: int,
        peer_number: int,
        now: float,
        clock_s: float,
    ) -> None:
        self.peer = peer
        self.address = address
        self.own_number = own_number
        self.peer_number = peer_number
        self.expires_at = now + LIFETIME_S
        self.renew_at = now + RENEW_AFTER_S
        self.clock_s = clock_s
        self.awaited_since: float | None = None
        self.moved_at = -math.inf
        self.former_addresses: list[bytes] = []
        self._keys = keys
        self._sent = 0
        self._window = ReplayWindow()

    @property
    def endpoint(self) -> tuple[bytes, bytes]:
        """The peer's key and its address."""
        return self.peer, self.address

    def is_stale(self, now: float) -> bool:
        """True if it is so old, or has sent so much, that a new handshake is due."""
        return now >= self.renew_at or self._sent >= RENEW_AFTER_SENT

    def seems_dead(self, now: float) -> bool:
        """True if nothing has come back for a while; asked again only after as long again."""
        if self.awaited_since is None:
            self.awaited_since = now
        if now - self.awaited_since < DEAD_AFTER_S:
            return False
        self.awaited_since = now
        return True

    def seal(self, plain: bytes) -> bytes:
        """The datagram that carries these bytes; each call uses the next number."""
        number, self._sent = self._sent, self._sent + 1
        head = _HEAD.pack(DATA, self.peer_number, number)
        return head + seal(plain, head, number, self._keys[1])

    def is_newest(self, data: bytes) -> bool:
        """True if nothing sealed later has come than this datagram, which has been opened."""
        number: int = _HEAD.unpack_from(data)[2]
        return number == self._window.highest

    def unseal(self, data: bytes) -> bytes | None:
        """What a datagram carries, once; `None` if it is forged, changed, or has come before."""
        head = data[: _HEAD.size]
        _, _, number = _HEAD.unpack(head)
        if not self._window.has_room(number):
            return None
        plain = unseal(data[_HEAD.size :], head, number, self._keys[0])
        if plain is not None:
            self._window.note(number)
            self.awaited_since = None
        return plain


def session_number(data: bytes) -> int | None:
    """The receiver's number of the session that a data message belongs to."""
    if len(data) < OVERHEAD:
        return None
    number: int = _HEAD.unpack_from(data)[1]
    return number
