"""From the outbox to the network, and out of the outbox once another site holds the packet.

Each packet goes its own way: one that the network refuses is tried again later, and keeps no other
back. Only what the transport calls held (`qis.transport.Holding`) is "sent". What expires first, or
is replaced by a newer version, leaves the outbox too, each with an event that says so.
"""

import asyncio
import heapq
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from qis._guard import is_stray
from qis.errors import QISError, TransportError
from qis.evidence.rules import EvidenceKey, evidence_key
from qis.health import Condition, HealthState
from qis.loop.events import Announcer, EventKind
from qis.loop.journal import Journal
from qis.loop.outbox import Outbox, Unsent
from qis.packet import Packet
from qis.transport import Holding, Transport

FIRST_RETRY_S: Final = 0.5
"""Pause before a packet that the transport has refused is offered again; then twice as long."""
LAST_RETRY_S: Final = 60.0
TURN: Final = 16
"""Packets handed over before others have their turn. What confirms looks at all that wait, in each
turn: at one packet a turn that would be a square."""
HAND_AGAIN_S: Final = 600.0
"""When a packet that the transport has taken, and that nobody holds, is offered anew: a transport
that was opened again in between has forgotten it."""
HAND_S: Final = 30.0
"""How long the transport has to take one packet, before the next is offered."""
CONFIRM_S: Final = 1.0
"""How long the transport waits for all at once, before it is asked packet by packet."""
SPREAD_S: Final = 10.0
"""How long `flush` waits at most, once all is held, for the other holders of each key: silent ones
are given up within 4 s each."""
LAST_CHECK_S: Final = 2.0
"""Longest pause between two such questions, while something is not held."""
LATE_S: Final = 600.0
"""A packet that nobody holds for so long makes the loop's health `DEGRADED`."""


class Undelivered(NamedTuple):
    """A packet of this site that no other site is known to hold under every routing key.

    Parameters
    ----------
    packet
        The packet.
    since
        Unix seconds: when it was put into the outbox.
    reason
        Why, in words, as far as this node can know it.
    holders
        How many other sites hold it under some key.
    attempts
        How often it was handed to the transport since the loop was opened. The transport repeats by
        itself.

    """

    packet: Packet
    since: float
    reason: str
    holders: int = 0
    attempts: int = 0


@dataclass(slots=True)
class _Waiting:
    """What is known of a packet in the outbox, beside what is on disk."""

    unsent: Unsent
    key: EvidenceKey
    reason: str = "it has not been handed to the transport yet"
    holders: int = 0
    attempts: int = 0
    failures: int = 0
    due: float = 0.0
    is_handed: bool = False
    is_replaced: bool = False


