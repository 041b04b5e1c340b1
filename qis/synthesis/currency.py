"""The common currency of evidence: log-likelihoods of one parameter, whatever their kind.

An `Effect` gives a parabola, a `LikelihoodProfile` its curve, and log-likelihoods of disjoint
people add up. So outcomes of different kinds pool, as long as study and measure are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, inf
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeIs

from qis.errors import IncompatibleEvidenceError, InputError
from qis.outcomes import Counts, Effect, LikelihoodProfile
from qis.outcomes._curves import Curves
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
    return isinstance(outcome, Effect) or _profile_of(outcome).is_informative


def _profile_of(outcome: Counts | LikelihoodProfile) -> LikelihoodProfile:
    return outcome if isinstance(outcome, LikelihoodProfile) else _profile_of_counts(outcome)


@lru_cache(maxsize=4096)  # a synthesis is made again with every packet, from the same counts
def _profile_of_counts(counts: Counts) -> LikelihoodProfile:
    return counts.profile()


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """A log-likelihood: a sum of curves and a parabola, as a function of the parameter.

    Parameters
    ----------
    curves
        One row for each profile, in an order that depends on their content only; `None`: none.
    precision, centre
        Those of the parabola ``-precision * (theta - centre)**2 / 2``; with precision 0 there is
        none.

    """

    curves: Curves | None
    precision: float
    centre: float

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
            return cls(curves=None, precision=precision, centre=centre)
        others = [outcome for outcome in outcomes if not isinstance(outcome, Effect)]
        if len(others) > 1:  # the curves are summed one by one, the effects exactly
            others.sort(key=lambda outcome: outcome.encoded())
        informative = [profile for profile in map(_profile_of, others) if profile.is_informative]
        return cls(
            curves=curves_of(informative) if informative else None,
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
        centre = weighted / precision if normal else 0.0
        return cls(
            curves=Curves.stacked(curves) if curves else None, precision=precision, centre=centre
        )

    @property
    def is_level(self) -> bool:
        """True if the log-likelihood is constant, so that it says nothing of the effect."""
        return self.curves is None and self.precision == 0.0

    @property
    def is_parabola(self) -> bool:
        """True if the log-likelihood is that of one normal estimate: a parabola and no curve."""
        return self.curves is None and self.precision > 0.0

    def value(self, theta: Floats) -> Floats:
        """Log-likelihood at `theta` of shape (m,), less a constant."""
        total: Floats = -0.5 * self.precision * (theta - self.centre) ** 2
        return total if self.curves is None else total + _summed(self.curves.value, theta)

    def gradient(self, theta: Floats) -> Floats:
        """Derivative of `value`."""
        total: Floats = -self.precision * (theta - self.centre)
        return total if self.curves is None else total + _summed(self.curves.gradient, theta)

    def bend(self, low: float, high: float) -> float:
        """Slope at `low` less slope at `high`, which is positive where the curve bends down."""
        if self.curves is None:
            return self.precision * (high - self.centre) - self.precision * (low - self.centre)
        slopes = self.gradient(np.array([low, high]))
        return float(slopes[0] - slopes[1])

    @property
    def limits(self) -> tuple[float, float]:
        """Values at minus and plus infinity, often minus infinity."""
        if self.precision > 0.0:
            return -inf, -inf
        if self.curves is None:
            return 0.0, 0.0
        low, high = self.curves.limits
        return float(low.sum()), float(high.sum())

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest of the curves' points and the parabola's centre, or zeros."""
        points = [] if self.precision == 0.0 else [self.centre]
        if self.curves is not None:
            points += [float(self.curves.points.min()), float(self.curves.points.max())]
        return min(points, default=0.0), max(points, default=0.0)

    @property
    def finest(self) -> float:
        """Standard deviation of a normal likelihood as sharp as this one at its sharpest."""
        sharpest = self.precision
        if self.curves is not None:
            bends = -np.diff(self.curves.gradients, axis=1) / np.diff(self.curves.points, axis=1)
            sharpest += float(np.maximum(bends, 0.0).max(axis=1).sum())
        return inf if sharpest <= 0.0 else sharpest**-0.5


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


def _summed(function: Callable[[Floats], Floats], theta: Floats) -> Floats:
    # Blocks bound the memory; each column is summed row by row, alike in every block.
    rows = function(theta[:1]).shape[0]
    width = max(_CELLS // rows, 1)
    blocks = [
        np.add.accumulate(function(theta[start : start + width]), axis=0)[-1]
        for start in range(0, max(theta.size, 1), width)
    ]
    return np.concatenate(blocks)
