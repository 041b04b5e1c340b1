"""One site's effect: a mixture over the grid's points, with its own likelihood exactly."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.errors import InputError
from qis.here.grid import Grid
from qis.synthesis._density import Density

Floats = NDArray[np.float64]

_CLOSE: Final = 0.2
"""Distance of the density's points, in standard deviations of the narrowest component."""
_REACH: Final = 8.0
_FEWEST: Final = 400
_MOST: Final = 6_000
_USED: Final = 1e-9
"""Components of less than this share of the largest are left out."""
_SEEN: Final = 1e-4
"""Components of less mass do not decide how close the points are."""


def density_of(
    grid: Grid, site: int, masses: Floats | None = None, *, with_own: bool = True
) -> Density:
    """The posterior density of one site's effect.

    Parameters
    ----------
    grid
        What the sites say.
    site
        Number of the site.
    masses
        Probabilities of the grid's points, if others than the posterior ones.
    with_own
        False: what all others say of its effect, without its own data.

    """
    if masses is None:
        masses = grid.masses if with_own else grid.masses_without(site)
    own, model = grid.found.own, grid.model
    extra = grid.own_variances[:, :, site].T
    means = grid.found.means[:, site]
    variances = grid.found.variances[:, site, np.newaxis] + extra
    weights = np.array([weight for weight, _ in model.tail])
    parts = masses[:, np.newaxis] * weights
    middles = np.broadcast_to(means[:, np.newaxis], variances.shape)
    spreads = variances
    if with_own:
        shares = np.stack([share[:, site] for share in own.shares], axis=1)
        middles = np.stack([mean[:, site] for mean in own.own_means], axis=1)
        spreads = np.stack([spread[:, site] for spread in own.own_variances], axis=1)
        seen = masses[:, np.newaxis] * shares
        # The cavity's mixture, divided by what it says of the own data, times the likelihood.
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            parts = parts * np.exp(-own.log_mass[:, site, np.newaxis])
    else:
        seen = parts
    _require_numbers(parts[seen > _USED * seen.max()] if seen.size else parts)
    matter = seen > _SEEN * seen.max()
    sds = np.sqrt(spreads)
    low = float((middles - _REACH * sds)[matter].min())
    high = float((middles + _REACH * sds)[matter].max())
    step = _CLOSE * float(sds[matter].min())
    count = int(np.clip(np.ceil((high - low) / step), _FEWEST, _MOST)) + 1
    theta = np.linspace(low, high, count)
    used = seen > _USED * seen.max()
    logs = np.zeros(count)
    if with_own:
        logs = grid.tables.value(np.array([site]), theta[np.newaxis])[0]
    heights = np.zeros(count)
    for mean, variance, weight in zip(
        np.broadcast_to(means[:, np.newaxis], variances.shape)[used].tolist(),
        variances[used].tolist(),
        parts[used].tolist(),
        strict=True,
    ):
        apart = theta - mean
        with np.errstate(over="ignore", invalid="ignore"):
            heights += (weight / variance**0.5) * np.exp(logs - 0.5 * apart * apart / variance)
    _require_numbers(heights)
    return Density(start=low, step=(high - low) / (count - 1), heights=heights)


def _require_numbers(values: Floats) -> None:
    """Refuse what cannot be computed, whose quantiles would look like numbers."""
    if not (np.isfinite(values).all() and values.any()):
        raise beyond_computing()


def beyond_computing() -> InputError:
    """The error for prior scales under which the data are too improbable to compute with."""
    return InputError(
        "under these prior scales the data are so improbable that nothing can be computed: "
        "mean_scale (or tau_scale) is many thousand times the standard errors; is it in other "
        "units?",
        field="mean_scale",
    )