class Sender:
    """Hands what is in the outbox to the transport, and learns what has become of it.

    A process that dies before a packet is held sends it again.

    Parameters
    ----------
    outbox, transport, announcer, journal
        The other parts of the loop.
    condition
        Where it is said that packets are late.
    clock
        Gives Unix seconds.
    certain
        Gives a date that has come for certain, in Unix seconds, however this machine's was set:
        only what has expired by it is let go.

    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        announcer: Announcer,
        *,
        journal: Journal,
        condition: Condition,
        clock: Callable[[], float],
        certain: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._announcer = announcer
        self._journal = journal
        self._condition = condition
        self._clock = clock
        self._certain = certain
        self._waiting: dict[int, _Waiting] = {}
        self._newest: dict[EvidenceKey, int] = {}
        self._loaded = 0
        self._due: list[tuple[float, int]] = []
        self._filled = asyncio.Event()
        self._unconfirmed = asyncio.Event()
        self._taken = asyncio.Event()

    def wake(self) -> None:
        """There is something in the outbox."""
        self._filled.set()
        self._unconfirmed.set()

    def hand_all_again(self) -> None:
        """Offer everything anew, now: the transport may have let go of what lives."""
        self._load()
        for number, waiting in self._waiting.items():
            self._put_off(number, waiting, 0.0)
        self.wake()

    @property
    def is_full(self) -> bool:
        """Whether the outbox can take no other packet."""
        return self._outbox.unsent >= self._outbox.limit

    async def room(self) -> None:
        """Wait until the outbox can take another packet."""
        while self.is_full:
            await self._next_taken()

    async def flush(self) -> None:
        """Wait until nothing waits any more."""
        while self._outbox.unsent:
            await self._next_taken()

    async def spread(self) -> None:
        """Let the transport bring what is held to further holders, as far as it can."""
        with suppress(TransportError):  # held it is in any case
            await self._transport.flush(SPREAD_S)

    def undelivered(self) -> tuple[Undelivered, ...]:
        """What is in the outbox and not held, oldest first."""
        self._load()
        waits = [
            each
            for each in list(self._waiting.values())
            if not each.is_replaced and not (each.is_handed and self._is_held(each))
        ]
        return tuple(
            Undelivered(
                packet=each.unsent.packet,
                since=each.unsent.since,
                reason=each.reason,
                holders=each.holders,
                attempts=each.attempts,
            )
            for each in waits
        )

    def withdraw(self, ids: Container[bytes]) -> None:
        """Send these packets no more: they have left the outbox."""
        self._load()
        self._let_go([n for n, each in self._waiting.items() if each.unsent.packet.id in ids])

    async def hand_over(self) -> None:
        """Give packets to the transport, for ever."""
        # It may have begun again after a fault, with a packet taken from what is due.
        self._due = [(waiting.due, number) for number, waiting in self._waiting.items()]
        heapq.heapify(self._due)
        handed = 0
        while True:
            self._filled.clear()
            self._load()
            while self._due and self._due[0][0] <= self._now():
                due, number = heapq.heappop(self._due)
                waiting = self._waiting.get(number)
                if waiting is None or waiting.due != due:  # it was put off, or is gone
                    continue
                if waiting.is_replaced:
                    continue
                if self._seems_expired(waiting):  # it is let go, or the date turns out to be wrong
                    self._put_off(number, waiting, LAST_RETRY_S)
                else:
                    await self._hand(number, waiting)
                    handed += 1
                    if not handed % TURN:  # a transport that takes at once keeps nobody waiting
                        await asyncio.sleep(0)
            pause_s = self._due[0][0] - self._now() if self._due else None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._filled.wait()

    async def confirm(self) -> None:
        """Take out of the outbox what the network holds and what is over, for ever."""
        pause_s = FIRST_RETRY_S
        self._unconfirmed.set()  # it may have begun again after a fault
        while True:
            await self._unconfirmed.wait()
            self._unconfirmed.clear()
            self._load()
            with self._announcer.guard.item("loop.flush"):
                try:
                    if any(waiting.is_handed for waiting in self._waiting.values()):
                        await self._transport.flush(CONFIRM_S)
                except TransportError as error:  # it may be opened again, and then knows of nothing
                    self._forgotten(str(error))
            self._check()
            if not self._waiting:
                pause_s = FIRST_RETRY_S
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._unconfirmed.wait()
            pause_s = (
                FIRST_RETRY_S if self._unconfirmed.is_set() else min(2 * pause_s, LAST_CHECK_S)
            )
            self._unconfirmed.set()

    # --- one packet -------------------------------------------------------------------------

    def _load(self) -> None:
        """Take note of what has come into the outbox."""
        while batch := self._outbox.queued(after=self._loaded):
            for unsent in batch:
                key = evidence_key(unsent.packet)
                if (older := self._waiting.get(self._newest.get(key, 0))) is not None:
                    older.is_replaced = True
                self._newest[key] = unsent.number
                self._waiting[unsent.number] = _Waiting(unsent, key)
                heapq.heappush(self._due, (0.0, unsent.number))
            self._loaded = batch[-1].number

    async def _hand(self, number: int, waiting: _Waiting) -> None:
        waiting.attempts += 1
        limit = asyncio.timeout(HAND_S)
        try:
            async with limit:
                await self._transport.publish(waiting.unsent.packet, waiting.unsent.routing_keys)
        except asyncio.CancelledError:
            if not is_stray():
                raise
            self._failed(number, waiting, "the transport cancelled it")
        except Exception as error:  # noqa: BLE001  whatever it is, the others go on
            late = f"the transport has not taken it within {HAND_S:.0f} s: too much waits in it"
            self._failed(number, waiting, late if limit.expired() else _said(error))
        else:
            waiting.is_handed, waiting.failures = True, 0
            waiting.reason = "the transport has taken it, and does not say that another site has it"
            self._put_off(number, waiting, HAND_AGAIN_S)
            self._unconfirmed.set()

    def _failed(self, number: int, waiting: _Waiting, reason: str) -> None:
        waiting.reason = reason
        waiting.failures += 1
        pause_s = min(FIRST_RETRY_S * 2.0 ** min(waiting.failures - 1, 30), LAST_RETRY_S)
        self._put_off(number, waiting, pause_s)
        if str(waiting.failures).strip("0") == "1":  # the 1st, 10th, 100th time
            self._announcer.tell("unsent", packet=waiting.unsent.packet, reason=reason)

    def _put_off(self, number: int, waiting: _Waiting, pause_s: float) -> None:
        waiting.due = self._now() + pause_s
        heapq.heappush(self._due, (waiting.due, number))

    def _forgotten(self, reason: str) -> None:
        """The transport is closed: what it had taken has to be handed to it again."""
        # A copy, here and in `_check`: the application may ask for `undelivered` when it is told.
        for number, waiting in list(self._waiting.items()):
            if waiting.is_handed:
                waiting.is_handed = False
                self._failed(number, waiting, reason)
        self._filled.set()

    def _seems_expired(self, waiting: _Waiting) -> bool:
        return waiting.unsent.packet.expires_at <= self._clock()

    def _check(self) -> None:
        """Ask of each packet whether it is held, and let go of what is, or is over."""
        held, over = [], []
        certain: float | None = None  # asked for once, and only if something seems to be over
        for number, waiting in list(self._waiting.items()):
            if waiting.is_handed and self._is_held(waiting):
                held.append(number)
            elif waiting.is_replaced:
                over.append(number)
            elif self._seems_expired(waiting):
                certain = self._certain() if certain is None else certain
                if waiting.unsent.packet.expires_at <= certain:
                    over.append(number)
                else:
                    waiting.reason = (
                        "it has expired by this machine's date, which is not certain: it was just "
                        "set forwards, or other sites doubt it"
                    )
        self._sent(held)
        self._ended(over)
        self._tell_late()

    def _is_held(self, waiting: _Waiting) -> bool:
        """Ask the transport, and note what it says. One that fails has not said that it is held."""
        found = Holding(is_held=False, reason="the transport cannot say whether it is held")
        with self._announcer.guard.item("loop.holding"):
            try:
                found = self._transport.holding(waiting.unsent.packet.id)
            except TransportError as error:  # it is closed
                waiting.reason = str(error)
                return False
        waiting.holders = found.holders
        if not found.is_held:
            waiting.reason = found.reason or waiting.reason
        return found.is_held

    def _sent(self, numbers: list[int]) -> None:
        gone = self._let_go(numbers)
        for left, waiting in zip(range(len(gone) - 1, -1, -1), gone, strict=True):
            remaining = self._outbox.unsent + left
            self._announcer.tell("sent", packet=waiting.unsent.packet, remaining=remaining)

    def _ended(self, numbers: list[int]) -> None:
        over = [self._waiting[number] for number in numbers]
        for is_replaced, reason in ((True, "a newer version replaced it"), (False, "it expired")):
            self._journal.let_go(
                (
                    each.unsent.packet
                    for each in over
                    if each.is_replaced is is_replaced and not each.is_handed
                ),
                reason,
            )
        for waiting in self._let_go(numbers):
            kind: EventKind = "replaced" if waiting.is_replaced else "expired"
            self._announcer.tell(kind, packet=waiting.unsent.packet, reason=waiting.reason)

    def _let_go(self, numbers: list[int]) -> list[_Waiting]:
        if not numbers:
            return []
        self._outbox.taken(numbers)
        gone = [self._waiting.pop(number) for number in numbers]
        for number, waiting in zip(numbers, gone, strict=True):
            if self._newest.get(waiting.key) == number:
                del self._newest[waiting.key]
        self._taken.set()
        return gone

    def _tell_late(self) -> None:
        """Say in the loop's health what nobody holds although it was published long ago."""
        now = self._clock()
        late = [each for each in self._waiting.values() if each.unsent.since <= now - LATE_S]
        if not late:
            self._condition.clear("undelivered", now=now)
            return
        oldest = min(late, key=lambda each: each.unsent.since)
        self._condition.set(
            "undelivered",
            HealthState.DEGRADED,
            f"{len(late)} packets have been held by no other site for {LATE_S / 60:.0f} minutes or "
            f"more; of the oldest it is known: {oldest.reason}",
            now=now,
        )

    def _now(self) -> float:
        """Seconds, by the clock that pauses are measured with."""
        return asyncio.get_running_loop().time()

    async def _next_taken(self) -> None:
        self._taken.clear()
        await self._taken.wait()


def _said(error: Exception) -> str:
    """What an error says; of strangers' errors only the class, since data may stand in the text."""
    return str(error) if isinstance(error, QISError) else type(error).__name__
