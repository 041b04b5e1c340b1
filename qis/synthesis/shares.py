"""How much each site counts: its share of the curvature at the estimate of a model.

Where likelihoods are normal these are the weights of inverse variance, ``1 / se²`` under the fixed
model and ``1 / (se² + tau²)`` under random effects. Where they are not, the curvature is that of
the site's log-likelihood, or of its log-likelihood of the mean with the site's own effect
integrated out, between one standard error below and one above the estimate.
"""

from collections.abc import Sequence

from qis.synthesis.currency import Likelihood, Poolable, is_informative
from qis.synthesis.profiles import PooledProfiles
from qis.synthesis.random_effects import marginal_bends


def shares(
    sites: Sequence[Sequence[Poolable]], result: PooledProfiles | None
) -> tuple[float | None, ...]:
    """Each site's share of `result`, 0-1, summing to 1; `None` for all without a finite estimate.

    Parameters
    ----------
    sites
        The outcomes of each site.
    result
        What they say together, under the model whose weights are asked for.

    """
    if result is None or result.estimate is None or result.standard_error is None:
        return (None,) * len(sites)
    middle, error = result.estimate, result.standard_error
    said = [[outcome for outcome in site if is_informative(outcome)] for site in sites]
    likelihoods = [Likelihood.of(outcomes) for outcomes in said if outcomes]
    found = iter(_bends(likelihoods, middle, error, result.tau))
    bends = [max(next(found), 0.0) if outcomes else 0.0 for outcomes in said]
    total = sum(bends)
    return tuple(bend / total if total > 0.0 else None for bend in bends)


def _bends(
    likelihoods: Sequence[Likelihood], middle: float, error: float, tau: float | None
) -> list[float]:
    if tau:
        return marginal_bends(likelihoods, middle, error, tau)
    # From slopes: their difference over the distance is the curvature.
    low, high = middle - error, middle + error
    return [likelihood.bend(low, high) / (2.0 * error) for likelihood in likelihoods]
