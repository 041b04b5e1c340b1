"""Expectation propagation: what all sites say together, at many points of a grid at once.

Each likelihood is replaced by a normal one that has the moments which the exact one has beside what
all other sites say (Minka 2001). A site without an event is met where its likelihood is, not where
the pooled effect is, which is what Laplace's method gets wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from qis.here.tables import SiteLikelihoods
from qis.here.tilted import Tilted, tilted

Floats = NDArray[np.float64]

_MOST: Final = 40
"""Most rounds; two to five are usual."""
_CLOSE: Final = 1e-3
"""A round that moves no mean by more than this, in standard deviations, is the last."""
_SHRINKING: Final = 0.6
"""A round should move less than this part of what the one before moved."""
_LEAST: Final = 1e-8
"""A site that would only widen what the others say is taken to say nothing: its precision in the
normal replacement must be positive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagated:
    """What the sites say at each of g grid points; shape (g, k) unless said otherwise.

    Parameters
    ----------
    log_evidence
        Shape (g,): logarithm of the probability of all data, up to a constant of the data.
    precisions, shifts
        Of the normal likelihoods that replace the exact ones: ``shift * x - precision * x² / 2``.
    means, variances
        What all *other* sites say of the shared part of each site's effect.
    own
        Each site's exact likelihood on that.
    is_settled
        Shape (g,): false where the rounds ended before they settled.

    """

    log_evidence: Floats
    precisions: Floats
    shifts: Floats
    means: Floats
    variances: Floats
    own: Tilted
    is_settled: NDArray[np.bool_]

    def of(self, points: NDArray[np.intp]) -> "Propagated":
        """The same at some of the points."""
        return Propagated(
            log_evidence=self.log_evidence[points],
            precisions=self.precisions[points],
            shifts=self.shifts[points],
            means=self.means[points],
            variances=self.variances[points],
            own=self.own.of(points),
            is_settled=self.is_settled[points],
        )

    @classmethod
    def joined(cls, parts: Sequence["Propagated"]) -> "Propagated":
        """What was found at some points and at others, as one."""
        return cls(
            log_evidence=np.concatenate([part.log_evidence for part in parts]),
            precisions=np.concatenate([part.precisions for part in parts]),
            shifts=np.concatenate([part.shifts for part in parts]),
            means=np.concatenate([part.means for part in parts]),
            variances=np.concatenate([part.variances for part in parts]),
            own=Tilted.joined([part.own for part in parts]),
            is_settled=np.concatenate([part.is_settled for part in parts]),
        )


def propagate(
    tables: SiteLikelihoods,
    covariance: Floats,
    extra: Sequence[Floats],
    weights: Sequence[float],
    start: tuple[Floats, Floats] | None = None,
    *,
    centres: Floats | None = None,
) -> Propagated:
    """What the sites say at each grid point.

    Parameters
    ----------
    tables
        The log-likelihoods of k sites.
    covariance
        Prior covariance of the shared part of the sites' effects, shape (g, k, k).
    extra, weights
        Variances of the sites' own deviations, shape (g, k) each, and how probable each is.
    start
        Precisions and shifts to start from, shape (g, k).
    centres
        Prior means, shape (g, 1); default: 0.

    """
    if centres is None:
        centres = np.zeros((len(covariance), 1))
    if start is None:
        spread = tables.variances + extra[0]
        start = 1.0 / spread, tables.middles / spread
    state = _State.begun(*start)
    active = np.arange(len(covariance))
    done: list[tuple[NDArray[np.intp], _State, Tilted]] = []
    for number in range(_MOST):
        # Points that have settled are left alone: most do in three rounds, a few take ten.
        part = covariance if active.size == len(covariance) else covariance[active]
        some = [added[active] for added in extra]
        is_still = state.look(part, centres[active])
        own = tilted(
            tables,
            state.means,
            state.variances,
            extra=some,
            weights=weights,
            start=state.guess,
        )
        state.guess = own.own_means, own.own_variances
        ends = is_still if number < _MOST - 1 else np.ones_like(is_still)
        if ends.any():
            done.append((active[ends], state.of(ends), own.of(ends)))
            active, state, own = active[~ends], state.of(~ends), own.of(~ends)
            if not active.size:
                break
        state.step(own)
    return _gathered(covariance, centres, done)


