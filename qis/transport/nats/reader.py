"""One subscription: a durable pull consumer of the server, read through a `Reception` of its own.

What the reader has got stays with the server until it is acknowledged.
"""

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any, Final

from qis import _layout
from qis._clock import Clock
from qis._guard import Backoff, Guard
from qis.channel.sealing import Seal
from qis.errors import TransportError
from qis.health import Condition, HealthState, Notices
from qis.packet import CLOCK_TOLERANCE_S
from qis.transport.base import Statistics
from qis.transport.carried import decode_carried
from qis.transport.nats.connection import Connection
from qis.transport.nats.consumer import ACK_WAIT_S, Consumer, NameTakenError
from qis.transport.nats.names import Names
from qis.transport.nats.pulling import HEARTBEAT_S, Pulling
from qis.transport.nats.unanswered import OPEN_LIMIT, Unanswered
from qis.transport.reception import Reception, Verdict

JUDGED: Final = 16
"""Messages that are judged at once, some 4 ms. Between two batches others have their turn: with 64,
publications waited for answers that had long come, and the server for publications."""
CHECK_S: Final = 30.0
"""Seconds between two looks at whether somebody else reads under this name."""
LOOK_AGAIN_S: Final = 0.02
"""Seconds between two looks at whether everything has come, for `Reader.catch_up`."""
UNHEARD_S: Final = 5.0
"""Seconds until a packet from the future that could not be verified is offered again."""


