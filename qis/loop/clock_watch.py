"""Compares this machine's date with other sites' clocks, regularly and before each packet.

Every packet carries a date. With a wrong one it expires early at the others, or supersedes all that
the site signs later. So nothing is signed while other sites' clocks differ, unless a person says
that the date is right. Retractions are always signed: wrong evidence has to go, at any date.
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
"""How long a date that was set forwards has to stand before anything expires by it: the next answer
of the time server usually corrects a clock that jumps ahead."""


class ClockWatch:
    """Compares the loop's clock with those of the sites heard.

    Parameters
    ----------
    transport, store, announcer
        Other parts of the loop: they give other sites' clocks, the roster whose sites count, and
        tell changes.
    issuer
        The site's own key.
    condition
        The loop's health, where a doubt is shown.
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
        self._earlier_s = self._anchor_s  # date minus steady clock before it was set forwards
        self._settled_at = self._clock.steady()
        self._has_waited = False
        self.set_back: Callable[[], None] = lambda: None
        """Called when the date was set back: what was dropped as expired may be valid again."""

    async def hear(self) -> None:
        """Wait once, before the first signature, until the first sites' clocks are known.

        A job that opens, publishes and closes would otherwise sign before it could know them.
        """
        if not self._has_waited:
            self._has_waited = True
            await self._transport.hear_clocks(HEAR_S)

    def look(self) -> ClockOpinion:
        """Return the other sites' verdict on the clock now, and tell if it has changed."""
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
        """Return the verdict, or raise if the clock is doubted.

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
        """Return a date in Unix seconds that has certainly been reached, however clocks were set.

        It is the earliest of this machine's date, of the one it would show if it had not been set
        forwards in the last ten minutes, and of the other sites' if they doubt this machine's.
        """
        opinion, clock = self.look(), self._clock
        now = clock.wall()
        if clock.tells_steps and clock.steady() < self._settled_at:
            now = min(now, self._earlier_s + clock.steady())
        if opinion.state is ClockState.DOUBTED:
            now = min(now, now + opinion.offset_s)
        return now

    async def run(self) -> None:
        """Look at regular intervals, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def _notice_step(self) -> None:
        """Tell if the date was set since the last look, whether to a right or a wrong one."""
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
