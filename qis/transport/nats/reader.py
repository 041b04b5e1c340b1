"""One subscription: a durable pull consumer of the server, read through a `Reception` of its own.

What the reader has got stays with the server until it is acknowledged. Pull requests are made here
and not by nats-py, whose fetch leaves requests behind that swallow messages and does not survive a
restart of the server.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from qis import _layout
from qis._clock import Clock
from qis._guard import Backoff, Guard
from qis.channel.sealing import Seal
from qis.errors import TransportError
from qis.health import Condition, HealthState, Notices
from qis.packet import CLOCK_TOLERANCE_S, content_id
from qis.transport.base import Statistics
from qis.transport.carried import decode_carried
from qis.transport.nats.connection import Connection
from qis.transport.nats.consumer import ACK_WAIT_S, EXPIRES_S, Consumer, NameTakenError
from qis.transport.nats.names import Names
from qis.transport.reception import Reception, Verdict

BATCH: Final = 256
"""Messages that one pull request asks for."""
JUDGED: Final = 64
"""Messages that are judged at once, some 20 ms; between two such batches others have their turn."""
OPEN_LIMIT: Final = 2_048
"""Messages that were read and are not acknowledged; more are not asked for."""
EARLY_LIMIT: Final = 256
"""Packets dated in the future that wait at the server until their time has come."""
TRIES: Final = 8
"""How often a message on which this node fails is tried; then it ends, and that is told."""
HEARTBEAT_S: Final = EXPIRES_S / 3.0
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
    is_own
        True for the id of a packet that this node has published itself.

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
        is_own: Callable[[bytes], bool],
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
        self._is_own = is_own
        self._arrived: deque[Any] = deque()
        self._kept_out: deque[_Message] = deque()
        self._open: dict[int, str] = {}
        self._answers: deque[tuple[str, bytes]] = deque()
        self._faults: dict[int, int] = {}
        self._early: dict[int, float] = {}
        self._asked = 0
        self._wake = asyncio.Event()
        self._anew = False
        self._gone = False
        self._refusal = ""
        self._inbox = ""
        self._heard_s = 0.0
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
            await self._send_answers()
            replies = [*self._open.values(), *(each.reply for each in self._arrived)]
            self._open.clear()
            self._arrived.clear()
            for reply in replies:
                await self._connection.post(reply, b"-NAK")
            await self._connection.flush()

    # --- one connection -----------------------------------------------------------------------

    async def _session(self) -> None:
        """Read while this connection lasts, or until everything is to be read anew."""
        self._inbox = self._connection.new_inbox()
        # What the former connection has brought is still here: it is acknowledged over this one.
        self._asked, self._gone, self._refusal = 0, False, ""
        listening = await self._connection.listen(self._inbox, self._heard)
        losing = asyncio.create_task(self._connection.lost.wait())
        losing.add_done_callback(lambda _: self._wake.set())
        loop = asyncio.get_running_loop()
        self._heard_s = loop.time()
        checked_s = held_s = loop.time()
        wall = self._clock.wall() - loop.time()
        try:
            while not losing.done():
                self._wake.clear()
                if self._refusal:
                    raise TransportError(self._refusal)
                await self._send_answers()
                self._judge_all()
                await self._send_answers()
                await self._pull(loop.time())
                if self._anew or self._gone or self._clock_was_set_back(wall, loop.time()):
                    if self._anew or not self._gone:
                        await self._consumer.begin_anew(self._clock.wall())
                    self._anew = False
                    return
                wall = self._clock.wall() - loop.time()
                if loop.time() - held_s > ACK_WAIT_S / 3:
                    held_s = loop.time()
                    await self._keep_open()
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

    async def _heard(self, message: Any) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        headers = message.headers or {}
        status = headers.get("Status")
        if not self._refusal:
            self._condition.clear("unread", now=self._clock.wall())
        if status is None:
            self._asked = max(0, self._asked - 1)
            self._arrived.append(message)
        elif status != "100":  # a pull request is over
            unanswered = headers.get("Nats-Pending-Messages", "")
            self._asked -= int(unanswered) if unanswered.isdecimal() else self._asked
            self._asked = max(0, self._asked)
            # 503: no such consumer; 409 when it is deleted. Others end with the request.
            said = headers.get("Description", "")
            self._gone |= status == "503" or "Deleted" in said
            if status == "400" or "Exceeded" in said:  # it would refuse the next one too
                self._refusal = f"the server refuses to be read: {said}"
        self._wake.set()

    async def _pull(self, now_s: float) -> None:
        if self._asked and now_s - self._heard_s > 2.0 * HEARTBEAT_S + 1.0:
            self._asked = 0  # the server has forgotten the request
        room = OPEN_LIMIT - len(self._open) - len(self._arrived) - self._asked
        if self._kept_out or self._asked > BATCH // 2 or room < BATCH // 2:
            return
        wanted = min(BATCH, room)
        request = {
            "batch": wanted,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        if not self._asked:
            self._heard_s = now_s
        self._asked += wanted
        await self._connection.post(
            self._consumer.next_subject, json.dumps(request).encode("ascii"), self._inbox
        )

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
            number = _stream_sequence(message.reply)
            if item.failed and number is not None:
                self._open[number] = message.reply
                self._failed_on(number, message.subject)
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
        reply, data = message.reply, message.data
        self._statistics.datagrams_received += 1
        self._statistics.bytes_received += len(data)
        number = _stream_sequence(reply)
        if number is None:
            self._refuse("foreign_message", message.subject, "no message of a stream")
            return None
        if number in self._open:  # it comes again although it is still being stored here
            self._open[number] = reply
            return None
        self._open[number] = reply
        self._early.pop(number, None)
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
        elif not self._is_own(content_id(carried[0])):
            return _Message(self, number, *carried)
        self._answer(number, b"+ACK")
        return None

    def _settle(self, message: "_Message", verdict: Verdict) -> None:
        """Do what a verdict asks for; those that end a message have called its `done`."""
        if verdict is Verdict.FULL:
            self._kept_out.append(message)
        elif verdict is Verdict.UNHEARD:
            self._later(message.number, UNHEARD_S)
        elif verdict is Verdict.EARLY:
            self._put_off(message)
        elif verdict is Verdict.FAULT:
            self._failed_on(message.number, message.issuer)

    def _failed_on(self, number: int, whose: str) -> None:
        """Try a message again, ever later; after `TRIES` it ends."""
        failures = self._faults.pop(number, 0) + 1
        if failures < TRIES:
            self._faults[number] = failures
            while len(self._faults) > OPEN_LIMIT:
                del self._faults[next(iter(self._faults))]
            self._later(number, 2.0**failures / 10.0)
            return
        self._guard.at_limit(
            "transport.nats.reader.TRIES",
            whose,
            f"a packet on which this node has failed {TRIES} times is not tried again; its "
            "site sends it again when it opens",
        )
        self._answer(number, b"+TERM")

    def _put_off(self, message: "_Message") -> None:
        """Let the server keep a packet dated in the future until its time."""
        now = self._clock.wall()
        issued_at = int.from_bytes(message.packet[_layout.ISSUED_AT])
        pause_s = max(1.0, min(issued_at - CLOCK_TOLERANCE_S - now, 86_400.0))
        # Those that did not come at their time have been replaced in the stream.
        self._early = {each: due for each, due in self._early.items() if due > now - ACK_WAIT_S}
        if len(self._early) < EARLY_LIMIT:
            self._early[message.number] = now + pause_s
            self._later(message.number, pause_s)
            return
        self._guard.at_limit(
            "transport.nats.reader.EARLY_LIMIT",
            message.issuer,
            "a packet dated in the future is not waited for; its site sends it again when it opens",
        )
        self._answer(message.number, b"+TERM")

    def _refuse(self, why: str, subject: str, what: str) -> None:
        self._statistics.refused[why] += 1
        issuer = subject.split(".")[2:3]
        self._notices.tell(
            "refusal",
            f"{why}: {issuer[0] if issuer else ''}",
            f"a message on {subject:.200} {what}: it is not taken in",
        )

    # --- answers ------------------------------------------------------------------------------

    def done(self, number: int) -> None:
        """Acknowledge a message, which is stored or need not be."""
        self._faults.pop(number, None)
        self._answer(number, b"+ACK")

    def _later(self, number: int, pause_s: float) -> None:
        content = json.dumps({"delay": int(pause_s * 1e9)}).encode("ascii")
        self._answer(number, b"-NAK " + content)

    def _answer(self, number: int, answer: bytes) -> None:
        reply = self._open.pop(number, None)
        if reply is not None:
            self._answers.append((reply, answer))
            self._wake.set()

    async def _send_answers(self) -> None:
        while self._answers:
            reply, answer = self._answers[0]
            await self._connection.post(reply, answer)
            self._answers.popleft()

    async def _keep_open(self) -> None:
        """Tell the server that what was read is still being stored."""
        for reply in list(self._open.values()):
            await self._connection.post(reply, b"+WPI")

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

    __slots__ = ("_reader", "keys", "number", "packet")

    def __init__(self, reader: Reader, number: int, packet: bytes, keys: tuple[bytes, ...]) -> None:
        self._reader = reader
        self.number = number
        self.packet = packet
        self.keys = keys

    @property
    def issuer(self) -> str:
        """The key of the issuer that it names, in hexadecimal digits."""
        return self.packet[_layout.ISSUER].hex()

    def done(self) -> None:
        """Acknowledge it."""
        self._reader.done(self.number)


def _stream_sequence(reply: str) -> int | None:
    """Return a message's number in its stream, from the subject that it is acknowledged on."""
    tokens = reply.split(".")
    if tokens[:2] != ["$JS", "ACK"]:
        return None
    # With an account's token and domain there are 11 or 12, without them 9.
    at = 5 if len(tokens) == 9 else 7
    text = tokens[at] if len(tokens) > at else ""
    return int(text) if text.isdecimal() and len(text) <= 20 else None
