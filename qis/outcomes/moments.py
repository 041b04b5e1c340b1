"""Number, mean and sum of squares of one or two arms, for continuous outcomes.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort):

=====  ===================  ====================================================================
key    content              meaning
=====  ===================  ====================================================================
6      bstr(16 or 32)       mean and sum of squared deviations, little-endian float64; then the
                            control arm's
7      array of 1 or 2      people; then the control arm's
       uint
=====  ===================  ====================================================================
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import array, vector
from qis._gate import checked
from qis.errors import IncompatibleEvidenceError, InputError, NoEstimateError
from qis.outcomes._base import (
    KEY_COUNTS,
    KEY_MODERATORS,
    KEY_REALS,
    Body,
    Outcome,
    check_real,
    common_fields,
    knowing,
    set_counts,
)
from qis.outcomes._data_summary import DataSummary
from qis.outcomes._frame import Levels, Missing, open_table, provenance, read_table
from qis.outcomes._frame_notices import refuse_aggregated, warn_of_serial_dates
from qis.outcomes._means import MeanDifferences, Means
from qis.outcomes._row_groups import levels_of, shares_of
from qis.outcomes.effect import Effect
from qis.outcomes.measures import measure_named
from qis.outcomes.study import Study

LEAST_PEOPLE: Final = 3
"""With fewer people in an arm the likelihood of its mean has no finite integral."""
NO_LIKELIHOOD: Final = (
    "an arm has fewer than three people, or all have one value, so that its variance and with it "
    "the likelihood are unknown; merge it with another group of the same site "
    "(qis.outcomes.moments.merge_moments)"
)
_LARGEST = 1e60
_LARGEST_SS = 1e120


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments(Outcome):
    """Number, mean and sum of squared deviations from the mean, in one arm or in two.

    One arm pools as a mean, two as a difference of means, with the normal likelihood in which each
    arm's variance is free and profiled out: a few people whose variance happens to be small count
    for as little as they know. Any other measure has to be asked for, with `effect`.

    Parameters
    ----------
    total
        People in the (treated) arm.
    mean
        In the study's unit, within ±1e60.
    ss
        Sum of squared deviations from `mean`, not negative.
    control_total, control_mean, control_ss
        The same of the control arm; give all or none.

    Raises
    ------
    InputError
        If a number is not finite or out of range, or an arm is not complete.

    Examples
    --------
    >>> import qis
    >>> drug, none = [5.0, 7.0, 9.0], [4.0, 6.0, 5.0]
    >>> moments = qis.Moments.from_values(drug, control=none, question="score")
    >>> moments.measure, moments.mean, moments.ss
    ('MD', 7.0, 8.0)

    """

    takes_moderators: ClassVar[bool] = True
    kind: ClassVar[int] = 3

    total: int
    mean: float
    ss: float
    control_total: int | None = None
    control_mean: float | None = None
    control_ss: float | None = None

    def __post_init__(self, study: Study | None) -> None:
        pools_as = "MN" if self.control_total is None else "MD"
        if isinstance(study, Study) and study.measure not in (None, pools_as):
            raise InputError(
                f"the study measures {study.measure}; these moments pool as {pools_as}: send "
                f".effect({study.measure!r})",
                field="measure",
                actual=pools_as,
                limit=study.measure,
            )
        Outcome.__post_init__(self, study)
        control = (self.control_total, self.control_mean, self.control_ss)
        if 0 < sum(part is not None for part in control) < len(control):
            raise InputError(
                "give all of control_total, control_mean and control_ss, or none",
                field="control_total",
            )
        for arm in ("", "control_") if self.control_total is not None else ("",):
            set_counts(self, (f"{arm}total",), 1)
            for name, low, high in (("mean", -_LARGEST, _LARGEST), ("ss", 0.0, _LARGEST_SS)):
                real = check_real(getattr(self, arm + name), arm + name, low, high)
                object.__setattr__(self, arm + name, real)

    @classmethod
    def from_values(
        cls,
        values: Iterable[float],
        control: Iterable[float] | None = None,
        *,
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Compute the moments of people's values, correctly rounded whatever their order.

        `control` holds the values of the control arm, if there is one.

        Raises
        ------
        InputError
            If there is no value in an arm, or one is not finite.

        """
        rows = [vector(values, "values")]
        if control is not None:
            rows.append(vector(control, "control"))
        arms = [_arm_of(row, name) for row, name in zip(rows, ("values", "control"), strict=False)]
        outcome = cls(study=study, question=question, cohort=cohort, **_named(arms))
        return knowing(outcome, _summary(rows))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        arm: Levels | None = None,
        value: str | None = None,
        mean: str | None = None,
        standard_deviation: str | None = None,
        total: str | None = None,
        patient: str | None = None,
        missing: Missing = "refuse",
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Compute the moments of a table, which has one row a patient or one a group.

        Parameters
        ----------
        frame
            A data frame of pandas, polars or pyarrow (extra `[frames]`), or ``{column: values}``.
        arm
            ``(column, treated arm, control arm)``; without it there is one arm. Other levels are
            refused.
        value
            With one row a patient: the column with the value, in the study's unit.
        mean, standard_deviation, total
            Instead of `value`, where each row is a group: columns with its mean, its standard
            deviation (with n - 1) and its number of people. The groups of an arm are merged.
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
            If a column is not there, values are missing or no numbers (decimal commas and dates
            are named), levels are unknown, or an arm is empty.
        MissingExtraError
            If `frame` is a data frame and narwhals is not installed.

        Examples
        --------
        >>> groups = {"mean": [5.0, 7.0], "sd": [2.0, 2.0], "n": [3, 1]}
        >>> Moments.from_frame(
        ...     groups, mean="mean", standard_deviation="sd", total="n", question="level"
        ... ).mean
        5.5

        """
        grouped = (mean, standard_deviation, total)
        is_grouped = [each is not None for each in grouped]
        if (value is None) != all(is_grouped) or (value is not None and any(is_grouped)):
            raise InputError(
                "give value= (one row a patient), or mean=, standard_deviation= and total= (one "
                "row a group)",
                field="value",
            )
        used = {
            "arm": arm,
            "value": value,
            "mean": mean,
            "standard_deviation": standard_deviation,
            "total": total,
        }
        table = read_table(frame, used, missing=missing, patient=patient)
        numbers = None if value is None else np.array(table.numbers(value, "value"), dtype=float)
        if numbers is not None:
            rows = [_Arm(1, x, 0.0) for x in numbers.tolist()]
            refuse_aggregated(
                *open_table(frame),
                [] if arm is None else [arm[0]],
                "give mean=, standard_deviation= and total={!r}",
            )
            why = "the mean of dates is no outcome"
            warn_of_serial_dates(numbers.tolist(), str(value), "value", why, measured=True)
        else:
            people = table.whole_numbers(str(total), "total", 1)
            errors = table.numbers(str(standard_deviation), "standard_deviation", 0.0)
            means = table.numbers(str(mean), "mean")
            spread = [(n - 1) * sd**2 for n, sd in zip(people, errors, strict=True)]
            rows = [_Arm(*row) for row in zip(people, means, spread, strict=True)]
        treated = [True] * len(rows) if arm is None else table.flags(arm, "arm")
        chosen = [own for _, own in table.by_arm(arm, treated)]
        outcome = cls(
            study=study,
            question=question,
            cohort=cohort,
            provenance=provenance(arm, treated, table.dropped),
            **_named([_merged([rows[i] for i in own]) for own in chosen]),
        )
        if numbers is None:
            return outcome
        return knowing(outcome, _summary([numbers[np.array(own)] for own in chosen]))

    @property
    def measure(self) -> str:
        """The measure that the moments pool as: "MN" with one arm, "MD" with two."""
        return "MN" if self.control_total is None else "MD"

    @property
    def n(self) -> int:
        """People in all arms."""
        return self.total + (self.control_total or 0)

    @property
    def is_informative(self) -> bool:
        """True if there is a likelihood: 3 people or more in each arm, and not all of one value."""
        arms = [(self.total, self.ss)]
        if self.control_total is not None:
            arms.append((self.control_total, self.control_ss or 0.0))
        return all(people >= LEAST_PEOPLE and ss > 0.0 for people, ss in arms)

    def log_likelihood(self, theta: ArrayLike) -> NDArray[np.float64]:
        """The log-likelihood of the mean, or difference of means, in the shape of `theta`.

        The values are normal; it is largest over the variance of each arm, and over the control
        arm's mean. Relative to its largest value.

        Raises
        ------
        NoEstimateError
            If an arm has fewer than three people or does not vary.

        """
        if not self.is_informative:
            raise NoEstimateError(NO_LIKELIHOOD, field="total")
        where = array(theta, "theta")
        values = rows_of([self]).value(where.ravel())
        curve: NDArray[np.float64] = values[0].reshape(where.shape)
        return curve

    @checked
    def effect(self, measure: str) -> Effect:
        """Estimate and standard error of a measure, by the usual large-sample formulas.

        Parameters
        ----------
        measure
            Two arms: "MD", "SMD" (Hedges' g, with the exact correction) or "ROM"; one: "MN".
            Formulas as in metafor's `escalc`, variances of the arms not assumed equal.

        Raises
        ------
        NoEstimateError
            If an arm has fewer than two people or does not vary, or a mean is not positive (ROM).
        InputError
            If the measure does not fit the arms.

        Examples
        --------
        >>> import qis
        >>> moments = qis.Moments.from_values([5.0, 6.0, 8.0], [3.0, 4.0, 6.0], question="a vs b")
        >>> round(moments.effect("MD").estimate, 3)
        2.0

        """
        measure_named(measure)
        fitting = ("MN",) if self.control_total is None else ("MD", "SMD", "ROM")
        if measure not in fitting:
            raise InputError(
                f"{measure} cannot be had from these moments; they give {', '.join(fitting)}",
                field="measure",
                actual=measure,
                limit=fitting,
            )
        arms = [_Arm(self.total, self.mean, self.ss)]
        if self.control_total is not None:
            arms.append(_Arm(self.control_total, self.control_mean or 0.0, self.control_ss or 0.0))
        if any(arm.total < 2 or arm.ss <= 0.0 for arm in arms):
            raise NoEstimateError(
                "an arm has fewer than two people, or all have one value: there is no standard "
                "error",
                field="total",
            )
        if measure == "ROM" and any(arm.mean <= 0.0 for arm in arms):
            raise NoEstimateError("a ratio of means needs positive means", field="mean")
        estimate, variance = _FORMULAS[measure](*arms)
        effect = Effect(
            study_id=self.study_id,
            question=self.question,
            cohort=self.cohort,
            measure=measure,
            estimate=estimate,
            standard_error=math.sqrt(variance),
            n=self.n,
        )
        return effect if self.known is None else knowing(effect, self.known)

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        reals = [self.mean, self.ss, self.control_mean, self.control_ss]
        given = [real for real in reals if real is not None]
        body[KEY_REALS] = struct.pack(f"<{len(given)}d", *given)
        counts = (self.total, self.control_total)
        body[KEY_COUNTS] = [count for count in counts if count is not None]
        if self.moderators:
            body[KEY_MODERATORS] = self.moderators
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        counts = body[KEY_COUNTS]
        reals = struct.unpack(f"<{2 * len(counts)}d", body[KEY_REALS])
        arms = [_Arm(count, *reals[2 * arm : 2 * arm + 2]) for arm, count in enumerate(counts)]
        codes = body.get(KEY_MODERATORS, b"")
        return cls(**common_fields(body), moderators=codes, **_named(arms))


@dataclass(frozen=True, slots=True)
class _Arm:
    total: int
    mean: float
    ss: float

    @property
    def variance(self) -> float:
        return self.ss / (self.total - 1)


def rows_of(moments: Sequence[Moments]) -> Means | MeanDifferences:
    """The likelihoods of informative moments of one measure, one a row in the given order."""
    people, mean, ss = (
        np.array([getattr(m, name) for m in moments], dtype=np.float64)
        for name in ("total", "mean", "ss")
    )
    if moments[0].measure == "MN":
        return Means(people=people, mean=mean, ss=ss)
    return MeanDifferences(
        people=people,
        ss=ss,
        control_people=np.array([m.control_total or 0 for m in moments], dtype=np.float64),
        control_ss=np.array([m.control_ss or 0.0 for m in moments]),
        difference=mean - np.array([m.control_mean or 0.0 for m in moments]),
    )


def merge_moments(parts: Sequence[Moments], *, cohort: str = "") -> Moments:
    """The moments of all people together (Chan, Golub & LeVeque 1979), correctly rounded.

    All parts are merged at once in exact arithmetic and rounded at the end, so that neither their
    order nor how they were split changes a bit more than the parts' own rounding.

    Parameters
    ----------
    parts
        One or more moments of one study and of disjoint people, all with one arm or all with two.
    cohort
        Name of the cohort that the result describes.

    Raises
    ------
    InputError
        If there is no part, or people or numbers become too many.
    IncompatibleEvidenceError
        If studies differ, or some parts have one arm and some two.

    """
    if not parts:
        raise InputError("there is nothing to merge", field="parts", actual=0, limit=1)
    if len({part.study_id for part in parts}) > 1:
        raise IncompatibleEvidenceError("the parts differ in study_id", field="study_id")
    if len({part.control_total is None for part in parts}) > 1:
        raise IncompatibleEvidenceError("some parts have one arm, some two", field="control_total")
    arms = [_merged([_Arm(p.total, p.mean, p.ss) for p in parts])]
    controls = [
        _Arm(p.control_total, p.control_mean or 0.0, p.control_ss or 0.0)
        for p in parts
        if p.control_total is not None
    ]
    if controls:
        arms.append(_merged(controls))
    first = min(parts, key=lambda part: part.question)
    return Moments(study_id=first.study_id, question=first.question, cohort=cohort, **_named(arms))


def _merged(arms: Sequence[_Arm]) -> _Arm:
    """Merge arms in exact arithmetic: squares within the parts, and between their means."""
    total = sum(arm.total for arm in arms)
    mean = sum((arm.total * Fraction(arm.mean) for arm in arms), Fraction(0)) / total
    ss = sum(
        (Fraction(arm.ss) + arm.total * (Fraction(arm.mean) - mean) ** 2 for arm in arms),
        Fraction(0),
    )
    return _Arm(total, float(mean), float(ss))


def _summary(arms: Sequence[NDArray[np.float64]]) -> DataSummary:
    """Smallest group of one value in an arm, if it has few values, and the largest shares."""
    cells = [int(level.sum()) for arm in arms for level in levels_of(arm)]
    cells += [people for arm in arms if (people := _unlike_most(arm))]
    shares = [shares_of(np.abs(arm)) for arm in arms]
    return DataSummary(
        smallest_cell=min(cells, default=0),
        smallest_of_three=0,
        largest_share=max(largest for largest, _ in shares),
        largest_two=max(two for _, two in shares),
    )


def _unlike_most(arm: NDArray[np.float64]) -> int:
    """People who have another value than more than half of them: those with any cost, say."""
    times = int(np.unique(arm, return_counts=True)[1].max())
    return len(arm) - times if 2 * times > len(arm) else 0


def _arm_of(values: NDArray[np.float64], field: str) -> _Arm:
    checked = [check_real(value, field, -_LARGEST, _LARGEST) for value in values.tolist()]
    if not checked:
        raise InputError(f"{field} is empty", field=field, actual=0, limit=1)
    return _merged([_Arm(1, value, 0.0) for value in checked])


def _named(arms: Sequence[_Arm]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for prefix, arm in zip(("", "control_"), arms, strict=False):
        named[f"{prefix}total"] = arm.total
        named[f"{prefix}mean"] = arm.mean
        named[f"{prefix}ss"] = arm.ss
    return named


def _mean(arm: _Arm) -> tuple[float, float]:
    return arm.mean, arm.variance / arm.total


def _mean_difference(arm: _Arm, control: _Arm) -> tuple[float, float]:
    return arm.mean - control.mean, arm.variance / arm.total + control.variance / control.total


def _standardised(arm: _Arm, control: _Arm) -> tuple[float, float]:
    """Hedges' g (1981), its bias corrected exactly, with gamma functions."""
    freedom = arm.total + control.total - 2
    deviation = math.sqrt((arm.ss + control.ss) / freedom)
    correction = math.exp(
        math.lgamma(freedom / 2) - 0.5 * math.log(freedom / 2) - math.lgamma((freedom - 1) / 2)
    )
    estimate = correction * (arm.mean - control.mean) / deviation
    people = arm.total + control.total
    return estimate, 1 / arm.total + 1 / control.total + estimate**2 / (2 * people)


def _ratio_of_means(arm: _Arm, control: _Arm) -> tuple[float, float]:
    """Log ratio of means, with the delta method's variance (Hedges, Gurevitch & Curtis 1999)."""
    variance = sum(a.variance / (a.total * a.mean**2) for a in (arm, control))
    return math.log(arm.mean) - math.log(control.mean), variance


_FORMULAS: dict[str, Any] = {
    "MN": _mean,
    "MD": _mean_difference,
    "SMD": _standardised,
    "ROM": _ratio_of_means,
}