class Reader:
    """Reads one consumer and gives what it holds to a reception.

    Parameters
    ----------
    connection, names, seal, consumer
        How to reach the server, what things are called there, how to open what is sealed (`None`:
        it is not), and what to read.
    reception, statistics, notices, condition, guard, clock
        The gate and the counters, and who is told.

    """

    def __init__(
        self,
        connection: Connection,
        names: Names,
        seal: Seal | None,
        consumer: Consumer,
        *,
        reception: Reception,
        statistics: Statistics,
        notices: Notices,
        condition: Condition,
        guard: Guard,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._names = names
        self._seal = seal
        self._consumer = consumer
        self._reception = reception
        self._statistics = statistics
        self._notices = notices
        self._condition = condition
        self._guard = guard
        self._clock = clock
        self._arrived: deque[Any] = deque()
        self._kept_out: deque[_Message] = deque()
        self._wake = asyncio.Event()
        self._unanswered = Unanswered(connection, guard, self._wake.set)
        self._anew = False
        reception.on_room = self._wake.set

    @property
    def reception(self) -> Reception:
        """The gate of this subscription."""
        return self._reception

    async def prepare(self) -> None:
        """Make the consumer, or find it as it was left."""
        await self._consumer.prepare(self._clock.wall())

    async def catch_up(self) -> None:
        """Wait until what the server holds for this reader has gone through the gate."""
        while await self._consumer.has_unread():  # noqa: ASYNC110  only the server knows
            await asyncio.sleep(LOOK_AGAIN_S)
        await self._connection.flush()  # what the server has sent before its answer is here now
        while self._arrived:  # noqa: ASYNC110  emptied by `run`, also when the connection breaks
            await asyncio.sleep(LOOK_AGAIN_S)

    def begin_anew(self) -> None:
        """Read everything again that the server holds, as after a change of the roster."""
        self._anew = True
        self._wake.set()

    async def run(self) -> None:
        """Read for ever, over all connections; ends by cancellation or if the name is taken."""
        backoff = Backoff(last_s=ACK_WAIT_S / 4)
        is_prepared = True
        while True:
            await self._connection.ready.wait()
            with self._guard.item("nats.reading") as item:
                try:
                    if not is_prepared:
                        await self.prepare()
                    is_prepared = False
                    await self._session()
                    backoff.succeeded()
                    continue
                except NameTakenError as error:
                    self._tell_taken(error)
                    raise
                except TransportError as error:
                    self._unread(str(error))
            if isinstance(item.error, NameTakenError):
                self._reception.close()
                return
            is_prepared = False
            await asyncio.sleep(backoff.failed())

    async def release(self) -> None:
        """Give back what was not done, so that the next reader of this name gets it at once."""
        with self._guard.item("nats.reading"), suppress(TransportError):
            # Without a connection the server gives it again after `ACK_WAIT_S`.
            arrived = [each.reply for each in self._arrived]
            self._arrived.clear()
            await self._unanswered.give_back(arrived)
            await self._connection.flush()

    # --- one connection -----------------------------------------------------------------------

    async def _session(self) -> None:
        """Read while this connection lasts, or until everything is to be read anew."""
        loop = asyncio.get_running_loop()
        # What the former connection has brought is still here: it is acknowledged over this one.
        pulling = Pulling(self._connection, self._consumer.next_subject, loop.time())
        listening = await self._connection.listen(pulling.inbox, partial(self._heard, pulling))
        losing = asyncio.create_task(self._connection.lost.wait())
        losing.add_done_callback(lambda _: self._wake.set())
        checked_s = held_s = loop.time()
        wall = self._clock.wall() - loop.time()
        try:
            while not losing.done():
                self._wake.clear()
                if pulling.refusal:
                    raise TransportError(pulling.refusal)
                await self._unanswered.send()
                self._judge_all()
                await self._unanswered.send()
                if not self._kept_out:
                    room = OPEN_LIMIT - len(self._unanswered) - len(self._arrived)
                    await pulling.ask(room, loop.time())
                if self._anew or pulling.is_gone or self._clock_was_set_back(wall, loop.time()):
                    if self._anew or not pulling.is_gone:
                        await self._consumer.begin_anew(self._clock.wall())
                    self._anew = False
                    return
                wall = self._clock.wall() - loop.time()
                if loop.time() - held_s > ACK_WAIT_S / 3:
                    held_s = loop.time()
                    await self._unanswered.keep_open()
                if loop.time() - checked_s > CHECK_S:
                    checked_s = loop.time()
                    await self._consumer.check(self._clock.wall())
                if self._arrived and not self._kept_out:
                    await asyncio.sleep(0)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_S):
                        await self._wake.wait()
        finally:
            losing.cancel()
            if not self._connection.lost.is_set():
                await listening.unsubscribe()

    def _clock_was_set_back(self, offset_s: float, steady_s: float) -> bool:
        """True if the date was set back: what was refused as expired may be valid after all."""
        return self._clock.wall() - steady_s < offset_s - CLOCK_TOLERANCE_S

    async def _heard(self, pulling: Pulling, message: Any) -> None:
        if pulling.heard(message, asyncio.get_running_loop().time()):
            self._arrived.append(message)
        if not pulling.refusal:
            self._condition.clear("unread", now=self._clock.wall())
        self._wake.set()

    # --- messages -----------------------------------------------------------------------------

    def _judge_all(self) -> None:
        messages = list(self._kept_out)
        self._kept_out.clear()
        while self._arrived and len(messages) < JUDGED:
            message = self._arrived.popleft()
            with self._guard.item("nats.message") as item:
                read = self._read(message)
                if read is not None:
                    messages.append(read)
            number = _stream_sequence(message.reply) if item.failed else None
            if number is not None:
                self._unanswered.put(number, message.reply)
                self._unanswered.failed(number, message.subject)
        if not messages:
            return
        verdicts = self._reception.receive_many(
            [(each.packet, each.keys, 1) for each in messages],
            now=self._clock.wall(),
            done=[each.done for each in messages],
        )
        for message, verdict in zip(messages, verdicts, strict=True):
            self._settle(message, verdict)

    def _read(self, message: Any) -> "_Message | None":
        """Open a message; `None` if there is nothing more to do with it."""
        data = message.data
        self._statistics.datagrams_received += 1
        self._statistics.bytes_received += len(data)
        number = _stream_sequence(message.reply)
        if number is None:
            self._refuse("foreign_message", message.subject, "no message of a stream")
            return None
        if not self._unanswered.put(number, message.reply):
            return None
        prefix, _, _ = message.subject.rpartition(".")
        tokens = message.subject.partition(".")[2].encode("utf-8")
        plain = data if self._seal is None else self._seal.unseal(data, tokens)
        carried = None if plain is None else decode_carried(plain)
        if carried is None:
            what = "is sealed with another secret, or is no packet"
            self._refuse("unopened", message.subject, what)
        elif self._names.prefix_of(carried[0]) != prefix:
            what = "holds a packet of another site or study than the subject says"
            self._refuse("subject_mismatch", message.subject, what)
        else:
            return _Message(self._unanswered, number, *carried)
        self._unanswered.done(number)
        return None

    def _settle(self, message: "_Message", verdict: Verdict) -> None:
        """Do what a verdict asks for; those that end a message have called its `done`."""
        if verdict is Verdict.FULL:
            self._kept_out.append(message)
        elif verdict is Verdict.UNHEARD:
            self._unanswered.later(message.number, UNHEARD_S)
        elif verdict is Verdict.EARLY:
            now = self._clock.wall()
            pause_s = max(1.0, min(message.issued_at - CLOCK_TOLERANCE_S - now, 86_400.0))
            self._unanswered.put_off(message.number, pause_s, message.issuer, now)
        elif verdict is Verdict.FAULT:
            self._unanswered.failed(message.number, message.issuer)

    def _refuse(self, why: str, subject: str, what: str) -> None:
        self._statistics.refused[why] += 1
        issuer = subject.split(".")[2:3]
        self._notices.tell(
            "refusal",
            f"{why}: {issuer[0] if issuer else ''}",
            f"a message on {subject:.200} {what}: it is not taken in",
        )

    def _unread(self, why: str) -> None:
        self._condition.set(
            "unread",
            HealthState.DEGRADED,
            f"a subscription reads nothing: {why}",
            now=self._clock.wall(),
        )

    def _tell_taken(self, error: NameTakenError) -> None:
        self._guard.foreign_use(f"reader: {self._consumer.name}", str(error))
        self._condition.set("name_taken", HealthState.DEGRADED, str(error), now=self._clock.wall())


class _Message:
    """A message that was opened, on its way through the reception."""

    __slots__ = ("_unanswered", "keys", "number", "packet")

    def __init__(
        self, unanswered: Unanswered, number: int, packet: bytes, keys: tuple[bytes, ...]
    ) -> None:
        self._unanswered = unanswered
        self.number = number
        self.packet = packet
        self.keys = keys

    @property
    def issuer(self) -> str:
        """The key of the issuer that it names, in hexadecimal digits."""
        return self.packet[_layout.ISSUER].hex()

    @property
    def issued_at(self) -> int:
        """Unix seconds at which it says that it was issued."""
        return int.from_bytes(self.packet[_layout.ISSUED_AT])

    def done(self) -> None:
        """Acknowledge it."""
        self._unanswered.done(self.number)


def _stream_sequence(reply: str) -> int | None:
    """Return a message's number in its stream, from the subject that it is acknowledged on."""
    tokens = reply.split(".")
    if tokens[:2] != ["$JS", "ACK"]:
        return None
    # With an account's token and domain there are 11 or 12, without them 9.
    at = 5 if len(tokens) == 9 else 7
    text = tokens[at] if len(tokens) > at else ""
    return int(text) if text.isdecimal() and len(text) <= 20 else None
