"""The caller's side of a handshake: call, call again, and give up."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from qis._guard import Guard
from qis.channel.ciphers import AgreementError, KeyPair, initiator_keys
from qis.channel.handshake import CallRefused, Initiation, Response, decode_cookie
from qis.channel.session import Session
from qis.channel.sessions import Endpoint, Sessions
from qis.errors import SignatureError
from qis.identity import Identity, verify

CALLS_LIMIT: Final = 1_024
"""Calls under way; beyond these a datagram is dropped and counted."""
WAITING_LIMIT: Final = 64
"""Datagrams that wait for one call; the oldest go first."""
TRY_AFTER_S: Final = (0.4, 0.8, 1.6)
"""How long each try waits for the response, ± 20 %."""
DATE_SET_BACK_MS: Final = 10_000
"""So far ahead of the date the last call's time can only be if the date was set back since."""
COOKIES_LIMIT: Final = 2
"""How often one call is made again for a cookie."""

Send = Callable[[bytes, bytes], None]
"""Takes (datagram, address)."""


@dataclass(slots=True)
class _Call:
    endpoint: Endpoint
    key_pair: KeyPair
    initiation: Initiation
    at: float
    tries: int = 1
    cookies: int = 0
    is_refused: bool = False
    waiting: deque[bytes] = field(default_factory=lambda: deque(maxlen=WAITING_LIMIT))


class Initiator:
    """All handshakes that one node has begun.

    Parameters
    ----------
    identity, sessions, refused, send, key_pairs, unix_s, guard
        The parts of the node that `Channels` describes.
    jitter
        Gives a random factor about 1 for each pause.
    told
        Called with the key of a node that refuses this one's calls, the reason's code, and now.

    """

    def __init__(
        self,
        identity: Identity,
        sessions: Sessions,
        refused: Counter[str],
        send: Send,
        *,
        key_pairs: Callable[[], KeyPair],
        jitter: Callable[[], float],
        unix_s: Callable[[float], float],
        told: Callable[[bytes, int, float], object],
        guard: Guard | None = None,
    ) -> None:
        self._identity = identity
        self._sessions = sessions
        self._refused = refused
        self._guard = guard or Guard()
        self._send = send
        self._key_pairs = key_pairs
        self._jitter = jitter
        self._unix_s = unix_s
        self._told = told
        self._calls: dict[int, _Call] = {}
        self._called: dict[Endpoint, int] = {}
        self._newest_ms = 0

    def __contains__(self, number: object) -> bool:
        return number in self._calls

    def call(self, endpoint: Endpoint, now: float, datagram: bytes | None = None) -> None:
        """Call a node unless that is under way; the datagram goes out once there is a session."""
        number = self._called.get(endpoint)
        if number is None:
            if len(self._calls) >= CALLS_LIMIT:
                if datagram is not None:
                    self._refused["busy"] += 1
                    self._guard.at_limit(
                        "channel.initiator.CALLS_LIMIT",
                        endpoint[0].hex(),
                        "a datagram for this node was dropped: too many calls are under way; "
                        "what has to be acknowledged is sent again",
                    )
                return
            number = self._begin(endpoint, now)
        if datagram is not None:
            waiting = self._calls[number].waiting
            if len(waiting) == WAITING_LIMIT:
                self._refused["overflow"] += 1
                self._guard.at_limit(
                    "channel.initiator.WAITING_LIMIT",
                    endpoint[0].hex(),
                    "a datagram was dropped that waited for a channel to this node; what has to "
                    "be acknowledged is sent again",
                )
            waiting.append(datagram)

    def next_timer(self) -> float | None:
        """When a call has to be made again."""
        return min((call.at for call in self._calls.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Call again, or give up, where no response has come."""
        for number, call in list(self._calls.items()):
            if call.at > now:
                continue
            if call.tries >= len(TRY_AFTER_S):
                self._refused["unreachable"] += len(call.waiting)
                self._end(number)
            else:
                call.at = now + TRY_AFTER_S[call.tries] * self._jitter()
                call.tries += 1
                self._send(call.initiation.encode(), call.endpoint[1])

    def on_response(self, data: bytes, address: bytes, now: float) -> None:
        """Finish a call: the session is used, and what has waited is sent."""
        response = Response.decode(data)
        call = None if response is None else self._calls.get(response.to)
        if response is None or call is None or call.endpoint[1] != address:
            self._refused["malformed" if response is None else "unasked"] += 1
            return
        key = call.endpoint[0]
        try:
            verify(key, response.signed_part(call.initiation.transcript(key)), response.signature)
            keys = initiator_keys(call.key_pair, response.ephemeral)
        except (SignatureError, AgreementError) as error:
            self._refused["signature" if isinstance(error, SignatureError) else "agreement"] += 1
            return
        # Not before both checks: a forged response must not end a call that the true one finishes.
        self._end(response.to)
        session = Session(
            peer=key,
            address=address,
            keys=keys,
            own_number=response.to,
            peer_number=response.session,
            now=now,
            clock_s=response.time_ms / 1000.0 - now,
        )
        self._sessions.use(session)
        # An empty one confirms where nothing waits, as after a renewal.
        for waiting in call.waiting or (b"",):
            self._send(session.seal(waiting), address)

    def on_cookie(self, data: bytes, address: bytes, now: float) -> None:
        """Call again with a proof of address."""
        found = decode_cookie(data)
        call = None if found is None else self._calls.get(found[0])
        if found is None or call is None or call.endpoint[1] != address:
            self._refused["malformed" if found is None else "unasked"] += 1
        elif call.cookies < COOKIES_LIMIT:
            call.cookies += 1
            call.at = now + TRY_AFTER_S[call.tries - 1] * self._jitter()
            call.initiation = replace(call.initiation, cookie=found[1])
            self._send(call.initiation.encode(), address)

    def on_refusal(self, data: bytes, address: bytes, now: float) -> None:
        """Take note, once a call, of why a node does not answer.

        The call goes on: the reason may be gone by the next try.
        """
        refusal = CallRefused.decode(data)
        call = None if refusal is None else self._calls.get(refusal.to)
        if refusal is None or call is None or call.endpoint[1] != address or call.is_refused:
            self._refused["malformed" if refusal is None else "unasked"] += 1
            return
        key = call.endpoint[0]
        try:
            verify(key, refusal.signed_part(call.initiation.transcript(key)), refusal.signature)
        except SignatureError:
            self._refused["signature"] += 1
            return
        call.is_refused = True
        self._told(key, refusal.code, now)

    def _begin(self, endpoint: Endpoint, now: float) -> int:
        number = self._sessions.new_number(self._calls)
        key_pair = self._key_pairs()
        # Each later than the one before: who is called takes no older one from this key.
        self._newest_ms = max(self._newest_ms + 1, int(self._unix_s(now) * 1000), 0)
        if self._newest_ms > int(self._unix_s(now) * 1000) + DATE_SET_BACK_MS:
            self._newest_ms = max(0, int(self._unix_s(now) * 1000))
        unsigned = Initiation(
            session=number,
            ephemeral=key_pair[0],
            key=self._identity.issuer.key,
            time_ms=self._newest_ms,
        )
        signature = self._identity.sign(unsigned.signed_part(endpoint[0]))
        initiation = replace(unsigned, signature=signature)
        at = now + TRY_AFTER_S[0] * self._jitter()
        self._calls[number] = _Call(endpoint, key_pair, initiation, at)
        self._called[endpoint] = number
        self._send(initiation.encode(), endpoint[1])
        return number

    def _end(self, number: int) -> None:
        del self._called[self._calls.pop(number).endpoint]
