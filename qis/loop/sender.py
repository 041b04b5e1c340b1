"""Hands packets from the outbox to the transport, and deletes them there once they are held.

Packets are independent: one that the network refuses is tried again later, and delays no other.
Only what the transport calls held (`qis.transport.Holding`) is "sent". A packet that expires first,
or is replaced by a newer version, leaves the outbox too, with an event that says so.
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
from qis.picture.html import with_table
from qis.transport import Holding, Transport

FIRST_RETRY_S: Final = 0.5
"""Pause before a packet that the transport has refused is tried again; then it doubles."""
LAST_RETRY_S: Final = 60.0
TURN: Final = 16
"""Packets handed over before other tasks run. `confirm` looks at all waiting packets in each turn,
so with one packet a turn the work would grow with the square of their number."""
HAND_AGAIN_S: Final = 600.0
"""Seconds after which a packet that the transport has taken, and that nobody holds, is handed over
again: a transport that was reopened meanwhile has lost it."""
HAND_S: Final = 30.0
"""Seconds for the transport to take one packet, before the next is tried."""
CONFIRM_S: Final = 1.0
"""Seconds to wait for all packets to be held, before the transport is asked for each."""
SPREAD_S: Final = 10.0
"""Most seconds that `flush` waits, once all is held, for further holders of each key: each silent
one is given up within 4 s."""
LAST_CHECK_S: Final = 2.0
"""Longest pause between two such questions, while something is not held."""
LATE_S: Final = 600.0
"""A packet that nobody holds for so long makes the loop's health `DEGRADED`."""


@with_table
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
        How often it was handed to the transport since the loop was opened. The transport's own
        repetitions are not counted.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> from qis.loop import Undelivered
    >>> Undelivered(packet, since=1_800_000_000.0, reason="no other site is there").holders
    0

    """

    packet: Packet
    since: float
    reason: str
    holders: int = 0
    attempts: int = 0


@dataclass(slots=True)
class _Waiting:
    """The state of a packet in the outbox, as far as it is not on disk."""

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
    """Hands packets of the outbox to the transport, and asks whether they are held.

    A process that dies before a packet is held sends it again.

    Parameters
    ----------
    outbox, transport, announcer, journal
        The other parts of the loop.
    condition
        The loop's health, which shows packets that are late.
    clock
        Gives Unix seconds.
    certain
        Gives a date in Unix seconds that has certainly been reached, even if this machine's is
        wrong: only what has expired by it is dropped.

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
        """Note that there is something new in the outbox."""
        self._filled.set()
        self._unconfirmed.set()

    def hand_all_again(self) -> None:
        """Hand everything over again now: the transport may have dropped valid packets."""
        self._load()
        for number, waiting in self._waiting.items():
            self._put_off(number, waiting, 0.0)
        self.wake()

    @property
    def is_full(self) -> bool:
        """True if the outbox can take no other packet."""
        return self._outbox.unsent >= self._outbox.limit

    async def room(self) -> None:
        """Wait until the outbox can take another packet."""
        while self.is_full:
            await self._next_taken()

    async def flush(self) -> None:
        """Wait until the outbox has no unsent packet, or nothing may leave."""
        while self._outbox.unsent and not self._outbox.findings():
            await self._next_taken()

    async def spread(self) -> None:
        """Let the transport bring what is held to further holders, as far as it can."""
        with suppress(TransportError):  # everything is held already; this adds copies only
            await self._transport.flush(SPREAD_S)

    def undelivered(self) -> tuple[Undelivered, ...]:
        """Return what is in the outbox and not held, oldest first."""
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
        """Stop sending the packets of these ids, which have left the outbox."""
        self._load()
        self._let_go([n for n, each in self._waiting.items() if each.unsent.packet.id in ids])

    async def hand_over(self) -> None:
        """Hand packets to the transport when they are due, until cancelled."""
        # After a fault this starts again, and a packet that was popped then has to be due again.
        self._due = [(waiting.due, number) for number, waiting in self._waiting.items()]
        heapq.heapify(self._due)
        handed = 0
        while True:
            self._filled.clear()
            self._load()
            while self._due and self._due[0][0] <= self._now():
                if self._outbox.findings():  # woken when a person has settled them
                    self._taken.set()  # whoever flushes would wait in vain
                    await self._filled.wait()
                    break
                due, number = heapq.heappop(self._due)
                waiting = self._waiting.get(number)
                if waiting is None or waiting.due != due:  # gone, or an entry that is out of date
                    continue
                if waiting.is_replaced:
                    continue
                if self._seems_expired(waiting):  # `_check` decides, as the date may be wrong
                    self._put_off(number, waiting, LAST_RETRY_S)
                else:
                    await self._hand(number, waiting)
                    handed += 1
                    if not handed % TURN:  # a transport that never waits must not block the loop
                        await asyncio.sleep(0)
            pause_s = self._due[0][0] - self._now() if self._due else None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._filled.wait()

    async def confirm(self) -> None:
        """Delete from the outbox what is held, replaced or expired, until cancelled."""
        pause_s = FIRST_RETRY_S
        self._unconfirmed.set()  # after a restart by a fault something may be unconfirmed
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
        """Read what is new in the outbox."""
        while batch := self._outbox.queued(after=self._loaded):
            for unsent in batch:
                key = evidence_key(unsent.packet)
                older = self._waiting.get(self._newest.get(key, 0))
                # Under other keys it goes to other nodes, and the newer one does not: a retraction
                # has to reach whoever holds what it withdraws, though it is published anew. With
                # unknown keys, as of a packet adopted after the outbox was lost, it goes nowhere:
                # no transport takes it, and whoever flushes would wait for it in vain.
                if older is not None and (
                    older.unsent.routing_keys == unsent.routing_keys
                    or not older.unsent.packet.travels_under(older.unsent.routing_keys)
                ):
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
        except Exception as error:  # noqa: BLE001  one packet's fault must not stop the others
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
        """Note that the transport was closed, so that what it had taken is handed over again."""
        # A copy, here and in `_check`: a callback may call `undelivered`, which changes the map.
        for number, waiting in list(self._waiting.items()):
            if waiting.is_handed:
                waiting.is_handed = False
                self._failed(number, waiting, reason)
        self._filled.set()

    def _seems_expired(self, waiting: _Waiting) -> bool:
        return waiting.unsent.packet.expires_at <= self._clock()

    def _check(self) -> None:
        """Ask for each packet whether it is held; drop those that are held, replaced or expired."""
        held, over = [], []
        certain: float | None = None  # determined once, and only if something seems expired
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
        """Ask the transport whether a packet is held; if that fails, it is not."""
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
        """Set in the loop's health what nobody holds although it was published long ago."""
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
        """Seconds of the event loop's steady clock, which is never set."""
        return asyncio.get_running_loop().time()

    async def _next_taken(self) -> None:
        self._taken.clear()
        await self._taken.wait()


def _said(error: Exception) -> str:
    """Return an error's text; of a foreign error only the class, as its text may contain data."""
    return str(error) if isinstance(error, QISError) else type(error).__name__
