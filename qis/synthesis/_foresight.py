"""What a posterior of (mu, tau) says of a further site, and how it stands to the prior on tau."""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.synthesis._density import Density

Floats = NDArray[np.float64]

Interval = tuple[float, float]
PRIOR_POINT: Final = 1.6448536269514722
"""The 90 % point of a half-normal prior, in units of its scale."""
_REACH: Final = 8.5
"""Standard deviations about a mean beyond which nothing is left."""
_REACH_OF: Final = 9.0
"""The same of their Fourier transforms."""
_CLOSE: Final = 0.03
"""Of the whole's standard deviation: points this close put limits off by less than 1e-4 of it."""
_LONGEST: Final = 1 << 16
"""Most points of a further site's effect."""
_ELEMENTS: Final = 1 << 17
"""Most of them, of several taus, transformed at once."""


class Foresight(NamedTuple):
    """A further site, and how much of what is said of tau comes from the prior."""

    prediction: Interval
    """Central interval for the true effect of a further site like these."""
    prior_share: float
    """Overlap of tau's prior and posterior densities, 0 to 1 (Garrett & Zeger 2000)."""
    beyond_prior: float
    """Posterior probability that tau exceeds the prior's 90 % point."""


def of_grid(
    means: Floats,
    taus: Floats,
    density: Floats,
    *,
    weights: Floats,
    beyond_prior: float,
    tau_scale: float,
    level: float,
) -> Foresight:
    """From a posterior density of shape (taus, means), the means equally spaced.

    `weights` are those of the integral over tau, shape (taus,), and `beyond_prior` is the
    probability that tau exceeds the prior's 90 % point.
    """
    of_tau = density.sum(axis=1)
    of_tau = of_tau / (of_tau @ weights)
    prior = math.sqrt(2.0 / math.pi) / tau_scale * np.exp(-0.5 * (taus / tau_scale) ** 2)
    further = _further(means, taus, density * weights[:, np.newaxis])
    return Foresight(
        prediction=(further.quantile((1.0 - level) / 2.0), further.quantile((1.0 + level) / 2.0)),
        prior_share=min(float(np.minimum(prior, of_tau) @ weights), 1.0),
        beyond_prior=beyond_prior,
    )


def _sd(means: Floats, taus: Floats, masses: Floats) -> float:
    """Standard deviation of a further site's effect."""
    shares = masses / masses.sum()
    of_mean = shares.sum(axis=0)
    middle = float(of_mean @ means)
    return math.sqrt(float(of_mean @ (means - middle) ** 2 + shares.sum(axis=1) @ (taus * taus)))


def _further(means: Floats, taus: Floats, masses: Floats) -> Density:
    """The density of ``theta ~ N(mu, tau²)``: each tau's density of mu, convolved.

    By Fourier's transform, in which a normal density multiplies, so that tau = 0 needs no case of
    its own.
    """
    step, start = float(means[1] - means[0]), float(means[0])
    widest = _REACH * float(taus[-1])
    sd = _sd(means, taus, masses)
    while (means.size * step + 2.0 * widest) / step > _LONGEST or 2.0 * step <= _CLOSE * sd:
        # Where points of mu are this close beside the whole, pairs of them are as good as one.
        masses = np.pad(masses, ((0, 0), (0, masses.shape[1] % 2)))
        masses = masses[:, ::2] + masses[:, 1::2]
        start, step = start + 0.5 * step, 2.0 * step
        means = means[::2]
    margin = math.ceil(widest / step) + 1
    size = 2 ** math.ceil(math.log2(means.size + 2 * margin))
    frequency = np.fft.rfftfreq(size, step) * 2.0 * math.pi
    turned = np.zeros(frequency.size, dtype=np.complex128)
    at_once = max(_ELEMENTS // size, 1)
    for first in range(0, taus.size, at_once):
        some = slice(first, first + at_once)
        # Of higher frequencies exp(-40) is left.
        faded = np.minimum(taus[some, np.newaxis] * frequency, _REACH_OF)
        spectra = np.fft.rfft(masses[some], size)
        spectra *= np.exp(-0.5 * faded * faded)
        turned += spectra.sum(axis=0)
    # Periodic: what lies below the first mean comes out at the end.
    heights = np.roll(np.fft.irfft(turned, size), margin)[: means.size + 2 * margin]
    return Density(start=start - margin * step, step=step, heights=np.maximum(heights, 0.0))
