"""Requests and their answers: numbered, tried three times, tied to the address that was asked.

A datagram to a node whose record is known says which key is expected at the address, so that a
channel beneath can refuse whoever else is there.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from blake3 import blake3

from qis.overlay.bundles import Datagram, bundled
from qis.overlay.lru_cache import LruCache
from qis.overlay.messages import NO_TOKEN, Delivered, Found, Message, Prove, Refused
from qis.overlay.record import NodeRecord
from qis.overlay.round_trips import RoundTrips
from qis.overlay.timers import Timer, Timers

TRY_AFTER_S: Final = (0.5, 1.0, 2.0)
"""How long each try waits for an answer at least, ± 20 %; longer where round trips take longer."""
MEASURED_LIMIT: Final = 4_096
"""Addresses whose round trips are remembered; the one heard of longest ago goes first."""
PROOFS_LIMIT: Final = 2
"""How often one request is sent again because the token was refused."""
UNDER_WAY_LIMIT: Final = 16_384
"""Requests under way; beyond these a request fails as if nobody had answered."""
TOKENS_LIMIT: Final = 4_096
"""Tokens remembered for other nodes; the oldest goes first."""

Build = Callable[[bytes, bytes], Message]
"""Makes the message from its number and the token for the address."""
_Answer = TypeVar("_Answer", bound=Message)


@dataclass(slots=True)
class _UnderWay:
    build: Build
    to: NodeRecord
    expects: type[Message]
    on_answer: Callable[[Any, float], None]
    on_silence: Callable[[float], None]
    on_refusal: Callable[[int, float], object]
    tries: int = 0
    sent_at: float = 0.0
    proofs: int = 0
    timer: Timer | None = None


class Rpc:
    """All that one node sends, and the requests that wait for answers.

    Parameters
    ----------
    timers
        The timers of this node.
    rng
        Source of jitter.
    key
        32 secret bytes that requests are numbered from. Who has not seen a request must not guess
        its number, and so answer it in the name of the node that was asked.

    """

    def __init__(self, timers: Timers, rng: random.Random, key: bytes) -> None:
        self.guard = timers.guard
        self._timers = timers
        self._rng = rng
        self._key = key
        self._numbered = 0
        self._under_way: dict[bytes, _UnderWay] = {}
        self._tokens: LruCache[bytes, bytes] = LruCache(TOKENS_LIMIT)
        self._round_trips: LruCache[bytes, RoundTrips] = LruCache(MEASURED_LIMIT)
        self._out: list[Datagram] = []
        self.asked_by: bytes | None = None
        """The key of the node that is being answered, if a channel has authenticated it."""
        self.unanswered = 0
        """Requests given up since the last answer."""
        self.heard_at: float | None = None
        """When the last answer came."""

    @property
    def is_waiting(self) -> bool:
        """True if a request is under way."""
        return bool(self._under_way)

    @property
    def is_full(self) -> bool:
        """True if a request would fail now without being sent."""
        return len(self._under_way) >= UNDER_WAY_LIMIT

    def take(self) -> list[Datagram]:
        """What is to be sent; taken once."""
        out, self._out = self._out, []
        return bundled(out)

    def answer(self, message: Message, address: bytes) -> None:
        """Send something once to whoever asked from there."""
        self._out.append((message.encode(), address, self.asked_by))

    def new_number(self) -> bytes:
        """The number of a new request: one that was never used, and that nobody can foresee."""
        self._numbered += 1
        return blake3(self._numbered.to_bytes(8), key=self._key).digest(8)

    def acknowledge(self, requests: list[bytes], address: bytes) -> None:
        """Answer several requests from one address at once."""
        for start in range(0, len(requests), Delivered.LIMIT):
            first, *others = requests[start : start + Delivered.LIMIT]
            self.answer(Delivered(request=first, others=tuple(others)), address)

    def send(self, message: Message, to: NodeRecord) -> None:
        """Send something once."""
        self._out.append((message.encode(), to.address, to.key))

    def ask(
        self,
        build: Build,
        to: NodeRecord,
        now: float,
        *,
        expects: type[_Answer],
        on_answer: Callable[[_Answer, float], None],
        on_silence: Callable[[float], None],
        on_refusal: Callable[[int, float], object] = lambda _code, _now: None,
    ) -> None:
        """Send a request until its answer comes or the last try has run out.

        One that is refused is not tried again: `on_refusal` gets the code, then `on_silence` is
        called.

        Should `build` or `on_answer` raise, that is contained, and `on_silence` called: who waits
        for the request must not wait for ever.
        """
        if self.is_full:
            self.guard.at_limit(
                "overlay.rpc.UNDER_WAY_LIMIT",
                to.key.hex(),
                "a request to this node was not sent: too many are under way; it counts as "
                "silent this once",
            )
            self._timers.start(now, on_silence)
            return
        number = self.new_number()
        self._under_way[number] = _UnderWay(build, to, expects, on_answer, on_silence, on_refusal)
        self._try(number, now)

    def hear(self, message: Message, address: bytes, now: float) -> bool:
        """Take an answer in; whether it was one to a request that is under way."""
        if isinstance(message, Delivered) and message.others:
            numbers = (message.request, *message.others)
            heard = [self.hear(Delivered(request=each), address, now) for each in numbers]
            return any(heard)
        request = self._under_way.get(message.request)
        if request is None or request.to.address != address:
            return False
        if isinstance(message, (Found, Prove)):
            self._tokens.put(address, message.token)
        if isinstance(message, Prove) and request.proofs < PROOFS_LIMIT:
            request.proofs += 1
            request.tries -= 1
            self._try(message.request, now)
            return True
        if not isinstance(message, (request.expects, Refused)):
            return False
        del self._under_way[message.request]
        if request.tries == 1:  # of a repeated one nobody knows which try is answered (RFC 6298, 3)
            self._measured(address, now - request.sent_at)
        self.unanswered, self.heard_at = 0, now
        if request.timer is not None:
            request.timer.cancel()
        with self.guard.item("overlay.answer") as item:
            if isinstance(message, Refused):
                request.on_refusal(message.code, now)
            else:
                request.on_answer(message, now)
        if item.failed or isinstance(message, Refused):
            self._timers.start(now, request.on_silence)
        return True

    def _measured(self, address: bytes, seconds: float) -> None:
        known = self._round_trips.get(address) or RoundTrips()
        known.measured(seconds)
        self._round_trips.put(address, known)

    def _try(self, number: bytes, now: float) -> None:
        request = self._under_way.get(number)
        if request is None:
            return
        if request.timer is not None:
            request.timer.cancel()
        if request.tries >= len(TRY_AFTER_S):
            del self._under_way[number]
            self.unanswered += 1
            request.on_silence(now)
            return
        least_s = TRY_AFTER_S[request.tries]
        known = self._round_trips.get(request.to.address)
        if known is not None:
            least_s = max(least_s, known.timeout_s * 2.0**request.tries)
        pause_s = least_s * self._rng.uniform(0.8, 1.2)
        request.tries += 1
        request.sent_at = now
        # Before anything that may fail: the next try, or the end, comes whatever happens.
        request.timer = self._timers.start(now + pause_s, lambda at: self._try(number, at))
        token = self._tokens.get(request.to.address, NO_TOKEN)
        with self.guard.item("overlay.request"):
            self.send(request.build(number, token), request.to)
