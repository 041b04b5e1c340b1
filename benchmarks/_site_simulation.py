"""Simulated sites of 11, 60 and 850 patients, and what one of 11 learns from the others."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import qis
from qis.here.grid import integrate
from qis.here.kernel import Likeness
from qis.here.marginal import density_of
from qis.here.model import SiteModel
from qis.here.tables import SiteLikelihoods
from qis.synthesis.currency import Likelihood

SIZES = (11, 60, 850)
UNIT = 4.4  # standard error times the root of n: a log odds ratio, a third have the event
SPREAD = 0.6
TAU_SCALE = 0.5
CLUSTERS = 2
DIMENSIONS = 16
WITHIN = 0.15  # of features, where the clusters' centres are 1 apart from their mean


class Drawn(NamedTuple):
    """One simulated network; the first site asks."""

    effects: Any
    estimates: Any
    errors: Any
    likeness: Likeness


def sizes_of(k: int) -> Any:
    """The asking site has 11 patients; the others take turns."""
    return np.array([11, *(SIZES[number % 3] for number in range(k - 1))])


def likeness_of(features: Any) -> Likeness:
    """From real sketches: what a site's packet carries, and no more."""
    scheme = qis.VectorScheme(dimensions=features.shape[1])
    sketches = scheme.fingerprints(features)
    bits = np.unpackbits(
        np.frombuffer(b"".join(one.sketch for one in sketches), dtype=np.uint8).reshape(
            len(sketches), -1
        ),
        axis=1,
    )
    signs = 2.0 * bits - 1.0
    return Likeness(above_chance=signs @ signs.T / signs.shape[1], chance=0.5)


def clusters(rng: np.random.Generator, k: int, number: int = CLUSTERS) -> Drawn:
    """Sites fall into clusters of one size; the effect is the cluster's."""
    centres = rng.normal(size=(number, DIMENSIONS))
    member = rng.permutation(np.arange(k) % number)
    features = centres[member] + WITHIN * rng.normal(size=(k, DIMENSIONS))
    return _observed(rng, rng.normal(0.0, SPREAD, number)[member], features)


def three_clusters(rng: np.random.Generator, k: int) -> Drawn:
    """Fewer sites are like the one that asks."""
    return clusters(rng, k, 3)


def one_effect(rng: np.random.Generator, k: int) -> Drawn:
    """All sites have the same effect, whatever their features."""
    return _observed(rng, np.full(k, rng.normal(0.0, SPREAD)), rng.normal(size=(k, DIMENSIONS)))


def independent(rng: np.random.Generator, k: int) -> Drawn:
    """Effects differ, and features say nothing of them."""
    return _observed(rng, rng.normal(0.0, SPREAD, k), rng.normal(size=(k, DIMENSIONS)))


def outlier_twin(rng: np.random.Generator, k: int) -> Drawn:
    """As clusters, but the site most like the asking one has an effect that is wrong by 1.5."""
    drawn = clusters(rng, k)
    like = drawn.likeness.above_chance[0].copy()
    like[0] = -np.inf
    twin = int(like.argmax())
    wrong = 1.5 * rng.choice((-1.0, 1.0))
    drawn.estimates[twin] += wrong
    drawn.effects[twin] += wrong
    return drawn


def from_the_prior(rng: np.random.Generator, k: int) -> Drawn:
    """Everything drawn from the model itself."""
    drawn = _observed(rng, np.zeros(k), rng.normal(size=(k, 4)))
    model = SiteModel(k=k, likeness=drawn.likeness, tau_scale=TAU_SCALE)
    chances = np.exp([each.log_prior for each in model.structures])
    structure = model.structures[int(rng.choice(len(chances), p=chances / chances.sum()))]
    tau = TAU_SCALE * abs(rng.normal())
    shared = rng.multivariate_normal(np.zeros(k), model.covariance(structure, tau), method="eigh")
    own = model.own_variances(structure, tau)
    component = rng.choice(len(own), size=k, p=[weight for weight, _ in model.tail])
    effects = shared + rng.normal(size=k) * np.sqrt(np.array(own)[component])
    return drawn._replace(effects=effects, estimates=effects + rng.normal(0.0, drawn.errors))


def _observed(rng: np.random.Generator, effects: Any, features: Any) -> Drawn:
    errors = UNIT / np.sqrt(sizes_of(len(effects)))
    return Drawn(effects, effects + rng.normal(0.0, errors), errors, likeness_of(features))


def tables_of(estimates: Any, errors: Any) -> SiteLikelihoods:
    """Normal likelihoods."""
    pairs = zip(estimates.tolist(), errors.tolist(), strict=True)
    return SiteLikelihoods.of([Likelihood(precision=error**-2, centre=y) for y, error in pairs])


def answers(
    draw: Callable[[np.random.Generator, int], Drawn], k: int, runs: int, seed: int
) -> dict[str, float]:
    """Sums of squared errors at the asking site, ours and `qis.shrink`'s, and our coverage."""
    rng = np.random.default_rng([seed, k])
    ours, theirs, covered, strong = [], [], [], []
    for _ in range(runs):
        drawn = draw(rng, k)
        tables = tables_of(drawn.estimates, drawn.errors)
        model = SiteModel(k=k, likeness=drawn.likeness, tau_scale=TAU_SCALE)
        grid = integrate(tables, model, asked=0)
        density = density_of(grid, 0)
        truth = float(drawn.effects[0])
        ours.append(density.mean_and_sd[0] - truth)
        covered.append(density.quantile(0.025) <= truth <= density.quantile(0.975))
        strong.append((grid.log_bayes_factor or 0.0) > np.log(10.0))
        pairs = list(zip(drawn.estimates.tolist(), drawn.errors.tolist(), strict=True))
        theirs.append(qis.shrink(pairs[0], pairs[1:]).estimate - truth)
    return {
        "runs": runs,
        "ours": float(np.sum(np.square(ours))),
        "theirs": float(np.sum(np.square(theirs))),
        "covered": float(np.sum(covered)),
        "strong": float(np.sum(strong)),
    }


def together(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Shares and the ratio of the root mean square errors, from sums over runs."""
    sums = {name: sum(part[name] for part in parts) for name in parts[0]}
    return {
        "ratio": (sums["ours"] / sums["theirs"]) ** 0.5,
        "coverage": sums["covered"] / sums["runs"],
        "strong": sums["strong"] / sums["runs"],
    }
