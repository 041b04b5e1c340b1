"""The columns of a forest plot between labels and plot: what was counted or measured."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from qis._given import several, shown
from qis.errors import InputError
from qis.outcomes import Counts, Moments
from qis.synthesis.scale import thousands

if TYPE_CHECKING:
    from qis.synthesis.site_result import SiteResult

_ARMS: Final = re.compile(r"\s*(.+?)\s+(?:vs\.?|versus|against)\s+(.+?)\s*(?:\||$)", re.IGNORECASE)
_UNKNOWN: Final = "?"
_DIGITS: Final = 3
"""Of a standard deviation; the mean beside it has as many decimals."""


class Columns:
    """Which counts the sites have in common, and their texts.

    Two arms of counts have a column each, and arms of measured values two: people, and their mean
    with its standard deviation. Of all else there is one, of events and people.
    """

    def __init__(self, sites: "Sequence[SiteResult]", question: str, arms: Any) -> None:
        outcomes = [outcome for site in sites for outcome in site.outcomes]
        named = pair(arms, "arms", "the treated and the control arm")
        in_question = _ARMS.match(question)
        if not any(named):
            named = (in_question[1], in_question[2]) if in_question else ("treated", "control")
        counts = [outcome for outcome in outcomes if isinstance(outcome, Counts)]
        moments = [outcome for outcome in outcomes if isinstance(outcome, Moments)]
        self._arms: tuple[str, ...] = ()
        self._is_measured = bool(moments) and len(moments) == len(outcomes)
        self._denominator = "total"
        self.headings: tuple[tuple[str, str], ...] = ()
        if counts and len(counts) == len(outcomes):
            self._denominator = "total" if counts[0].person_time is None else "person_time"
            what = "events/n" if self._denominator == "total" else "events/time"
            two = counts[0].control_events is not None
            self._arms = ("", "control_") if two else ("",)
            self.headings = ((named[0], what), (named[1], what)) if two else (("", what),)
        elif self._is_measured:
            two = moments[0].control_total is not None
            self._arms = ("", "control_") if two else ("",)
            names = named if two else ("",)
            self.headings = tuple((name, what) for name in names for what in ("n", "mean (SD)"))
        elif any(site.events is not None for site in sites):
            self.headings = (("", "events/n"),)
        elif any(site.n is not None for site in sites):
            self.headings = (("", "n"),)

    def of(self, sites: "Sequence[SiteResult]") -> tuple[str, ...]:
        """The texts of one site, or of several together; a question mark where one is not known."""
        if self._is_measured:
            measured: list[Any] = [outcome for site in sites for outcome in site.outcomes]
            return tuple(
                cell
                for arm in self._arms
                for cell in _measured(measured, arm, is_one_site=len(sites) == 1)
            )
        if self._arms:
            counts: list[Any] = [outcome for site in sites for outcome in site.outcomes]
            return tuple(
                "/".join(
                    thousands(sum(getattr(each, f"{arm}{name}") for each in counts))
                    for name in ("events", self._denominator)
                )
                for arm in self._arms
            )
        if not self.headings:
            return ()
        people = _sum([site.n for site in sites])
        if self.headings[0][1] == "n":
            return (people,)
        return (f"{_sum([site.events for site in sites])}/{people}",)


def _measured(moments: "Sequence[Any]", arm: str, *, is_one_site: bool) -> tuple[str, str]:
    """People of an arm, and their mean (SD), which is of one site: sites differ."""
    parts = [
        tuple(getattr(each, f"{arm}{name}") for name in ("total", "mean", "ss")) for each in moments
    ]
    n = sum(part[0] for part in parts)
    if not is_one_site:
        return thousands(n), ""
    mean = math.fsum(size * middle for size, middle, _ in parts) / n
    ss = math.fsum(own + size * (middle - mean) ** 2 for size, middle, own in parts)
    if n < 2 or ss <= 0.0:
        return thousands(n), f"{mean:.{_DIGITS}g}"
    sd = math.sqrt(ss / (n - 1))
    decimals = _DIGITS - 1 - math.floor(math.log10(sd))
    if not 0 <= decimals <= 6 or abs(mean) >= 1e6:
        return thousands(n), f"{mean:.{_DIGITS}g} ({sd:.{_DIGITS}g})"
    return thousands(n), f"{mean:.{decimals}f} ({sd:.{decimals}f})"


def _sum(numbers: Sequence[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    return thousands(sum(known)) if len(known) == len(numbers) else _UNKNOWN


def pair(given: Any, field: str, what: str) -> tuple[str, str]:
    """Two texts, by default empty."""
    if given is None:
        return "", ""
    texts = several(given, field, "two texts")
    if len(texts) != 2:
        raise InputError(f"{field} is {shown(given)}; give two texts: {what}", field=field)
    return text(texts[0], field), text(texts[1], field)


def text(value: Any, field: str) -> str:
    """A text, or an error that names the parameter."""
    if not isinstance(value, str):
        raise InputError(f"{field} is {shown(value)}; it must be a text", field=field, actual=value)
    return value