@dataclass(slots=True, kw_only=True)
class _State:
    """The rounds' state at some grid points."""

    precisions: Floats
    shifts: Floats
    part: Floats
    """How much of each step is made, shape (g, 1)."""
    moved: Floats
    """By how much the means moved in the last round, in standard deviations, shape (g,)."""
    last: Floats
    """The means of the last round."""
    means: Floats
    variances: Floats
    guess: tuple[Floats, Floats] | None = None

    @classmethod
    def begun(cls, precisions: Floats, shifts: Floats) -> Self:
        """Before the first round."""
        count = len(precisions)
        return cls(
            precisions=precisions,
            shifts=shifts,
            part=np.ones((count, 1)),
            moved=np.full(count, np.inf),
            last=np.full(precisions.shape, np.nan),
            means=precisions,
            variances=precisions,
        )

    def of(self, chosen: NDArray[np.bool_]) -> "_State":
        """The same at some of the points."""
        guess = self.guess
        if guess is not None:
            guess = guess[0][:, chosen], guess[1][:, chosen]
        return _State(
            precisions=self.precisions[chosen],
            shifts=self.shifts[chosen],
            part=self.part[chosen],
            moved=self.moved[chosen],
            last=self.last[chosen],
            means=self.means[chosen],
            variances=self.variances[chosen],
            guess=guess,
        )

    def look(self, covariance: Floats, centres: Floats) -> NDArray[np.bool_]:
        """Compute what the others say of each site; true where that has settled."""
        mean, variance = _marginals(covariance, centres, self.precisions, self.shifts)
        moved = (np.abs(mean - self.last) / np.sqrt(variance)).max(axis=1)
        # A point whose steps do not shrink overshoots: it makes shorter ones.
        shrinks = ~(moved > _SHRINKING * self.moved)
        self.part = np.where(
            shrinks, np.minimum(self.part[:, 0] * 1.2, 1.0), self.part[:, 0] * 0.6
        )[:, np.newaxis]
        self.moved, self.last = np.where(np.isnan(moved), np.inf, moved), mean
        self.variances = 1.0 / np.maximum(1.0 / variance - self.precisions, _LEAST)
        self.means = self.variances * (mean / variance - self.shifts)
        return np.asarray(self.moved < _CLOSE * self.part[:, 0])

    def step(self, own: Tilted) -> None:
        """Replace each likelihood by the normal one that has its moments there."""
        precision = 1.0 / self.variances
        wanted = np.maximum(1.0 / own.variance - precision, _LEAST)
        shifted = own.mean * (wanted + precision) - self.means * precision
        self.precisions = self.precisions + self.part * (wanted - self.precisions)
        self.shifts = self.shifts + self.part * (shifted - self.shifts)


def _gathered(
    covariance: Floats,
    centres: Floats,
    done: list[tuple[NDArray[np.intp], "_State", Tilted]],
) -> Propagated:
    """What settled at different times, in the order of the points."""
    order = np.argsort(np.concatenate([points for points, _, _ in done]))
    states = [state for _, state, _ in done]

    def sorted_of(parts: list[Floats]) -> Floats:
        return np.concatenate(parts)[order]

    precisions = sorted_of([state.precisions for state in states])
    shifts = sorted_of([state.shifts for state in states])
    means = sorted_of([state.means for state in states])
    variances = sorted_of([state.variances for state in states])
    own = Tilted.joined([own for _, _, own in done]).of(order)
    return Propagated(
        log_evidence=_evidence(
            covariance, centres, (precisions, shifts), (means, variances), own.log_mass
        ),
        precisions=precisions,
        shifts=shifts,
        means=means,
        variances=variances,
        own=own,
        is_settled=np.asarray(sorted_of([state.moved for state in states]) < _CLOSE),
    )


