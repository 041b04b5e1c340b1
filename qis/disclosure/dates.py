"""Days on which rounded totals may move.

A rounded total that is published every night moves on the night on which the exact one crosses
half a unit, and so tells it. If it may move on days that were declared beforehand, it tells only
that it was crossed some time between two of them.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from qis.disclosure.ledger import Emission
from qis.disclosure.presets import Preset
from qis.disclosure.refusal import refuse
from qis.errors import InputError

RULE = "release_date"


def days_of(days: Iterable[date]) -> frozenset[date]:
    """Check declared days; a `datetime` is none, since its time zone would decide the day."""
    found = frozenset(days)
    for day in found:
        if type(day) is not date:
            raise InputError(
                f"release_dates holds a {type(day).__name__}; give datetime.date objects",
                field="release_dates",
                actual=day,
            )
    return found


def check_date(
    rules: Preset, new: Emission, formers: Sequence[Emission], days: frozenset[date]
) -> None:
    """Raise `DisclosureError` if a rounded release moves on a day that was not declared.

    Parameters
    ----------
    rules
        The preset in force; one that does not round has no such days.
    new
        The release; `at` decides the day.
    formers
        What left under the same study.
    days
        The declared days.

    """
    if rules.rounding <= 1:
        return
    moved = [
        former
        for former in formers
        if former.cohort == new.cohort and former.kind == new.kind and former.digest != new.digest
    ]
    if moved and datetime.fromtimestamp(new.at, UTC).date() not in days:
        later = sorted(day for day in days if day > datetime.fromtimestamp(new.at, UTC).date())
        when = f"the next is {later[0]}" if later else "none is declared (release_dates=)"
        refuse(
            rules,
            RULE,
            f"a rounded total moves at declared days only, since the night on which it moves tells "
            f"the exact one; {when}",
            None,
            ways_out="wait for the declared day; the release that is out already may be repeated",
        )
