"""How much each site counts: its share of the curvature at the estimate of a model.

Where likelihoods are normal these are the weights of inverse variance, ``1 / se²`` under the fixed
model and ``1 / (se² + tau²)`` under random effects. Where they are not, the curvature is that of
the site's log-likelihood, or of its log-likelihood of the mean with the site's own effect
integrated out, between one standard error below and one above the estimate.
"""

from collections.abc import Sequence

from qis.synthesis.currency import Likelihood, Poolable, is_informative
from qis.synthesis.profiles import PooledProfiles
from qis.synthesis.random_effects import marginal_bend


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
    bends = [max(_bend(site, middle, error, result.tau), 0.0) for site in sites]
    total = sum(bends)
    return tuple(bend / total if total > 0.0 else None for bend in bends)


def _bend(outcomes: Sequence[Poolable], middle: float, error: float, tau: float | None) -> float:
    informative = [outcome for outcome in outcomes if is_informative(outcome)]
    if not informative:
        return 0.0
    likelihood = Likelihood.of(informative)
    if not tau:
        # From slopes: their difference over the distance is the curvature.
        return likelihood.bend(middle - error, middle + error) / (2.0 * error)
    if likelihood.is_parabola:
        return 1.0 / (1.0 / likelihood.precision + tau * tau)
    return marginal_bend(likelihood, middle, error, tau)
