"""The common currency of evidence: log-likelihoods of one parameter, whatever their kind.

An `Effect` gives a parabola, `Counts` their exact conditional likelihood, a `LikelihoodProfile` its
curve, and log-likelihoods of disjoint people add up. So outcomes of different kinds pool, as long
as study and measure are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp, fsum, inf, ldexp
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeIs

from qis.errors import IncompatibleEvidenceError, InputError
from qis.outcomes import Counts, Effect, LikelihoodProfile, Moments
from qis.outcomes._conditional import Rates, Tables
from qis.outcomes._curves import Curves
from qis.outcomes._means import MeanDifferences, Means
from qis.outcomes._poisson import PoissonRates
from qis.outcomes.counts import exact_of
from qis.outcomes.moments import rows_of
from qis.outcomes.profile import curves_of
from qis.synthesis._sites import check_sites

Floats = NDArray[np.float64]
_CELLS: Final = 1 << 20
"""Most numbers computed at once; bounds the memory to 8 MiB an array."""

Poolable = Effect | LikelihoodProfile | Counts | Moments
_KINDS: Final = (Effect, LikelihoodProfile, Counts, Moments)
Exact = Tables | Rates | PoissonRates | Means | MeanDifferences
"""Rows that give a log-likelihood at any value, as opposed to one sampled at some points."""


def check_poolable(outcomes: Sequence[object]) -> tuple[bytes, str]:
    """Study id and measure that all outcomes share.

    Raises
    ------
    InputError
        If there is no outcome, or one is of a kind that has no log-likelihood of one parameter.
    IncompatibleEvidenceError
        If studies or measures differ.

    """
    if not outcomes:
        raise InputError(
            "there is no outcome to pool: the list of outcomes or profiles is empty",
            field="outcomes",
            actual=0,
            limit=1,
        )
    study_ids: set[bytes] = set()
    measures: set[str] = set()
    for outcome in outcomes:
        if not is_poolable(outcome):
            raise InputError(
                f"this {type(outcome).__name__} has no log-likelihood of one effect; pool Effects, "
                "LikelihoodProfiles, Counts and Moments",
                field="outcomes",
                actual=type(outcome).__name__,
            )
        study_ids.add(outcome.study_id)
        measures.add(measure_of(outcome))
    for field, several in (("study_id", len(study_ids) > 1), ("measure", len(measures) > 1)):
        if several:
            raise IncompatibleEvidenceError(
                f"the outcomes differ in {field}; only those of one study and measure are pooled",
                field=field,
                actual=tuple(sorted(study_ids if field == "study_id" else measures)),
            )
    return study_ids.pop(), measures.pop()


def is_poolable(outcome: object) -> TypeIs[Poolable]:
    """True if the outcome is of a kind that has a log-likelihood of one effect."""
    return isinstance(outcome, _KINDS)


def measure_of(outcome: Poolable) -> str:
    """Name of the measure under which the outcome is pooled, such as "OR"."""
    return outcome.measure


def events_of(outcome: Poolable) -> int | None:
    """Number of events in all arms; `None` if not known."""
    if isinstance(outcome, Counts):
        return outcome.all_events
    return outcome.events if isinstance(outcome, LikelihoodProfile) else None


def is_informative(outcome: Poolable) -> bool:
    """True if the likelihood depends on the effect at all."""
    return isinstance(outcome, Effect) or outcome.is_informative


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """A log-likelihood: a sum of rows and a parabola, as a function of the parameter.

    Parameters
    ----------
    curves
        One row for each profile, in an order that depends on their content only; `None`: none.
    exact
        One row for each outcome of counts or moments, in such an order; `None`: none.
    precision, centre
        Those of the parabola ``-precision * (theta - centre)**2 / 2``; with precision 0 there is
        none.

    """

    curves: Curves | None = None
    exact: Exact | None = None
    precision: float = 0.0
    centre: float = 0.0

    @classmethod
    def of(cls, outcomes: Sequence[Poolable]) -> Self:
        """The sum of the outcomes' log-likelihoods. Their order changes no bit.

        Raises
        ------
        InputError
            If estimates or standard errors are too far apart for float64.

        """
        effects = [outcome for outcome in outcomes if isinstance(outcome, Effect)]
        precision, centre = _parabola(effects)
        if len(effects) == len(outcomes):
            return cls(precision=precision, centre=centre)
        others = [
            outcome
            for outcome in outcomes
            if not isinstance(outcome, Effect) and outcome.is_informative
        ]
        if len(others) > 1:  # the rows are summed one by one, the effects exactly
            others.sort(key=lambda outcome: outcome.encoded())
        profiles = [outcome for outcome in others if isinstance(outcome, LikelihoodProfile)]
        counts = [outcome for outcome in others if isinstance(outcome, Counts)]
        moments = [outcome for outcome in others if isinstance(outcome, Moments)]
        exact = exact_of(counts) if counts else rows_of(moments) if moments else None
        return cls(
            curves=curves_of(profiles) if profiles else None,
            exact=exact,
            precision=precision,
            centre=centre,
        )

    @classmethod
    def sum(cls, parts: Sequence["Likelihood"]) -> Self:
        """The sum of log-likelihoods of disjoint people, in the order given."""
        curves = [part.curves for part in parts if part.curves is not None]
        normal = [part for part in parts if part.precision > 0.0]
        precision = fsum(part.precision for part in normal)
        weighted = fsum(part.precision * part.centre for part in normal)
        return cls(
            curves=Curves.stacked(curves) if curves else None,
            exact=exact_rows([part.exact for part in parts if part.exact is not None]),
            precision=precision,
            centre=weighted / precision if normal else 0.0,
        )

    @property
    def rows(self) -> tuple[Curves | Exact, ...]:
        """The terms that are not the parabola, each of one row or more."""
        return tuple(rows for rows in (self.curves, self.exact) if rows is not None)

    @property
    def is_level(self) -> bool:
        """True if the log-likelihood is constant, so that it says nothing of the effect."""
        return not self.rows and self.precision == 0.0

    @property
    def is_parabola(self) -> bool:
        """True if the log-likelihood is that of one normal estimate: a parabola and no more."""
        return not self.rows and self.precision > 0.0

    def evaluate(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Log-likelihood less a constant, first and second derivative, each of shape (m,)."""
        apart = theta - self.centre
        values = -0.5 * self.precision * apart**2
        slopes = -self.precision * apart
        bends = np.full(theta.shape, -self.precision)
        for rows in self.rows:
            added = _summed(rows, theta)
            values += added[0]
            slopes += added[1]
            bends += added[2]
        return values, slopes, bends

    def value(self, theta: Floats) -> Floats:
        """Log-likelihood at `theta` of shape (m,), less a constant."""
        return self.evaluate(theta)[0]

    def bend(self, low: float, high: float) -> float:
        """Slope at `low` less slope at `high`, which is positive where the curve bends down."""
        if not self.rows:
            return self.precision * (high - self.centre) - self.precision * (low - self.centre)
        _, slopes, _ = self.evaluate(np.array([low, high]))
        return float(slopes[0] - slopes[1])

    @property
    def is_concave(self) -> bool:
        """True if it surely has one maximum at most; sampled curves and means may have several."""
        return self.curves is None and (self.exact is None or self.exact.is_concave)

    @property
    def frame(self) -> tuple[float, float]:
        """Origin and unit in which the numbers are neither large nor small: (0, 1) without units.

        Where the measure has units, the largest value of the sharpest row and its standard error,
        the latter as a power of two, so that dividing by it rounds nothing.
        """
        if not has_tails(self.exact):
            return 0.0, 1.0
        sharpest = self.exact.sharpest
        row = int(sharpest.argmax())
        precision, origin = float(sharpest[row]), float(self.exact.centre[row])
        if self.precision > precision:
            precision, origin = self.precision, self.centre
        return origin, ldexp(1.0, frexp(precision**-0.5)[1] - 1)

    def moved(self, origin: float, unit: float) -> "Likelihood":
        """The same as a function of ``(theta - origin) / unit``."""
        if (origin, unit) == (0.0, 1.0):
            return self
        return Likelihood(
            exact=self.exact.moved(origin, unit) if has_tails(self.exact) else None,
            precision=self.precision * unit * unit,
            centre=(self.centre - origin) / unit,
        )

    @property
    def limits(self) -> tuple[float, float]:
        """Values at minus and plus infinity, often minus infinity."""
        if self.precision > 0.0:
            return -inf, -inf
        limits = [rows.limits for rows in self.rows]
        return (
            sum((float(low.sum()) for low, _ in limits), 0.0),
            sum((float(high.sum()) for _, high in limits), 0.0),
        )

    @property
    def span(self) -> tuple[float, float]:
        """Least and greatest value between which the rows bend, and the parabola's centre."""
        spans = [rows.span for rows in self.rows]
        centre = [] if self.precision == 0.0 else [self.centre]
        return (
            min((*centre, *(float(low.min()) for low, _ in spans)), default=0.0),
            max((*centre, *(float(high.max()) for _, high in spans)), default=0.0),
        )

    @property
    def finest(self) -> float:
        """Standard deviation of a normal likelihood as sharp as this one at its sharpest."""
        sharpest = self.precision + sum(float(rows.sharpest.sum()) for rows in self.rows)
        return inf if sharpest <= 0.0 else sharpest**-0.5