def _scaled(covariance: Floats, precisions: Floats) -> tuple[Floats, Floats]:
    """``S C`` and ``I + S C S``, S being the roots of the precisions on a diagonal."""
    roots = np.sqrt(precisions)
    turned = roots[:, :, np.newaxis] * covariance
    whole = turned * roots[:, np.newaxis, :]
    k = whole.shape[1]
    whole[:, np.arange(k), np.arange(k)] += 1.0
    return turned, whole


def _marginals(
    covariance: Floats, centres: Floats, precisions: Floats, shifts: Floats
) -> tuple[Floats, Floats]:
    """Means and variances of each site's shared part, given the normal likelihoods."""
    shifts = shifts - precisions * centres  # about the prior mean
    turned, whole = _scaled(covariance, precisions)
    inner = np.linalg.inv(whole) @ turned
    prior = np.einsum("gii->gi", covariance)
    variance = prior - np.einsum("gij,gij->gj", turned, inner)
    straight = np.einsum("gij,gj->gi", covariance, shifts)
    mean = straight - np.einsum("gij,gi->gj", turned, np.einsum("gij,gj->gi", inner, shifts))
    return mean + centres, np.maximum(variance, _LEAST * prior)


def posterior_rows(covariance: Floats, precisions: Floats, sites: NDArray[np.intp]) -> Floats:
    """Posterior covariances of s sites' shared parts with all sites', shape (g, s, k)."""
    turned, whole = _scaled(covariance, precisions)
    solved = np.linalg.solve(whole, turned[:, :, sites])
    found: Floats = covariance[:, sites] - np.matmul(solved.transpose(0, 2, 1), turned)
    return found


def mean_of_all(
    covariance: Floats,
    prior: tuple[Floats, Floats],
    replacements: tuple[Floats, Floats],
) -> tuple[Floats, Floats]:
    """Posterior mean and standard deviation of the mean that all sites share, shape (g,) each.

    `prior` has its prior mean and standard deviation; it is part of every site's shared part.
    `replacements` are precisions and shifts.
    """
    (centres, spreads), (precisions, shifts) = prior, replacements
    _, whole = _scaled(covariance, precisions)
    roots = np.sqrt(precisions)
    solved = np.linalg.solve(whole, roots[:, :, np.newaxis])[:, :, 0]
    straight = (shifts - precisions * centres[:, np.newaxis]) / roots
    told, pull = (roots * solved).sum(axis=1), (straight * solved).sum(axis=1)
    left = np.maximum(1.0 - spreads**2 * told, _LEAST)
    return centres + spreads**2 * pull, spreads * np.sqrt(left)


def _evidence(
    covariance: Floats,
    centres: Floats,
    replacements: tuple[Floats, Floats],
    cavities: tuple[Floats, Floats],
    log_mass: Floats,
) -> Floats:
    """Logarithm of the integral of all, from the normal replacements and what they leave out.

    Rasmussen & Williams 2006, equation 3.65, in sums that stay finite where a precision is zero.
    """
    (precisions, shifts), (means, variances) = replacements, cavities
    _, whole = _scaled(covariance, precisions)
    half_log_det = np.log(np.einsum("gii->gi", np.linalg.cholesky(whole))).sum(axis=1)
    mean, _ = _marginals(covariance, centres, precisions, shifts)
    straight = shifts - precisions * centres
    joint = 0.5 * (straight * (mean - centres)).sum(axis=1) - half_log_det
    joint += (centres * (shifts - 0.5 * precisions * centres)).sum(axis=1)
    # Integral of each replacement on what the others say.
    both = 1.0 / variances + precisions
    pull = means / variances + shifts
    replaced = 0.5 * (pull * pull / both - means * means / variances)
    replaced -= 0.5 * np.log1p(precisions * variances)
    return np.asarray(joint + (log_mass - replaced).sum(axis=1))
