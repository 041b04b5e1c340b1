"""Counts of one or two arms: all there is to know of a binary or rate outcome.

Disclosure rules decide where such counts may leave the site.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort):

=====  ==================  =====================================================================
key    content             meaning
=====  ==================  =====================================================================
7      array of 2 or 4     events, total; then the control arm's
       uint
6      bstr(8 or 16)       person-time of the arm, or of both, little-endian float64; if given
=====  ==================  =====================================================================
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import array
from qis._gate import checked
from qis.errors import InputError, NoEstimateError
from qis.outcomes._base import (
    KEY_COUNTS,
    KEY_MODERATORS,
    KEY_REALS,
    MAX_COUNT,
    Body,
    Outcome,
    check_count,
    check_real,
    common_fields,
    set_counts,
)
from qis.outcomes._conditional import Rates, Tables
from qis.outcomes._frame import (
    Levels,
    Missing,
    Table,
    open_table,
    provenance,
    read_table,
)
from qis.outcomes._frame_notices import refuse_aggregated
from qis.outcomes._poisson import PoissonRates
from qis.outcomes.effect import Effect
from qis.outcomes.measures import measure_named
from qis.outcomes.profile import LikelihoodProfile
from qis.outcomes.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts(Outcome):
    """Events among people, in one arm or in two.

    Two arms pool as an odds ratio, or as a rate ratio where person-times are given, with the
    conditional likelihood. One arm pools as a proportion (its log odds, with the binomial
    likelihood), or as a rate (its logarithm, with the Poisson one) where a person-time is given.
    Cells of zero need no correction. Any other measure has to be asked for, with `effect`.

    Parameters
    ----------
    events, total
        People with the event, and all people, of the (treated) arm; with person-time, `events`
        may count several of one person.
    control_events, control_total
        The same of the control arm; give both or neither.
    person_time, control_person_time
        Time at risk in the study's unit, positive; give it for every arm or for none.

    Raises
    ------
    InputError
        If a count is negative, there are more events than people (without person-time), or the
        two arms are not both complete.

    Examples
    --------
    >>> import qis
    >>> counts = qis.Counts(
    ...     question="a vs b | death", events=3, total=40, control_events=9, control_total=41
    ... )
    >>> counts.measure, counts.n, counts.all_events
    ('OR', 81, 12)

    """

    takes_moderators: ClassVar[bool] = True
    kind: ClassVar[int] = 2

    events: int
    total: int
    control_events: int | None = None
    control_total: int | None = None
    person_time: float | None = None
    control_person_time: float | None = None

    def __post_init__(self, study: Study | None) -> None:
        if isinstance(study, Study) and study.measure not in (None, self.measure):
            raise InputError(
                f"the study measures {study.measure}; these counts pool as {self.measure}: send "
                f".effect({study.measure!r})",
                field="measure",
                actual=self.measure,
                limit=study.measure,
            )
        Outcome.__post_init__(self, study)
        self._check_arm("", self.person_time)
        if (self.control_events is None) != (self.control_total is None):
            raise InputError(
                "give control_events and control_total both, or neither", field="control_total"
            )
        if self.control_events is not None:
            self._check_arm("control_", self.control_person_time)
        check_count(self.n, "total, both arms together,", 1)
        check_count(self.all_events, "events, both arms together,")
        needs_time = self.person_time is not None and self.control_events is not None
        if needs_time != (self.control_person_time is not None):
            raise InputError(
                "give the person-time of every arm or of none", field="control_person_time"
            )

    def _check_arm(self, arm: str, time: Any) -> None:
        set_counts(self, (f"{arm}total",), 1)
        most = MAX_COUNT if time is not None else getattr(self, f"{arm}total")
        try:
            set_counts(self, (f"{arm}events",), 0, most)
        except InputError as error:
            if most == MAX_COUNT:
                raise
            raise InputError(
                f"{error}: {arm}total is {most}",
                field=f"{arm}events",
                actual=error.actual,
                limit=error.limit,
            ) from None
        if time is not None:
            real = check_real(time, f"{arm}person_time", 1e-12, 1e15)
            object.__setattr__(self, f"{arm}person_time", real)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        arm: Levels | None = None,
        event: Levels | None = None,
        frequency: str | None = None,
        events: str | None = None,
        total: str | None = None,
        person_time: str | None = None,
        patient: str | None = None,
        missing: Missing = "refuse",
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Count the people and events of a table, which has one row a patient or a group.

        Which level is the event and which arm is treated has to be said: other levels are refused.

        Parameters
        ----------
        frame
            A data frame of pandas, polars or pyarrow (extra `[frames]`), or ``{column: values}``.
        arm
            ``(column, treated arm, control arm)``; without it there is one arm.
        event
            With one row a patient: ``(column, level of an event, level of none)``.
        frequency
            Column with the number of patients that each row stands for, if rows are groups of
            like patients (a table of frequencies).
        events, total
            Instead of `event`, where each row is an arm or part of it: columns with its events
            and its people.
        person_time
            Column with the time at risk, if rates are counted.
        patient
            Column with the patients' ids; an id in two rows is refused. Without it, a column
            that looks like one and repeats is a `UserWarning`.
        missing
            "refuse" rows that lack a value in a column that is used, or "drop" them; how many
            were dropped is in `provenance`.
        study, question
            What the outcome belongs to: a `Study`, or a question only.
        cohort
            Which of the site's disjoint groups of people this is.

        Raises
        ------
        InputError
            If a column is not there, values are missing, levels are unknown, an arm is empty, or
            rows are not of the sort that was said.
        MissingExtraError
            If `frame` is a data frame and narwhals is not installed.

        Examples
        --------
        >>> table = {"arm": ["drug", "drug", "none"], "died": ["no", "yes", "yes"]}
        >>> counts = Counts.from_frame(
        ...     table, arm=("arm", "drug", "none"), event=("died", "yes", "no"), question="death"
        ... )
        >>> counts.events, counts.total, counts.control_events, counts.control_total
        (1, 2, 1, 1)

        """
        if (event is None) == (events is None) or (events is None) != (total is None):
            raise InputError(
                "give event= (one row a patient), or events= and total= (one row an arm)",
                field="event",
            )
        if events is not None and frequency is not None:
            raise InputError("frequency= goes with event=, not with events=", field="frequency")
        used = {
            "arm": arm,
            "event": event,
            "frequency": frequency,
            "events": events,
            "total": total,
            "person_time": person_time,
        }
        table = read_table(frame, used, missing=missing, patient=patient)
        if event is not None and frequency is None and person_time is None:
            columns = [levels[0] for levels in (arm, event) if levels is not None]
            refuse_aggregated(*open_table(frame), columns, "give frequency={!r}")
        if event is not None:
            people = [1] * len(table.rows)
            if frequency is not None:
                people = table.whole_numbers(frequency, "frequency")
            flags = table.flags(event, "event")
            happened = [n * flag for n, flag in zip(people, flags, strict=True)]
        else:
            people = table.whole_numbers(str(total), "total")
            happened = table.whole_numbers(str(events), "events")
            _require_fewer(table, happened, people, at_all=person_time is None)
        times = None if person_time is None else table.numbers(person_time, "person_time", 0.0)
        treated = [True] * len(table.rows) if arm is None else table.flags(arm, "arm")
        given: dict[str, Any] = {}
        for prefix, own in table.by_arm(arm, treated):
            given[f"{prefix}total"] = sum(people[i] for i in own)
            given[f"{prefix}events"] = sum(happened[i] for i in own)
            if times is not None:
                given[f"{prefix}person_time"] = math.fsum(times[i] for i in own)
        event_said = "" if event is None else f"event: {event[0]} = {event[1]}"
        return cls(
            study=study,
            question=question,
            cohort=cohort,
            provenance=provenance(arm, treated, event_said, table.dropped),
            **given,
        )

    @property
    def measure(self) -> str:
        """The measure that the counts pool as.

        Two arms: "OR", or "IRR" with person-time. One arm: "PLO", or "IRLN" with person-time.
        """
        if self.control_events is None:
            return "PLO" if self.person_time is None else "IRLN"
        return "OR" if self.person_time is None else "IRR"

    @property
    def n(self) -> int:
        """People in all arms."""
        return self.total + (self.control_total or 0)

    @property
    def all_events(self) -> int:
        """Events in all arms."""
        return self.events + (self.control_events or 0)

    @property
    def is_informative(self) -> bool:
        """True if the likelihood depends on the effect: one arm, or two that are not all alike."""
        if self.control_events is None:
            return True
        if self.person_time is not None:
            return self.all_events > 0
        return 0 < self.all_events < self.n

    def log_likelihood(self, theta: ArrayLike) -> NDArray[np.float64]:
        """The exact log-likelihood at values of the effect, in the shape of `theta`.

        Two arms: the logarithm of the probability of the first arm's events given those of both, at
        the log odds ratio (log rate ratio with person-time) `theta`. One arm: that of its events,
        at the log odds (log rate with person-time) `theta`. Less a constant, but for odds ratios.
        """
        where = array(theta, "theta")
        values, _, _ = exact_of([self]).evaluate(where.ravel())
        curve: NDArray[np.float64] = values[0].reshape(where.shape)
        return curve

    def profile(self) -> LikelihoodProfile:
        """The conditional log-likelihood of the log odds ratio, or log rate ratio, as a profile.

        It is read between nine points, where the counts themselves are pooled by the exact
        likelihood.

        Raises
        ------
        InputError
            If there is one arm only.

        Examples
        --------
        >>> import qis
        >>> counts = qis.Counts(
        ...     question="a vs b | c", events=0, total=20, control_events=9, control_total=21
        ... )
        >>> profile = counts.profile()
        >>> profile.maximum is None  # no event: the smaller the odds ratio, the likelier
        True

        """
        if self.control_events is None:
            raise InputError(
                "one arm has no ratio, and a profile is of one; send these counts themselves, "
                f"which pool as {self.measure} by their exact likelihood",
                field="control_events",
            )
        rows = exact_of([self])

        def evaluate(
            log_ratio: NDArray[np.float64],
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            values, slopes, _ = rows.evaluate(log_ratio)
            return values[0], slopes[0]

        below, above = rows.limiting_slopes
        return LikelihoodProfile.from_evaluation(
            evaluate,
            (float(below[0]), float(above[0])),
            measure=self.measure,
            n=self.n,
            events=self.all_events,
            study_id=self.study_id,
            question=self.question,
            cohort=self.cohort,
        )

    @checked
    def effect(self, measure: str) -> Effect:
        """Estimate and standard error of a measure, by the usual large-sample formulas.

        Parameters
        ----------
        measure
            Two arms: "OR", "RR", "RD", or with person-time "IRR", "IRD". One arm: "PLO", "PR", or
            with person-time "IRLN". Formulas as in metafor's `escalc`.

        Raises
        ------
        NoEstimateError
            If a cell is zero, so that estimate or standard error would not be what they claim;
            `profile` needs no such cells.
        InputError
            If the measure does not fit the arms.

        Examples
        --------
        >>> import qis
        >>> counts = qis.Counts(
        ...     question="a vs b | c", events=3, total=20, control_events=9, control_total=21
        ... )
        >>> effect = counts.effect("RR")
        >>> round(effect.estimate, 3), round(effect.standard_error, 3)  # of the logarithm
        (-1.05, 0.589)

        """
        measure_named(measure)
        cells = self._cells()
        if measure not in cells:
            raise InputError(
                f"{measure} cannot be had from these counts; they give {', '.join(cells)}",
                field="measure",
                actual=measure,
                limit=tuple(cells),
            )
        if 0 in cells[measure]:
            raise NoEstimateError(
                f"a cell is zero, so the {measure} has no estimate with a standard error; send "
                f"these Counts themselves, which pool as {self.measure} and lose nothing",
                field="events",
                actual=cells[measure],
            )
        estimate, variance = self._moments(measure)
        return Effect(
            study_id=self.study_id,
            question=self.question,
            cohort=self.cohort,
            measure=measure,
            estimate=estimate,
            standard_error=math.sqrt(variance),
            n=self.n,
        )

    def _cells(self) -> dict[str, tuple[int, ...]]:
        """For each measure that these arms give, the cells that must not be zero."""
        own = (self.events, self.total - self.events)
        if self.control_events is None or self.control_total is None:
            if self.person_time is not None:
                return {"IRLN": (self.events,)}
            return {"PLO": own, "PR": own}
        if self.person_time is not None:
            return dict.fromkeys(("IRR", "IRD"), (self.events, self.control_events))
        others = (self.control_events, self.control_total - self.control_events)
        return dict.fromkeys(("OR", "RR", "RD"), (*own, *others))

    def _moments(self, measure: str) -> tuple[float, float]:
        """Estimate and variance by the formulas of metafor's `escalc`; no cell is zero."""
        a, n = self.events, self.total
        c, m = self.control_events or 0, self.control_total or 0
        if self.person_time is not None:
            return self._rate_moments(measure, self.person_time, self.control_person_time or 0.0)
        p = a / n
        if measure == "PLO":
            return math.log(a) - math.log(n - a), 1 / a + 1 / (n - a)
        if measure == "PR":
            return p, p * (1 - p) / n
        q = c / m
        if measure == "OR":
            odds = math.log(a) - math.log(n - a) - math.log(c) + math.log(m - c)
            return odds, math.fsum((1 / a, 1 / (n - a), 1 / c, 1 / (m - c)))
        if measure == "RR":
            return math.log(p) - math.log(q), math.fsum((1 / a, -1 / n, 1 / c, -1 / m))
        return p - q, p * (1 - p) / n + q * (1 - q) / m

    def _rate_moments(self, measure: str, time: float, control_time: float) -> tuple[float, float]:
        a, c = self.events, self.control_events or 0
        if measure == "IRLN":
            return math.log(a) - math.log(time), 1 / a
        if measure == "IRR":
            rates = math.log(a) - math.log(time), math.log(c) - math.log(control_time)
            return rates[0] - rates[1], 1 / a + 1 / c
        return a / time - c / control_time, a / time**2 + c / control_time**2

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        times = [t for t in (self.person_time, self.control_person_time) if t is not None]
        if times:
            body[KEY_REALS] = struct.pack(f"<{len(times)}d", *times)
        arms = (self.events, self.total, self.control_events, self.control_total)
        body[KEY_COUNTS] = [count for count in arms if count is not None]
        if self.moderators:
            body[KEY_MODERATORS] = self.moderators
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        counts = body[KEY_COUNTS]
        packed = body.get(KEY_REALS)
        two = len(counts) == 4
        times = (None, None)
        if packed is not None:
            times = (*struct.unpack("<2d" if two else "<d", packed), None)[:2]
        return cls(
            **common_fields(body),
            moderators=body.get(KEY_MODERATORS, b""),
            events=counts[0],
            total=counts[1],
            control_events=counts[2] if two else None,
            control_total=counts[3] if two else None,
            person_time=times[0],
            control_person_time=times[1],
        )


def _require_fewer(
    table: Table, events: Sequence[int], people: Sequence[int], *, at_all: bool
) -> None:
    """Refuse a row with more events than people, unless persons may have several."""
    for row, number, n in zip(table.rows, events, people, strict=True):
        if at_all and number > n:
            raise InputError(f"row {row} has {number} events in {n} people", field="events")


def exact_of(counts: Sequence[Counts]) -> Tables | Rates | PoissonRates:
    """The exact likelihoods of counts of one measure, one a row in the given order."""
    own = np.array([c.events for c in counts], dtype=np.float64)
    if counts[0].measure == "IRLN":
        return PoissonRates(
            events=own, person_time=np.array([c.person_time or 1.0 for c in counts])
        )
    if counts[0].measure == "PLO":
        without = np.array([c.total - c.events for c in counts], dtype=np.float64)
        return Rates(events=own, control_events=without, log_time_ratio=np.zeros_like(own))
    other = np.array([c.control_events or 0 for c in counts], dtype=np.float64)
    if counts[0].measure == "IRR":
        times = [(c.person_time or 1.0, c.control_person_time or 1.0) for c in counts]
        ratios = np.array([math.log(time) - math.log(control) for time, control in times])
        return Rates(events=own, control_events=other, log_time_ratio=ratios)
    return Tables(
        events=own,
        total=np.array([c.total for c in counts], dtype=np.float64),
        control_events=other,
        control_total=np.array([c.control_total or 0 for c in counts], dtype=np.float64),
    )
