"""Messages of a stream that were read and wait for an answer: done, later, or never again.

The server gives a message again until it is answered, to the next connection too.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from qis._guard import Guard
from qis.transport.nats.connection import Connection
from qis.transport.nats.consumer import ACK_WAIT_S

OPEN_LIMIT: Final = 2_048
"""Messages that were read and are not acknowledged; more are not asked for."""
EARLY_LIMIT: Final = 256
"""Packets dated in the future that wait at the server until their time has come."""
TRIES: Final = 8
"""How often a message on which this node fails is tried; then it ends, and that is told."""


class Unanswered:
    """The messages that one reader has read and not answered, by their numbers in the stream.

    Parameters
    ----------
    connection, guard
        How to reach the server, and who is told what ends at a limit.
    on_answer
        Called when there is something for `send`.

    """

    def __init__(self, connection: Connection, guard: Guard, on_answer: Callable[[], None]) -> None:
        self._connection = connection
        self._guard = guard
        self._on_answer = on_answer
        self._open: dict[int, str] = {}
        self._answers: deque[tuple[str, bytes]] = deque()
        self._faults: dict[int, int] = {}
        self._early: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._open)

    def put(self, number: int, reply: str) -> bool:
        """Note a message and where it is answered; false if it is being stored here already."""
        is_new = number not in self._open
        self._open[number] = reply
        if is_new:
            self._early.pop(number, None)
        return is_new

    def done(self, number: int) -> None:
        """Acknowledge a message, which is stored or need not be."""
        self._faults.pop(number, None)
        self._answer(number, b"+ACK")

    def later(self, number: int, pause_s: float) -> None:
        """Have a message given again after a pause."""
        content = json.dumps({"delay": int(pause_s * 1e9)}).encode("ascii")
        self._answer(number, b"-NAK " + content)

    def failed(self, number: int, whose: str) -> None:
        """Have a message on which this node fails given again, ever later; at last it ends."""
        failures = self._faults.pop(number, 0) + 1
        if failures < TRIES:
            self._faults[number] = failures
            while len(self._faults) > OPEN_LIMIT:
                del self._faults[next(iter(self._faults))]
            self.later(number, 2.0**failures / 10.0)
            return
        self._guard.at_limit(
            "transport.nats.unanswered.TRIES",
            whose,
            f"a packet on which this node has failed {TRIES} times is not tried again; its "
            "site sends it again when it opens",
        )
        self._answer(number, b"+TERM")

    def put_off(self, number: int, pause_s: float, whose: str, now: float) -> None:
        """Let the server keep a packet dated in the future until its time (`now`: Unix seconds)."""
        # Those that did not come at their time have been replaced in the stream.
        self._early = {each: due for each, due in self._early.items() if due > now - ACK_WAIT_S}
        if len(self._early) < EARLY_LIMIT:
            self._early[number] = now + pause_s
            self.later(number, pause_s)
            return
        self._guard.at_limit(
            "transport.nats.unanswered.EARLY_LIMIT",
            whose,
            "a packet dated in the future is not waited for; its site sends it again when it opens",
        )
        self._answer(number, b"+TERM")

    def _answer(self, number: int, answer: bytes) -> None:
        reply = self._open.pop(number, None)
        if reply is not None:
            self._answers.append((reply, answer))
            self._on_answer()

    async def send(self) -> None:
        """Send the answers; what a broken connection keeps back is sent over the next one."""
        while self._answers:
            reply, answer = self._answers[0]
            await self._connection.post(reply, answer)
            self._answers.popleft()

    async def keep_open(self) -> None:
        """Tell the server that what was read is still being stored."""
        for reply in list(self._open.values()):
            await self._connection.post(reply, b"+WPI")

    async def give_back(self, more: Iterable[str]) -> None:
        """Let the next reader have at once what was not done, and what else was got."""
        await self.send()
        replies = [*self._open.values(), *more]
        self._open.clear()
        for reply in replies:
            await self._connection.post(reply, b"-NAK")
