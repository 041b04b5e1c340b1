"""The common currency of evidence: log-likelihoods of one parameter, whatever their kind.

An `Effect` gives a parabola, `Counts` their exact conditional likelihood, a `LikelihoodProfile` its
curve, and log-likelihoods of disjoint people add up. So outcomes of different kinds pool, as long
as study and measure are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeIs

from qis.errors import IncompatibleEvidenceError, InputError
from qis.outcomes import Counts, Effect, LikelihoodProfile
from qis.outcomes._conditional import Rates, Tables
from qis.outcomes._curves import Curves
from qis.outcomes.counts import exact_of
from qis.outcomes.profile import curves_of
from qis.synthesis._sites import check_sites

Floats = NDArray[np.float64]
_CELLS: Final = 1 << 20
"""Most numbers computed at once; bounds the memory to 8 MiB an array."""

Poolable = Effect | LikelihoodProfile | Counts


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
        raise InputError("there is no outcome to pool", field="outcomes", actual=0, limit=1)
    study_ids: set[bytes] = set()
    measures: set[str] = set()
    for outcome in outcomes:
        if not is_poolable(outcome):
            raise InputError(
                f"this {type(outcome).__name__} has no log-likelihood of one effect; pool Effects, "
                "LikelihoodProfiles and Counts of two arms",
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
    """True if the outcome has a log-likelihood of one effect; counts of a single arm have none."""
    if isinstance(outcome, Counts):
        return outcome.measure is not None
    return isinstance(outcome, Effect | LikelihoodProfile)


def measure_of(outcome: Poolable) -> str:
    """Name of the measure under which the outcome is pooled, such as "OR"."""
    return outcome.measure or ""


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
        One row for each outcome of counts, in such an order; `None`: none.
    precision, centre
        Those of the parabola ``-precision * (theta - centre)**2 / 2``; with precision 0 there is
        none.

    """

    curves: Curves | None = None
    exact: Tables | Rates | None = None
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
        return cls(
            curves=curves_of(profiles) if profiles else None,
            exact=exact_of(counts) if counts else None,
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
    def rows(self) -> tuple[Curves | Tables | Rates, ...]:
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


def exact_rows(parts: Sequence[Tables | Rates]) -> Tables | Rates | None:
    """All rows of one measure in one, in the given order; `None` if there are none."""
    tables = [part for part in parts if isinstance(part, Tables)]
    rates = [part for part in parts if isinstance(part, Rates)]
    if tables:
        return Tables.stacked(tables)
    return Rates.stacked(rates) if rates else None


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


def _summed(rows: Curves | Tables | Rates, theta: Floats) -> list[Floats]:
    """Values and derivatives, summed over all rows."""
    # Blocks bound the memory; each column is summed row by row, alike in every block.
    width = max(_CELLS // len(rows), 1)
    sums: list[list[Floats]] = [[], [], []]
    for start in range(0, max(theta.size, 1), width):
        for blocks, found in zip(sums, rows.evaluate(theta[start : start + width]), strict=True):
            blocks.append(np.add.accumulate(found, axis=0)[-1])
    return [np.concatenate(blocks) for blocks in sums]
