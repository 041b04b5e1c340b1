"""The clocks of other sites, as far as they are known, and a verdict on this machine's own.

A machine cannot find out by itself that its date is wrong; others can. A handshake shows a peer's
clock. A verified packet shows a time that its issuer's clock has reached: a lower bound, since the
packet may have been under way for long. Everything is stored relative to the steady clock, so that
it stays right when this machine's date is set.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from qis._seldom import Bucket, Seldom
from qis.evidence.roster import Roster
from qis.identity import Issuer
from qis.packet import CLOCK_TOLERANCE_S

SITES_LIMIT: Final = 4_096
"""Most keys whose clocks are remembered; the one heard longest ago is dropped first."""
SESSION_MEMORY_S: Final = 3_600.0
"""How long what a handshake showed is believed after its session has ended."""
VERIFY_EVERY_S: Final = 600.0
"""A packet that is refused for its times is verified, to know whose clock differs; after one that
verified no other of that (issuer, reason) for this time, since what is refused must stay cheap."""
FORGED_RATE: Final = 20.0
"""Such packets a second, of all issuers, that do not verify; some 1 ms of work. They count for no
issuer: else one forged packet now and then would keep a site's own unheard."""
LEAST_SITES: Final = 2
"""Sites that have to agree for a verdict: one site alone may be the one that is wrong."""


class ClockState(Enum):
    """The verdict on this machine's clock by the clocks of other sites."""

    UNKNOWN = "too few sites have been heard to tell"
    AGREED = "the sites heard agree with this machine's clock"
    DISPUTED = "some sites have another time, but no majority that agrees on one"
    DOUBTED = "a majority of the sites heard agree on another time"


class Reading(NamedTuple):
    """A site's clock minus this machine's, in seconds, or a lower bound of that."""

    offset_s: float
    is_bound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOpinion:
    """The verdict on this machine's clock by other sites' clocks, and what it rests on.

    Parameters
    ----------
    state
        The verdict.
    heard
        How many sites have shown anything of their clocks.
    others
        How many of them have another time than this machine.
    offset_s
        Their time minus this machine's, in seconds: of those that agree with each other, or of the
        one that differs least. 0 if none differs.

    """

    state: ClockState
    heard: int = 0
    others: int = 0
    offset_s: float = 0.0

    def __str__(self) -> str:
        if not self.others:
            return f"{self.state.value} ({self.heard} heard)"
        way = "ahead of" if self.offset_s > 0 else "behind"
        return (
            f"{self.others} of {self.heard} sites heard are {span(self.offset_s)} {way} this "
            "machine's clock"
        )


def span(seconds: float) -> str:
    """Write a span of time in seconds for people: ``"2.0 d"``, ``"1.5 h"``, ``"400 s"``."""
    size = abs(seconds)
    if size >= 2 * 86_400.0:
        return f"{size / 86_400.0:.1f} d"
    return f"{size / 3_600.0:.1f} h" if size >= 2 * 3_600.0 else f"{size:.0f} s"


def opinion_of(
    readings: Iterable[Reading], *, tolerance_s: float = CLOCK_TOLERANCE_S
) -> ClockOpinion:
    """Return the verdict on a clock by one reading for each site.

    The clock is doubted if a strict majority of all sites heard, and at least two, agree with each
    other within the tolerance and not with the clock. It is confirmed if as many agree with it. So
    no minority can stop a site, nor confirm a clock that is wrong. A bound far below the clock says
    nothing about it, but its site counts as heard.
    """
    found = list(readings)
    heard = len(found)
    agreeing = sum(abs(each.offset_s) <= tolerance_s for each in found)
    exact = [each.offset_s for each in found if not each.is_bound]
    bounds = sorted(
        each.offset_s for each in found if each.is_bound and each.offset_s > tolerance_s
    )
    apart = sorted(offset for offset in exact if abs(offset) > tolerance_s)
    most, offset_s = len(bounds), min(bounds, default=0.0)
    # The largest group of differing clocks within one tolerance of each other. A lower bound fits
    # every group that lies above it.
    for first, low in enumerate(apart):
        group = bisect_right(apart, low + tolerance_s) - first
        size = group + bisect_right(bounds, low + tolerance_s)
        if size > most:
            most, offset_s = size, low
    others = len(apart) + len(bounds)
    if most >= LEAST_SITES and 2 * most > heard:
        return ClockOpinion(state=ClockState.DOUBTED, heard=heard, others=most, offset_s=offset_s)
    if others:
        nearest = min([*apart, *bounds], key=abs)
        return ClockOpinion(state=ClockState.DISPUTED, heard=heard, others=others, offset_s=nearest)
    is_agreed = agreeing >= LEAST_SITES and 2 * agreeing > heard
    return ClockOpinion(state=ClockState.AGREED if is_agreed else ClockState.UNKNOWN, heard=heard)


