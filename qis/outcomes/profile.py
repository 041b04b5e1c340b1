"""A site's whole log-likelihood at nine points, for sites too small for an estimate with its error.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort):

=====  =============  ==========================================================================
key    content        meaning
=====  =============  ==========================================================================
3      uint           code of the measure
4      uint           number of people; absent if not known
5      uint           number of events; absent if not known
6      bstr(88 / 92)  22 or 23 little-endian float32: lower end, upper end, limiting slope below,
                      limiting slope above, the maximum (only among 23), 9 values,
                      9 gradients
8      tstr           how the counts behind it were changed to protect people; absent if exact
=====  =============  ==========================================================================

With 23 reals the points are 8 equally spaced ones from end to end and the maximum among them, in
ascending order; with 22, 9 equally spaced ones. Point k of m is ``lower + (upper - lower) * k /
(m - 1)`` in float64. The largest value is 0.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import array
from qis._gate import checked
from qis.errors import InputError
from qis.outcomes._base import (
    KEY_DETAIL,
    KEY_EVENTS,
    KEY_MEASURE,
    KEY_MODERATORS,
    KEY_N,
    KEY_REALS,
    Body,
    Outcome,
    check_real,
    common_fields,
    set_counts,
)
from qis.outcomes._curves import POINTS, Curves
from qis.outcomes._frame import Levels, Missing, open_table, provenance, read_table
from qis.outcomes._frame_notices import refuse_aggregated
from qis.outcomes._sampling import (
    FURTHEST,
    Evaluate,
    Sample,
    no_likelihood,
    points,
    points_of_all,
    pointwise,
    sample,
    well_apart,
)
from qis.outcomes._text import normal_text
from qis.outcomes.cox import PartialLikelihood
from qis.outcomes.measures import MEASURES, MEASURES_BY_CODE, measure_named
from qis.outcomes.study import Study

PROTECTION_SIZE: Final = 24
"""Most bytes of UTF-8 in `LikelihoodProfile.protection`."""
_STEEPER: Final = 64.0
"""Beyond the points a slope changes by at most this times the largest curvature between them. One
that falls for ever faster (a rate's) has no limiting slope; what was measured far out, 1e10, would
be a wall that no quadrature follows."""
_HEAD = 4  # reals before maximum and values: two ends, two limiting slopes
_LARGEST = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodProfile(Outcome):
    """Log-likelihood of a ratio measure at nine points, on the natural log scale.

    Build one with `from_function` or `from_survival`. Between the points the log-likelihood is a
    cubic Hermite curve; at distance d beyond an end with outward slope s and limiting slope t it
    is ``L + t*d + (s - t)*(1 - exp(-d))``.

    Parameters
    ----------
    measure
        A ratio measure from `qis.outcomes.MEASURES`.
    lower, upper
        Ends of the grid, within ±64; exact in float32, like all reals here.
    maximum
        Where the log-likelihood is largest; `None` if it rises for ever towards one side
        (`is_monotone`) or is the same everywhere (not `is_informative`).
    slope_below, slope_above
        Limiting slopes outwards, not positive; 0 on a side towards which it rises.
    values
        Log-likelihoods at the 9 points, relative to the largest, which is 0.
    gradients
        Their derivatives.
    n, events
        Numbers of people and of events, if known.
    protection
        How the counts behind the curve were changed to protect people ("rounded to 5"), in at most
        24 bytes of UTF-8; the curve accounts for it. Empty if they were not changed.

    Raises
    ------
    InputError
        If a number is not finite or out of range, or the curve has no such shape.

    Examples
    --------
    >>> import qis
    >>> profile = qis.LikelihoodProfile.from_survival(
    ...     question="a vs b | death",
    ...     times=[5.0, 8.0, 3.0, 9.0],
    ...     events=[True, False, True, True],
    ...     treated=[True, True, False, False],
    ... )
    >>> profile.measure, profile.n, profile.events
    ('HR', 4, 3)

    """

    takes_moderators: ClassVar[bool] = True
    kind: ClassVar[int] = 4

    measure: str
    lower: float
    upper: float
    maximum: float | None
    slope_below: float
    slope_above: float
    values: tuple[float, ...]
    gradients: tuple[float, ...]
    n: int | None = None
    events: int | None = None
    protection: str = ""

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        if not measure_named(self.measure).is_ratio:
            raise InputError(
                f"a LikelihoodProfile is of a ratio measure, {self.measure} is none; "
                "send an Effect",
                field="measure",
                actual=self.measure,
            )
        for field, low, high in (
            ("lower", -FURTHEST, FURTHEST),
            ("upper", -FURTHEST, FURTHEST),
            ("slope_below", -_LARGEST, 0.0),
            ("slope_above", -_LARGEST, 0.0),
        ):
            object.__setattr__(self, field, _single(getattr(self, field), field, low, high))
        if self.maximum is not None:
            argmax = _single(self.maximum, "maximum", -FURTHEST, FURTHEST)
            object.__setattr__(self, "maximum", argmax)
        for field, high in (("values", 0.0), ("gradients", _LARGEST)):
            rounded = _singles(getattr(self, field), field, -_LARGEST, high)
            object.__setattr__(self, field, rounded)
        set_counts(self, ("n", "events"), optional=True)
        if type(self.protection) is not str or self.protection:
            words = normal_text(self.protection, "protection", PROTECTION_SIZE)
            object.__setattr__(self, "protection", words)
        self._check_shape()

    def _check_shape(self) -> None:
        if not self.upper - self.lower >= 0.1:
            raise InputError(
                f"upper ({self.upper:g}) must exceed lower ({self.lower:g}) by 0.1 or more",
                field="upper",
            )
        falls = -self.gradients[0] <= 0.0, self.gradients[-1] <= 0.0
        if self.maximum is not None:
            if not well_apart(self.lower, self.upper, self.maximum):
                raise InputError(
                    "the maximum is not between lower and upper, or on another point",
                    field="maximum",
                )
            if not all(falls) or self.values[self.points.tolist().index(self.maximum)] != 0.0:
                raise InputError(
                    "on the grid from lower to upper, values and gradients do not peak at the "
                    "maximum",
                    field="maximum",
                )
            return
        # A flat curve passes both tests: it says nothing, and that is a valid outcome.
        up = falls[0] and self.gradients[-1] >= 0.0 and self.slope_above == self.values[-1] == 0.0
        down = falls[1] and self.gradients[0] <= 0.0 and self.slope_below == self.values[0] == 0.0
        if not up and not down:
            raise InputError(
                "without a maximum, values and gradients must rise to one end", field="values"
            )

    @classmethod
    @checked
    def from_function(
        cls,
        *,
        measure: str,
        log_likelihood: Callable[[float], float],
        gradient: Callable[[float], float] | None = None,
        n: int | None = None,
        events: int | None = None,
        protection: str = "",
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Sample any log-likelihood of one log ratio.

        Nuisance parameters have been maximised over (profiled) or conditioned out before.

        Parameters
        ----------
        measure
            A ratio measure; the argument of `log_likelihood` is its natural logarithm.
        log_likelihood
            Finite within ±7.1, better within ±22; any constant may be added. It has one maximum,
            wherever that is, or rises for ever, ever less.
        gradient
            Its derivative; by default central differences.
        n, events
            Numbers of people and of events, if known.
        protection
            How the counts behind the function were changed to protect people, if they were.
        study, question
            What the outcome belongs to: a `Study`, or a question only.
        cohort
            Which of the site's disjoint groups of people this is.

        Raises
        ------
        InputError
            If the function is not finite, has several maxima, or still rises steeply as far out as
            it can be computed.

        Examples
        --------
        >>> import qis
        >>> profile = qis.LikelihoodProfile.from_function(
        ...     question="a vs b", measure="OR", log_likelihood=lambda x: -10.0 * (x - 0.3) ** 2
        ... )
        >>> round(profile.maximum, 3)
        0.3

        """
        return cls._of(
            sample(no_likelihood(pointwise(log_likelihood, gradient))),
            measure=measure,
            n=n,
            events=events,
            protection=protection,
            study=study,
            question=question,
            cohort=cohort,
        )

    @classmethod
    @checked
    def from_survival(
        cls,
        *,
        times: ArrayLike,
        events: ArrayLike,
        treated: ArrayLike,
        strata: ArrayLike | None = None,
        entry: ArrayLike | None = None,
        ties: Literal["efron", "breslow"] = "efron",
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Sample Cox's partial likelihood of the log hazard ratio, treated against control.

        Parameters
        ----------
        times
            Time of event or censoring, shape (n,), any unit, finite and not negative.
        events, treated
            1 or True for an event, and for the treated arm; 0 or False else; shape (n,).
        strata
            Label of each person's stratum, shape (n,); baseline hazards differ between strata.
        entry
            Time from which each person is observed (delayed entry), before `times`, shape (n,).
        ties
            How tied event times are handled: Efron (1977) or Breslow (1974).
        study, question
            What the outcome belongs to: a `Study`, or a question only. A study that fixes `ties`
            must agree.
        cohort
            Which of the site's disjoint groups of people this is.

        Raises
        ------
        InputError
            If shapes differ, values are not finite, someone leaves before entering, or the study
            handles ties otherwise.

        Examples
        --------
        >>> import qis
        >>> profile = qis.LikelihoodProfile.from_survival(
        ...     question="drug vs none | death",
        ...     times=[5, 8, 3, 9, 4, 6],
        ...     events=[1, 0, 1, 1, 1, 0],
        ...     treated=[1, 1, 0, 1, 0, 0],
        ... )
        >>> profile.measure, profile.n, profile.events, round(profile.maximum, 2)
        ('HR', 6, 4, -1.23)

        """
        if study is not None and study.ties and study.ties != ties:
            raise InputError(
                f"the study handles ties by {study.ties}, not {ties}",
                field="ties",
                actual=ties,
                limit=study.ties,
            )
        cox = PartialLikelihood.from_times(
            times=times, events=events, treated=treated, strata=strata, entry=entry, ties=ties
        )
        return cls.from_evaluation(
            lambda b: (cox.value(b), cox.gradient(b)),
            cox.limiting_slopes,
            measure="HR",
            n=cox.n,
            events=cox.events,
            study=study,
            question=question,
            cohort=cohort,
        )

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        time: str,
        event: Levels,
        treated: Levels,
        strata: str | None = None,
        entry: str | None = None,
        ties: Literal["efron", "breslow"] = "efron",
        patient: str | None = None,
        missing: Missing = "refuse",
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Read a table with one row a patient, and do as `from_survival`.

        Parameters
        ----------
        frame
            A data frame of pandas, polars or pyarrow (extra `[frames]`), or ``{column: values}``.
        time
            Column with the time from each patient's start to event or censoring, in any unit.
        event
            ``(column, level of an event, level of censoring)``.
        treated
            ``(column, treated arm, control arm)``. Other levels are refused.
        strata, entry
            Columns with each patient's stratum and time of entry, if there are.
        ties
            How tied event times are handled: Efron (1977) or Breslow (1974).
        patient
            Column with the patients' ids; an id in two rows is refused. Without it, a column
            that looks like one and repeats is a `UserWarning`, and so are times that look like
            dates.
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
            If a column is not there, values are missing, levels are unknown, or times are no
            numbers (decimal commas and dates are named).
        MissingExtraError
            If `frame` is a data frame and narwhals is not installed.

        Examples
        --------
        >>> import qis
        >>> patients = {"days": [5, 8, 9, 12], "died": [1, 1, 0, 1], "arm": ["a", "b", "a", "b"]}
        >>> columns = {"time": "days", "event": ("died", 1, 0), "treated": ("arm", "a", "b")}
        >>> profile = qis.LikelihoodProfile.from_frame(patients, question="a vs b", **columns)
        >>> profile.n, profile.events
        (4, 3)

        """
        used = {"time": time, "event": event, "treated": treated, "strata": strata, "entry": entry}
        table = read_table(
            frame, used, missing=missing, patient=patient, needed=("time", "event", "treated")
        )
        arms = table.flags(treated, "treated")
        levels = [treated[0], event[0]]
        refuse_aggregated(*open_table(frame), levels, "repeat each row as often as {!r} says")
        profile = cls.from_survival(
            times=table.times(time, "time"),
            events=table.flags(event, "event"),
            treated=arms,
            strata=None if strata is None else table.columns[strata],
            entry=None if entry is None else table.numbers(entry, "entry", 0.0),
            ties=ties,
            study=study,
            question=question,
            cohort=cohort,
        )
        said = provenance(treated, arms, f"event: {event[0]} = {event[1]}", table.dropped)
        return replace(profile, study=None, provenance=said)

    @classmethod
    @checked
    def from_likelihood(
        cls,
        value: Callable[[float], float],
        gradient: Callable[[float], float],
        limiting_slopes: tuple[float, float] | None,
        **others: Any,
    ) -> Self:
        """Sample a log-likelihood whose derivative and slopes at both infinities are known.

        If `limiting_slopes` is None, those as far out as can be computed are taken. `others` are
        the remaining fields of the class.
        """
        return cls.from_evaluation(pointwise(value, gradient), limiting_slopes, **others)

    @classmethod
    @checked
    def from_evaluation(
        cls, evaluate: Evaluate, limiting_slopes: tuple[float, float] | None, **others: Any
    ) -> Self:
        """Sample a log-likelihood that is evaluated at many points at once.

        `evaluate` takes log ratios of shape (m,) and gives log-likelihoods and derivatives, both of
        that shape; the rest is as for `from_likelihood`.
        """
        return cls._of(sample(evaluate, limiting_slopes), **others)

    @classmethod
    def _of(cls, found: Sample, **others: Any) -> Self:
        return cls(
            lower=found.lower,
            upper=found.upper,
            maximum=found.maximum,
            slope_below=found.slope_below,
            slope_above=found.slope_above,
            values=found.values,
            gradients=found.gradients,
            **others,
        )

    @property
    def points(self) -> NDArray[np.float64]:
        """The 9 points, ascending, float64 of shape (9,)."""
        return points(self.lower, self.upper, self.maximum)

    @property
    def is_informative(self) -> bool:
        """True if the likelihood depends on the parameter at all."""
        return any(self.gradients) or any(self.values)

    @property
    def is_monotone(self) -> bool:
        """True if the likelihood rises for ever towards one side and has no finite maximum."""
        return self.maximum is None and self.is_informative

    def log_likelihood(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Log-likelihoods, relative to the largest value on the grid, in the shape of `theta`.

        Towards the side on which a monotone likelihood rises they exceed 0 by a little.
        """
        where = array(theta, "theta")
        curve: NDArray[np.float64] = curves_of([self]).value(where.ravel())[0]
        return curve.reshape(where.shape)

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        body[KEY_MEASURE] = MEASURES[self.measure].code
        if self.n is not None:
            body[KEY_N] = self.n
        if self.events is not None:
            body[KEY_EVENTS] = self.events
        reals = [self.lower, self.upper, self.slope_below, self.slope_above]
        if self.maximum is not None:
            reals.append(self.maximum)
        reals += [*self.values, *self.gradients]
        body[KEY_REALS] = struct.pack(f"<{len(reals)}f", *reals)
        if self.protection:
            body[KEY_DETAIL] = self.protection
        if self.moderators:
            body[KEY_MODERATORS] = self.moderators
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        packed = body[KEY_REALS]
        peaks = len(packed) == 4 * (_HEAD + 1 + 2 * POINTS)
        head = _HEAD + peaks
        reals = struct.unpack(f"<{head + 2 * POINTS}f", packed)
        return cls(
            **common_fields(body),
            moderators=body.get(KEY_MODERATORS, b""),
            measure=MEASURES_BY_CODE[body[KEY_MEASURE]].name,
            lower=reals[0],
            upper=reals[1],
            slope_below=reals[2],
            slope_above=reals[3],
            maximum=reals[4] if peaks else None,
            values=reals[head : head + POINTS],
            gradients=reals[head + POINTS :],
            n=body.get(KEY_N),
            events=body.get(KEY_EVENTS),
            protection=body.get(KEY_DETAIL, ""),
        )


def curves_of(profiles: list[LikelihoodProfile]) -> Curves:
    """The curves of one or more profiles, one a row in the given order."""
    points = points_of_all([(p.lower, p.upper, p.maximum) for p in profiles])
    gradients = np.array([p.gradients for p in profiles])
    falls = np.abs(gradients[:, 1:] - gradients[:, :-1])
    sharpest = (falls / (points[:, 1:] - points[:, :-1])).max(axis=1)
    steepest = -gradients[:, 0] - _STEEPER * sharpest, gradients[:, -1] - _STEEPER * sharpest
    below = np.maximum([p.slope_below for p in profiles], steepest[0])
    above = np.maximum([p.slope_above for p in profiles], steepest[1])
    return Curves(
        points=points,
        values=np.array([p.values for p in profiles]),
        gradients=gradients,
        # A slope still rising at an end fades all the same: no curve rises for ever in a line.
        below=np.minimum(below, 0.0),
        above=np.minimum(above, 0.0),
    )


def _single(value: object, field: str, low: float, high: float) -> float:
    return float(np.float32(check_real(value, field, low, high))) + 0.0


def _singles(values: object, field: str, low: float, high: float) -> tuple[float, ...]:
    if not isinstance(values, (tuple, list)) or len(values) != POINTS:
        raise InputError(f"{field} must be a tuple of {POINTS} numbers", field=field)
    return tuple(_single(value, field, low, high) for value in values)
