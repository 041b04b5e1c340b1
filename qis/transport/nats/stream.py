"""What a stream has to be like for packets to be held, and what the operator's one lacks."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from qis._clock import Clock
from qis._guard import Guard
from qis.errors import TransportError
from qis.health import Condition, HealthState, Notices
from qis.packet import CLOCK_TOLERANCE_S
from qis.transport.nats.connection import Connection
from qis.transport.nats.names import Names
from qis.transport.site_clocks import span

LOOK_S: Final = 600.0
"""Seconds between two looks at how the operator has set the stream up."""
LEAST_AGE_S: Final = 400 * 86_400
"""Longest life of a packet; a stream that keeps less drops packets that are still in force."""


class StreamWatch:
    """Looks again and again whether the stream is there and keeps what it is given.

    Parameters
    ----------
    connection, api, names
        How to reach the server, the prefix of its JetStream API, and what the stream is called.
    condition, notices, clock
        Who is told.

    """

    def __init__(
        self,
        connection: Connection,
        api: str,
        names: Names,
        *,
        condition: Condition,
        notices: Notices,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._api = api
        self._names = names
        self._condition = condition
        self._notices = notices
        self._clock = clock

    async def run(self, guard: Guard) -> None:
        """Look for ever; ends by cancellation."""
        while True:
            await asyncio.sleep(LOOK_S)
            with guard.item("nats.stream"), suppress(TransportError):
                await self.look()  # without a connection `server_away` says so

    async def look(self) -> None:
        """Look once.

        Raises
        ------
        TransportError
            If there is no such stream, or the server does not answer.

        """
        name = self._names.stream
        answer = await self._connection.ask_api(f"{self._api}.STREAM.INFO.{name}")
        if "error" in answer:
            why = answer["error"].get("description", "")
            raise TransportError(
                f"the server has no stream {name!r} for this account ({why}): domain= is what the "
                "operator has called it"
            )
        text = faults_of(answer, self._names)
        if text:
            self._condition.set("stream", HealthState.DEGRADED, text, now=self._clock.wall())
        else:
            self._condition.clear("stream", now=self._clock.wall())
        self._compare(answer.get("ts", ""))

    def _compare(self, stamp: str) -> None:
        """Tell if the server's clock differs from this machine's; either may be wrong."""
        try:
            theirs = datetime.fromisoformat(stamp).timestamp()
        except (TypeError, ValueError):
            return
        apart_s = theirs - self._clock.wall()
        if abs(apart_s) > CLOCK_TOLERANCE_S:
            way = "ahead of" if apart_s > 0.0 else "behind"
            self._notices.tell(
                "health",
                "clock_server",
                f"the server's clock is {span(abs(apart_s))} {way} this machine's: one of the two "
                "is wrong",
            )


def faults_of(answer: Mapping[str, Any], names: Names) -> str:
    """Say in words what is wrong with a stream; empty: nothing."""
    config = answer.get("config") or {}
    wrong = []
    if names.everything not in (config.get("subjects") or []):
        wrong.append(f"its subjects are not {names.everything}")
    if config.get("storage") != "file":
        wrong.append("it is in memory, so that a restart of the server loses it (storage: file)")
    if config.get("retention") != "limits":
        wrong.append("it drops what was read (retention: limits)")
    if config.get("sealed"):
        wrong.append("it is sealed and takes nothing")
    limits = [config.get(key, -1) for key in ("max_msgs", "max_bytes")]
    if config.get("discard") != "new" and any(limit > 0 for limit in limits):
        wrong.append("when it is full it drops the oldest packets without a word (discard: new)")
    age_s = config.get("max_age", 0) / 1e9
    if 0.0 < age_s < LEAST_AGE_S:
        wrong.append(
            f"it drops packets after {age_s / 86_400:.1f} days although they may be valid for up "
            f"to {LEAST_AGE_S // 86_400}: sites that are away longer miss them"
        )
    return f"the stream {names.stream}: {'; '.join(wrong)}" if wrong else ""
