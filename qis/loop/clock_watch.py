"""Whether this machine's date is to be believed: looked at now and then, and before each packet.

A date stands in every packet. A wrong one makes it vanish at the others or stand above all that the
site signs later, so nothing is signed while the sites heard doubt it, unless a person says that it
is right. Retractions are signed in any case: what is wrong has to go, also at a wrong time.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from qis._clock import Clock
from qis.errors import ClockError
from qis.evidence import EvidenceStore
from qis.health import Condition, HealthState
from qis.identity import Issuer
from qis.loop.events import Announcer
from qis.packet import CLOCK_TOLERANCE_S
from qis.transport import Transport
from qis.transport.site_clocks import ClockOpinion, ClockState, span

HEAR_S: Final = 2.0
"""How long the first packet waits for the sites that may know the date."""
LOOK_S: Final = 60.0
"""Seconds between two looks at what the others' clocks show."""
SETTLE_S: Final = 600.0
"""How long a date that was set forwards has to stand before anything is let go by it: a clock that
jumps ahead is mostly put right by the next answer of its time server."""


class ClockWatch:
    """Compares the loop's clock with those of the sites heard.

    Parameters
    ----------
    transport, store, announcer
        Of the loop: who has been heard, whose word counts, who is told.
    issuer
        The site's own key.
    condition
        Where a doubt is said.
    clock
        Gives Unix seconds.

    """

    def __init__(
        self,
        transport: Transport,
        store: EvidenceStore,
        issuer: Issuer,
        *,
        announcer: Announcer,
        condition: Condition,
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._store = store
        self._issuer = issuer
        self._announcer = announcer
        self._condition = condition
        self._clock = Clock.of(clock)
        self._anchor_s = self._clock.unix_s(0.0)
        self._earlier_s = self._anchor_s  # as it was before the date was set forwards
        self._settled_at = self._clock.steady()
        self._has_waited = False
        self.set_back: Callable[[], None] = lambda: None
        """Called when the date was set back: what was let go by the former one may live."""

    async def hear(self) -> None:
        """Give the first sites a moment to be heard, once, before anything is signed.

        A job that opens, publishes and closes would else sign before it could know better.
        """
        if not self._has_waited:
            self._has_waited = True
            await self._transport.hear_clocks(HEAR_S)

    def look(self) -> ClockOpinion:
        """What the sites heard make of the clock now; a change is told."""
        clock = self._clock
        self._notice_step()
        now = clock.wall()
        opinion = self._transport.site_clocks.opinion(self._store.roster, self._issuer, unix_s=now)
        codes = {ClockState.DOUBTED: "clock", ClockState.DISPUTED: "clock_disputed"}
        for state, code in codes.items():
            if opinion.state is not state:
                self._condition.clear(code, now=now)
        if opinion.state is ClockState.DOUBTED:
            text = f"{opinion}: set this machine's date; until then nothing is published"
            self._condition.set("clock", HealthState.DEGRADED, text, now=now)
        elif opinion.state is ClockState.DISPUTED:
            text = f"{opinion}: too few to decide; see whose date is wrong"
            self._condition.set("clock_disputed", HealthState.DEGRADED, text, now=now)
        return opinion

    def require(self) -> ClockOpinion:
        """The opinion, unless the clock is doubted.

        Raises
        ------
        ClockError
            If it is.

        """
        opinion = self.look()
        if opinion.state is ClockState.DOUBTED:
            now = self._clock.wall()
            raise ClockError(
                f"nothing was published: {opinion}. Set this machine's date; or, if it is right, "
                "publish with trust_clock=True",
                field="clock",
                actual=now,
                limit=now + opinion.offset_s,
            )
        return opinion

    def certain(self) -> float:
        """A date that has come for certain, in Unix seconds: what expires by it has expired.

        The earliest of this machine's date, of that which it showed before it was set forwards in
        the last ten minutes, and of that of the sites heard, if they doubt this machine's.
        """
        opinion, clock = self.look(), self._clock
        now = clock.wall()
        if clock.tells_steps and clock.steady() < self._settled_at:
            now = min(now, self._earlier_s + clock.steady())
        if opinion.state is ClockState.DOUBTED:
            now = min(now, now + opinion.offset_s)
        return now

    async def run(self) -> None:
        """Look now and then, for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def _notice_step(self) -> None:
        """Tell if somebody has set the date since the last look, whichever of the two is right."""
        anchor_s = self._clock.unix_s(0.0)
        former_s = self._anchor_s
        step_s = anchor_s - former_s
        if not self._clock.tells_steps or abs(step_s) <= CLOCK_TOLERANCE_S:
            self._anchor_s = anchor_s
            return
        if step_s < 0.0:
            self.set_back()  # first: if it fails, the step is noticed anew at the next look
        else:
            steady_s = self._clock.steady()
            is_unsettled = steady_s < self._settled_at
            self._earlier_s = min(self._earlier_s, former_s) if is_unsettled else former_s
            self._settled_at = steady_s + SETTLE_S
        self._anchor_s = anchor_s
        way = "forwards" if step_s > 0.0 else "back"
        self._announcer.tell(
            "health",
            subject="clock_set",
            reason=f"this machine's date was set {way} by {span(step_s)} while the loop ran",
        )
