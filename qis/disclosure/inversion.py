"""Inversion: which whole-numbered tables are behind the numbers that are to leave.

An outsider who has the packet asks which tables of people give these bytes. If there is one, and
each of them has some cell from 1 to the limit, a small group is known to be there, and as a rule
which. It need not be the same cell in all: tables come in mirror images. If no table fits, the
numbers come from an adjusted model; if a table without small cells fits too, nothing is proven.
The work is bounded by counts of steps and never by seconds, so that a slow machine releases nothing
that a fast one refuses; where the bound is met, what was found stands.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from qis.disclosure.any_formula import of_two_values
from qis.disclosure.arm_inversion import arm_systems
from qis.disclosure.consistent import System, as_findings, most_likely
from qis.disclosure.effect_inversion import effect_systems
from qis.disclosure.finding import Finding
from qis.disclosure.profiles import arms_of, profile_counts
from qis.disclosure.two_by_two import MEASURES
from qis.outcomes import Effect, LikelihoodProfile, Moments, Outcome

_ROOM: Final = 2
"""An arm's size that is known roughly must be this many times the limit."""
_ROOM_OF_REST: Final = 1.5
"""The same of the people without event, who are told less well."""
_SHOWN: Final = 3
"""Tables of one system that a preview lists."""


def proven(outcome: Outcome, *, limit: int) -> Finding | None:
    """Return a small cell if each table that fits some part of the outcome has one.

    Also if only most of them have one, but one value of one cell is so frequent that who names it
    is right much more often than by the commonest guess.

    Parameters
    ----------
    outcome
        The outcome that is to be released.
    limit
        Smallest count above zero that may be derivable.

    """
    # Of 2×2 tables a system lists the small ones and one that is harmless, if that counts.
    is_whole = not isinstance(outcome, Effect) or outcome.measure not in MEASURES
    for system in systems(outcome, limit=limit):
        small = [_smallest(table, limit) for table in system]
        named = next((cell for cell in small if cell is not None), None)
        if named is not None and (all(small) or (is_whole and _is_named(system, limit))):
            return named
    if isinstance(outcome, LikelihoodProfile):
        for arm in arms_of(outcome):
            room = _ROOM if "without event" not in arm.cell else _ROOM_OF_REST
            if arm.people < room * limit:
                return arm
    return None


def readable(outcome: Outcome, *, limit: int) -> list[Finding]:
    """Return the cells that an outsider may read, for the preview; some tables of each part."""
    found: list[Finding] = []
    for system in systems(outcome, limit=limit):
        for table in system[:_SHOWN]:
            found += table
    if isinstance(outcome, LikelihoodProfile):
        found += arms_of(outcome)
    return found


def systems(outcome: Outcome, *, limit: int) -> Iterator[System]:
    """Yield the consistent tables of each part of an outcome that can be solved by itself."""
    if isinstance(outcome, Moments):
        yield from arm_systems("treated arm", outcome.total, outcome.mean, outcome.ss)
        if outcome.control_total is not None:
            mean, ss = outcome.control_mean or 0.0, outcome.control_ss or 0.0
            yield from arm_systems("control arm", outcome.control_total, mean, ss)
            yield of_two_values(outcome)
    elif isinstance(outcome, Effect) and outcome.n is not None:
        yield from effect_systems(outcome, outcome.n, limit)
    elif isinstance(outcome, LikelihoodProfile):
        tables_of_curve = profile_counts(outcome).get("table", [])
        yield [as_findings("from the profile's slopes", each) for each in tables_of_curve]


def _smallest(table: Iterable[Finding], limit: int) -> Finding | None:
    small = [cell for cell in table if 0 < cell.people < limit]
    return min(small, key=lambda cell: cell.people, default=None)


def _is_named(system: System, limit: int) -> bool:
    """True if most tables that fit have a small cell, and one value of one cell is too frequent."""
    if 2 * sum(_smallest(table, limit) is not None for table in system) <= len(system):
        return False
    times = Counter(cell[1:] for table in system for cell in table if 0 < cell.people < limit)
    return max(times.values(), default=0) > most_likely(limit) * len(system)
