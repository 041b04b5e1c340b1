"""An estimate with its standard error: enough for all but small sites."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist
from typing import Any, ClassVar, Self

from qis._gate import checked
from qis._given import instance
from qis.errors import InputError
from qis.outcomes._base import (
    KEY_COHORT,
    KEY_MEASURE,
    KEY_MODERATORS,
    KEY_N,
    KEY_QUESTION,
    KEY_REALS,
    KEY_STUDY,
    MAX_COUNT,
    Body,
    Outcome,
    begun,
    check_real,
    set_counts,
)
from qis.outcomes._frame import Missing, read_table
from qis.outcomes._printed import middle_and_half
from qis.outcomes.measures import MEASURES, MEASURES_BY_CODE, measure_named
from qis.outcomes.study import Study

_REALS = struct.Struct("<2d")
_NO_MAXIMUM = 20.0
"""A fitted standard error of a log ratio beyond this says nothing: e**20 either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect(Outcome):
    """An estimate of an effect measure and its standard error.

    Parameters
    ----------
    measure
        A name from `qis.outcomes.MEASURES`.
    estimate
        On the natural log scale for ratio measures, else in the measure's units.
    standard_error
        Standard error of `estimate`, on the same scale; positive and finite.
    n
        Number of people, if known.

    Raises
    ------
    InputError
        If a number is not finite or outside the measure's bounds.

    Examples
    --------
    >>> import qis
    >>> effect = qis.Effect.from_ratio(
    ...     question="a vs b | death", measure="OR", ratio=0.5, lower=0.25, upper=1.0, n=200
    ... )
    >>> round(effect.estimate, 3), round(effect.standard_error, 3)
    (-0.693, 0.354)

    """

    takes_moderators: ClassVar[bool] = True
    kind: ClassVar[int] = 1

    measure: str
    estimate: float
    standard_error: float
    n: int | None = None

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        measure = measure_named(self.measure)
        estimate = check_real(self.estimate, "estimate", *measure.bounds)
        if estimate is not self.estimate:
            object.__setattr__(self, "estimate", estimate)
        error = check_real(self.standard_error, "standard_error", *measure.errors)
        if error is not self.standard_error:
            object.__setattr__(self, "standard_error", error)
        if self.n is not None:
            set_counts(self, ("n",), 1)

    @classmethod
    def from_ratio(
        cls,
        *,
        ratio: float,
        lower: float,
        upper: float,
        measure: str | None = None,
        level: float = 0.95,
        rounding: float | None = None,
        n: int | None = None,
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Build it from a published ratio and its confidence interval.

        Parameters
        ----------
        ratio, lower, upper
            On the ratio scale, as printed, ``0 < lower <= ratio <= upper``. The standard error is
            the width of the interval on the log scale, divided by twice the normal quantile. Of
            the effects that print as these three numbers the one nearest to the printed ratio
            is taken.
        measure
            A ratio measure. Default: the study's.
        level
            Coverage of the interval, in (0, 1).
        rounding
            The unit to which the three numbers are rounded. Default: the last decimal of each
            (0.01 of 0.73; of ``Decimal("0.70")`` too). A larger one admits intervals that are not
            centred on the log scale, such as likelihood intervals.
        n
            Number of people, if known.
        study, question
            What the outcome belongs to: a `Study`, or a question only.
        cohort
            Which of the site's disjoint groups of people this is.

        Raises
        ------
        InputError
            If the measure is no ratio or not given, the numbers are not in that order, or the
            ratio is off the middle of its interval on the log scale by more than rounding explains.

        Examples
        --------
        >>> effect = Effect.from_ratio(
        ...     question="a vs b | c", measure="OR", ratio=0.73, lower=0.58, upper=0.93
        ... )
        >>> round(effect.estimate, 4), round(effect.standard_error, 4)
        (-0.3147, 0.1208)

        """
        if measure is None:
            measure = None if study is None else instance(study, "study", Study).measure
            if measure is None:
                raise InputError(
                    'measure is None: give it, such as measure="OR", or a study that declares it',
                    field="measure",
                )
        if not measure_named(measure).is_ratio:
            raise InputError(
                f"{measure} is no ratio; build the Effect from estimate and standard_error",
                field="measure",
            )
        estimate, half = middle_and_half(ratio, lower, upper, rounding)
        level = check_real(level, "level")
        if not 0.0 < level < 1.0:
            raise InputError(f"level is {level!r}; it must lie in (0, 1)", field="level")
        quantile = NormalDist().inv_cdf(0.5 + level / 2.0)
        return cls(
            study=study,
            question=question,
            cohort=cohort,
            measure=measure,
            estimate=estimate,
            standard_error=half / quantile,
            n=n,
        )

    @classmethod
    def from_columns(
        cls,
        frame: Any,
        *,
        site: str,
        measure: str | None = None,
        estimate: str | None = None,
        standard_error: str | None = None,
        ratio: str | None = None,
        lower: str | None = None,
        upper: str | None = None,
        level: float = 0.95,
        rounding: float | None = None,
        n: str | None = None,
        missing: Missing = "refuse",
        study: Study | None = None,
        question: str = "",
    ) -> dict[str, Self]:
        """Build one for each row of a table of published results.

        Parameters
        ----------
        frame
            A data frame of pandas, polars or pyarrow (extra `[frames]`), or ``{column: values}``.
        site
            Column that names the site or trial of each row; each name once.
        measure
            A name from `qis.outcomes.MEASURES`, the same for all rows. Default: the study's.
        estimate, standard_error
            Columns, on the natural log scale for ratio measures.
        ratio, lower, upper
            Instead of these: columns with the ratio and its interval, of coverage `level`, and
            rounded to `rounding` (see `from_ratio`).
        n
            Column with the numbers of people, if known.
        missing
            "refuse" rows that lack a value in a column that is used, or "drop" them.
        study, question
            What the outcomes belong to: a `Study`, or a question only.

        Returns
        -------
        dict
            The effects by site, in the order of the rows.

        Raises
        ------
        InputError
            If a column is not there, values are missing or no numbers, a name comes twice, or a
            row gives no valid effect; the message names the row.

        Examples
        --------
        >>> table = {"trial": ["A", "B"], "or": [0.5, 0.8], "lo": [0.25, 0.4], "hi": [1.0, 1.6]}
        >>> effects = Effect.from_columns(
        ...     table, site="trial", measure="OR", ratio="or", lower="lo", upper="hi", question="q"
        ... )
        >>> round(effects["A"].standard_error, 3)
        0.354

        """
        plain = {"estimate": estimate, "standard_error": standard_error}
        published = {"ratio": ratio, "lower": lower, "upper": upper}
        chosen = plain if ratio is None else published
        others = published if ratio is None else plain
        is_given = [[each is not None for each in way.values()] for way in (chosen, others)]
        if not all(is_given[0]) or any(is_given[1]):
            raise InputError(
                "give the columns estimate= and standard_error=, or ratio=, lower= and upper=",
                field="estimate",
            )
        level = check_real(level, "level", 1e-9, 1.0 - 1e-9)
        used = {"site": site, **chosen, "n": n}
        table = read_table(frame, used, missing=missing, patient=None, needed=("site",))
        columns = {field: table.numbers(str(name), field) for field, name in chosen.items()}
        people = [None] * len(table.rows) if n is None else table.whole_numbers(n, "n", 1)
        if measure is None:
            measure = None if study is None else instance(study, "study", Study).measure
        if rounding is not None:
            rounding = check_real(rounding, "rounding", 0.0)
        build: Any = cls
        if ratio is not None:
            build = partial(cls.from_ratio, level=level, rounding=rounding)
        effects: dict[str, Self] = {}
        for i, (row, name) in enumerate(zip(table.rows, table.columns[site], strict=True)):
            if str(name) in effects:
                raise InputError(f"row {row} names {name!r:.60} a second time", field="site")
            try:
                numbers: dict[str, Any] = {field: values[i] for field, values in columns.items()}
                effect = build(
                    measure=measure, n=people[i], study=study, question=question, **numbers
                )
            except InputError as error:
                raise InputError(
                    f"row {row} ({name!s:.60}): {error}",
                    field=error.field,
                    actual=error.actual,
                    limit=error.limit,
                ) from error
            effects[str(name)] = replace(effect, study=None, provenance=table.dropped)
        return effects

    @classmethod
    def from_fitted(
        cls,
        result: Any,
        *,
        term: str,
        measure: str | None = None,
        n: int | None = None,
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Take one coefficient, with its standard error, from a fitted model.

        Parameters
        ----------
        result
            Of lifelines, a fitted ``CoxPHFitter`` or ``CoxTimeVaryingFitter``; of statsmodels, the
            result of a logistic, Poisson, negative binomial, proportional hazards or linear model,
            of a GLM or of GEE.
        term
            Name of the coefficient, as the result lists it. Its sign is that of the fit: look at
            which level of the covariate is the reference.
        measure
            A name from `qis.outcomes.MEASURES`. Needed only where the model leaves several open: a
            linear model ("MD", "RD", "ROM", "IRD"), or one for counts ("IRR", or "RR" of a yes/no
            outcome).
        n
            Number of people. Default: the number of rows, where those are people for sure.
        study, question
            What the outcome belongs to: a `Study`, or a question only.
        cohort
            Which of the site's disjoint groups of people this is.

        Returns
        -------
        Effect
            Its `provenance` names library, model, term and kind of standard error.

        Raises
        ------
        InputError
            If it is no such result, was penalised, has no standard errors (scikit-learn: use
            `QuadraticLikelihood.from_logistic`) or did not converge, if the term or measure does
            not fit it, or if the estimate is where a fit ends that has no finite maximum.

        Examples
        --------
        >>> import qis
        >>> from statsmodels.api import Logit
        >>> died, drug = [0, 1, 0, 1, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1, 1, 0]
        >>> fit = Logit(died, [[1, each] for each in drug]).fit(disp=0)
        >>> effect = qis.Effect.from_fitted(fit, term="x1", question="drug vs none | death")
        >>> effect.measure, effect.n, round(effect.estimate, 2)
        ('OR', 8, 2.2)

        """
        from qis.outcomes._fitted import read_fitted  # noqa: PLC0415  seldom needed

        fitted = read_fitted(result, term)
        declared = study.measure if isinstance(study, Study) and measure is None else measure
        if declared is None:
            if len(fitted.measures) > 1:
                raise InputError(
                    f"measure: the coefficient may be {' or '.join(fitted.measures)}; say which",
                    field="measure",
                    limit=fitted.measures,
                )
            declared = fitted.measures[0]
        if measure_named(declared).name not in fitted.measures:
            raise InputError(
                f"measure is {declared!r}; a coefficient of {fitted.source} is "
                f"{' or '.join(fitted.measures)}",
                field="measure",
                actual=declared,
                limit=fitted.measures,
            )
        if measure_named(declared).is_ratio and fitted.standard_error > _NO_MAXIMUM:
            raise InputError(
                f"result: the estimate {fitted.estimate:.3g} has the standard error "
                f"{fitted.standard_error:.3g} on the log scale, as where no finite value is the "
                "most likely one (no events in an arm, say): send the whole likelihood, with "
                "Counts or a LikelihoodProfile; or the covariate needs a larger unit",
                field="result",
                actual=fitted.standard_error,
                limit=_NO_MAXIMUM,
            )
        return cls(
            study=study,
            question=question,
            cohort=cohort,
            measure=declared,
            estimate=fitted.estimate,
            standard_error=fitted.standard_error,
            n=fitted.n if n is None else n,
            provenance=fitted.source,
        )

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        body[KEY_MEASURE] = MEASURES[self.measure].code
        if self.n is not None:
            body[KEY_N] = self.n
        body[KEY_REALS] = _REALS.pack(self.estimate, self.standard_error)
        if self.moderators:
            body[KEY_MODERATORS] = self.moderators
        return body

    @classmethod
    @checked
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        estimate, standard_error = _REALS.unpack(body[KEY_REALS])
        measure = MEASURES_BY_CODE[body[KEY_MEASURE]]
        n = body.get(KEY_N)
        low, high = measure.bounds
        least, most = measure.errors
        # Most packets are effects. See `begun`: it pays to set the slots here.
        if (
            low <= estimate <= high
            and least <= standard_error <= most
            and (n is None or (type(n) is int and 1 <= n <= MAX_COUNT))
            and (effect := begun(cls, body)) is not None
        ):
            _set_measure(effect, measure.name)
            _set_estimate(effect, estimate or 0.0)  # also for -0.0, as the constructor does
            _set_standard_error(effect, standard_error)
            _set_n(effect, n)
            return effect
        return cls(
            study_id=body[KEY_STUDY],
            question=body[KEY_QUESTION],
            cohort=body.get(KEY_COHORT, ""),
            moderators=body.get(KEY_MODERATORS, b""),
            measure=measure.name,
            estimate=estimate,
            standard_error=standard_error,
            n=n,
        )


_set_measure, _set_estimate, _set_standard_error, _set_n = (
    getattr(Effect, name).__set__ for name in ("measure", "estimate", "standard_error", "n")
)
