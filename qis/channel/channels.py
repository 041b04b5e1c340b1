"""All channels of one node: what goes out is sealed, what comes in is opened, the rest is refused.

A datagram for a node without a session waits while a handshake runs: an initiation, its response,
and the first data message, which shows the responder that the caller holds the keys.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from qis._guard import Guard
from qis.channel.ciphers import KeyPair, new_key_pair
from qis.channel.cookies import Cookies
from qis.channel.handshake import COOKIE, DATA, INITIATION, REFUSAL, RESPONSE
from qis.channel.initiator import Initiator
from qis.channel.responder import Responder
from qis.channel.roaming import ANSWER, Roaming, answer_to
from qis.channel.session import OVERHEAD, Session, session_number
from qis.channel.sessions import Sessions
from qis.identity import Identity, Issuer

PLAIN_LIMIT: Final = 1_232 - OVERHEAD
"""Most bytes in a datagram: sealed, it fits the least path of IPv6 (RFC 8200: 1,280 with heads)."""


class Opened(NamedTuple):
    """What a datagram has carried, where its sender has proven to be, and the sender's key."""

    plain: bytes
    address: bytes
    key: bytes


class Channels:
    """The encrypted channels of one node.

    Parameters
    ----------
    identity
        The node's key pair, which signs handshakes.
    accepts
        Whom it answers; a roster's `accepts`.
    rng
        Source of session numbers and jitter, and of challenges, which nobody may be able to tell.
    secret
        32 bytes that nobody else knows, from the system's source of randomness: the key of cookies.
    key_pairs
        Gives a new ephemeral key pair each time.
    refused
        Where what is refused is counted, by reason.
    unix_s
        The date, in Unix seconds, of a moment of the clock that gives `now`. That one never steps;
        the date is only told to the peer, so that clocks can be compared.
    told
        Called with the key of a node that refuses this one's calls, the reason's code
        (`qis.refusals.RefusalCode`), and now.
    guard
        Tells what was dropped at a limit.

    """

    def __init__(
        self,
        identity: Identity,
        *,
        accepts: Callable[[Issuer], bool],
        rng: random.Random,
        secret: bytes,
        key_pairs: Callable[[], KeyPair] = new_key_pair,
        refused: Counter[str] | None = None,
        unix_s: Callable[[float], float] = lambda now: now,
        told: Callable[[bytes, int, float], object] = lambda _key, _code, _now: None,
        guard: Guard | None = None,
    ) -> None:
        self.refused: Counter[str] = Counter() if refused is None else refused
        self.sessions = Sessions(rng, guard)
        self._roaming = Roaming(self.sessions, rng)
        self._out: list[tuple[bytes, bytes]] = []
        self._initiator = Initiator(
            identity,
            self.sessions,
            self.refused,
            self._put,
            key_pairs=key_pairs,
            jitter=lambda: rng.uniform(0.8, 1.2),
            unix_s=unix_s,
            told=told,
            guard=guard,
        )
        responder = Responder(
            identity,
            self.sessions,
            Cookies(secret),
            self.refused,
            self._put,
            key_pairs=key_pairs,
            accepts=accepts,
            calls=self._initiator,
            unix_s=unix_s,
        )
        self._handlers = {
            INITIATION: responder.on_initiation,
            RESPONSE: self._initiator.on_response,
            COOKIE: self._initiator.on_cookie,
            REFUSAL: self._initiator.on_refusal,
        }

    def send(self, datagram: bytes, address: bytes, key: bytes | None, now: float) -> None:
        """Seal and send, after a handshake if there is no session.

        Parameters
        ----------
        datagram
            At most `PLAIN_LIMIT` bytes.
        address
            Where to.
        key
            The node key expected there, 32 bytes; `None`: whoever was last heard there, as for
            answers. Without a session such a datagram is dropped.

        """
        endpoint = self.sessions.endpoint_at(address) if key is None else (key, address)
        session = None if endpoint is None else self.sessions.newest(endpoint, now)
        if endpoint is None or (session is None and key is None):
            self.refused["no_session"] += 1
        elif session is None:
            self._initiator.call(endpoint, now, datagram)
        else:
            if session.is_stale(now) or session.seems_dead(now):
                self._initiator.call(endpoint, now)
            self.sessions.use(session)
            self._put(session.seal(datagram), session.address)

    def is_known(self, data: bytes) -> bool:
        """True if a datagram names a session in use; whether it is of it, `receive` finds out."""
        number = session_number(data) if data[:1] == bytes([DATA]) else None
        return number is not None and self.sessions.is_in_use(number)

    def receive(self, data: bytes, address: bytes, now: float) -> list[Opened]:
        """What a datagram carries. Never raises."""
        kind = data[0] if data else 0
        if kind == DATA:
            return self._open(data, address, now)
        handler = self._handlers.get(kind)
        if handler is None:
            self.refused["malformed"] += 1
        else:
            handler(data, address, now)
        return []

    def datagrams(self) -> list[tuple[bytes, bytes]]:
        """What has to be sent now, as (datagram, address); taken once."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """When `handle_timer` has to be called next, by the clock of `now`."""
        times = (self._initiator.next_timer(), self.sessions.next_expiry())
        return min((at for at in times if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Call again where no response has come, and forget sessions whose time is over."""
        self._initiator.handle_timer(now)
        self.sessions.expire(now)

    def _open(self, data: bytes, address: bytes, now: float) -> list[Opened]:
        number = session_number(data)
        session = None if number is None else self.sessions.get(number, now)
        is_there = session is not None and session.address == address
        # Who has confirmed nothing yet is heard only where it was answered.
        if session is None or not (is_there or self.sessions.is_confirmed(session)):
            self.refused["malformed" if number is None else "no_session"] += 1
            return []
        plain = session.unseal(data)
        if plain is None:
            self.refused["forged_or_repeated"] += 1
            return []
        self.sessions.use(session)
        if plain[:1] == b"\x00" and self._is_about_address(session, plain, address, now):
            return []
        if not is_there and session.is_newest(data):
            challenge = self._roaming.came_from(session, address, len(data), now)
            if challenge is not None:
                self._put(session.seal(challenge), address)
        return [Opened(plain, session.address, session.peer)] if plain else []

    def _is_about_address(self, session: Session, plain: bytes, address: bytes, now: float) -> bool:
        """True if this was a challenge, which is returned from where it came, or an answer."""
        answer = answer_to(plain)
        if answer is not None:
            self._put(session.seal(answer), address)
            return True
        if not plain.startswith(ANSWER):
            return False
        if not self._roaming.answered(session, plain, address, now):
            self.refused["unasked"] += 1
        return True

    def _put(self, datagram: bytes, address: bytes) -> None:
        self._out.append((datagram, address))

    def __repr__(self) -> str:
        return f"<Channels, {len(self.refused)} reasons for refusals, {len(self._out)} to send>"