@dataclass(slots=True)
class _Shown:
    """What a key has shown: dates minus the steady clock, which stay right as time passes."""

    clock_s: float = -math.inf
    clock_heard_at: float = -math.inf
    bound_s: float = -math.inf


class SiteClocks:
    """The clocks of other sites, as far as one node has heard of them.

    Parameters
    ----------
    steady
        The node's steady clock, in seconds.

    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._shown: dict[bytes, _Shown] = {}
        self._early: dict[bytes, bytes] = {}
        """Key by the id of its packet that was dated in the future."""
        self._verified: Seldom[tuple[bytes, str]] = Seldom(VERIFY_EVERY_S)
        self._forged = Bucket(FORGED_RATE)

    def session(self, key: bytes, clock_s: float) -> None:
        """Note a peer's date minus the steady clock (seconds), which a handshake has shown."""
        shown = self._of(key)
        shown.clock_s, shown.clock_heard_at = clock_s, self._steady()

    def packet(self, key: bytes, issued_at: float) -> None:
        """Note that a verified packet was issued then (Unix seconds), by its issuer's clock."""
        shown = self._of(key)
        shown.bound_s = max(shown.bound_s, issued_at - self._steady())

    def early(self, key: bytes, packet_id: bytes, issued_at: float) -> None:
        """As `packet`, for one that is dated in the future and that its issuer may delete."""
        self.packet(key, issued_at)
        if len(self._early) >= SITES_LIMIT:
            del self._early[next(iter(self._early))]
        self._early[packet_id] = key

    def take_back(self, packet_id: bytes) -> bytes | None:
        """Forget what a packet from the future showed, since it was deleted; returns its key.

        Its site has probably repaired its clock. Other packets of that site may be verified at
        once.
        """
        key = self._early.pop(packet_id, None)
        if key is not None and key in self._shown:
            self._shown[key].bound_s = -math.inf
            self._verified.forget((key, "early"))
        return key

    def is_heard(self, key: bytes, reason: str) -> bool:
        """True if a packet of this issuer, refused for this reason, was verified lately."""
        return not self._verified.would_allow((key, reason), self._steady())

    def may_verify(self) -> bool:
        """True if another refused packet may be verified now, whichever issuer it names."""
        return self._forged.has_room(self._steady())

    def verified(self, key: bytes, reason: str) -> None:
        """Note that a packet that was refused for this reason is really its issuer's."""
        self._verified.allows((key, reason), self._steady())

    def forged(self) -> None:
        """Note that a refused packet was not signed by the issuer it names."""
        self._forged.add()

    def opinion(self, roster: Roster, own: Issuer, *, unix_s: float) -> ClockOpinion:
        """Return the verdict of the roster's sites on a clock that shows `unix_s` now.

        In an open roster anybody can have any number of keys, so there a majority that differs
        makes the clock disputed only, never doubted.
        """
        own_name, steady_s = roster.name_of(own), self._steady()
        of_site: dict[str, Reading] = {}
        for key, shown in self._shown.items():
            issuer = Issuer(key)
            name = roster.name_of(issuer) if roster.accepts(issuer) else None
            if name is None or name == own_name or issuer == own:
                continue
            reading = _reading(shown, unix_s, steady_s)
            former = of_site.get(name)
            # Of a site's keys one in a session counts, else the one with the highest bound.
            if former is None or (former.is_bound, -former.offset_s) > (
                reading.is_bound,
                -reading.offset_s,
            ):
                of_site[name] = reading
        opinion = opinion_of(of_site.values())
        if roster.is_open and opinion.state is ClockState.DOUBTED:
            return ClockOpinion(
                state=ClockState.DISPUTED,
                heard=opinion.heard,
                others=opinion.others,
                offset_s=opinion.offset_s,
            )
        return opinion

    def _of(self, key: bytes) -> _Shown:
        shown = self._shown.pop(key, None) or _Shown()
        if len(self._shown) >= SITES_LIMIT:
            del self._shown[next(iter(self._shown))]
        self._shown[key] = shown  # last: heard most lately
        return shown


def _reading(shown: _Shown, unix_s: float, steady_s: float) -> Reading:
    is_fresh = steady_s - shown.clock_heard_at <= SESSION_MEMORY_S
    base = shown.clock_s if is_fresh else shown.bound_s
    return Reading(base + steady_s - unix_s, is_bound=not is_fresh)