def has_tails(rows: Exact | None) -> TypeIs[Means | MeanDifferences]:
    """True of likelihoods of means: they have units, and heavy tails on both sides."""
    return isinstance(rows, Means | MeanDifferences)


def exact_rows(parts: Sequence[Exact]) -> Exact | None:
    """All rows of one measure in one, in the given order; `None` if there are none."""
    if not parts:
        return None
    kind: Any = type(parts[0])  # of one measure all are of one type
    joined: Exact = kind.stacked(parts)
    return joined


def _parabola(effects: list[Effect]) -> tuple[float, float]:
    if not effects:
        return 0.0, 0.0
    if len(effects) == 1:
        return effects[0].standard_error ** -2, effects[0].estimate
    # For its errors only: numbers too far apart for float64 are refused.
    check_sites([e.estimate for e in effects], [e.standard_error for e in effects])
    precisions = [effect.standard_error**-2 for effect in effects]
    precision = fsum(precisions)
    products = (p * effect.estimate for p, effect in zip(precisions, effects, strict=True))
    return precision, fsum(products) / precision


def _summed(rows: Curves | Exact, theta: Floats) -> list[Floats]:
    """Values and derivatives, summed over all rows."""
    # Blocks bound the memory; each column is summed row by row, alike in every block.
    width = max(_CELLS // len(rows), 1)
    sums: list[list[Floats]] = [[], [], []]
    for start in range(0, max(theta.size, 1), width):
        for blocks, found in zip(sums, rows.evaluate(theta[start : start + width]), strict=True):
            blocks.append(np.add.accumulate(found, axis=0)[-1])
    return [np.concatenate(blocks) for blocks in sums]
