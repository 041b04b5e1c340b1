import json
import math
from pathlib import Path

import numpy as np
import pytest

from qis.errors import IncompatibleEvidenceError, InputError, NoEstimateError
from qis.outcomes import Counts, Effect, Moments
from qis.synthesis import shrink
from qis.synthesis.currency import Likelihood

BCG = Path(__file__).parents[1] / "data" / "synthesis" / "bcg.json"


def load():
    content = json.loads(BCG.read_text())
    effects = content["effects"]
    pairs = [(y, math.sqrt(v)) for y, v in zip(effects["yi"], effects["vi"], strict=True)]
    return pairs, content["expected"]


@pytest.mark.parametrize("site", range(13))
def test_reml_gives_metafors_blup_of_the_site(site):
    pairs, expected = load()
    found = shrink(pairs[site], pairs[:site] + pairs[site + 1 :], method="REML")
    blup = expected["inverse_variance"]["REML"]["blup"]
    assert found.estimate == pytest.approx(blup["pred"][site], rel=1e-5)
    assert found.standard_error == pytest.approx(blup["se"][site], rel=1e-5)


@pytest.mark.parametrize("site", range(13))
def test_the_default_gives_bayesmetas_shrinkage(site):
    pairs, expected = load()
    found = shrink(pairs[site], pairs[:site] + pairs[site + 1 :])
    block = expected["bayes"]["halfnormal_0.5__mu_flat"]
    sd = block["shrinkage_sd"][site]
    assert abs(found.estimate - block["shrinkage_mean"][site]) < 3e-3 * sd
    assert abs(found.standard_error - sd) < 3e-3 * sd


@pytest.mark.parametrize("method", ["bayes", "REML"])
def test_alone_it_keeps_its_own(method):
    found = shrink((0.1, 0.3), [], method=method)
    assert (found.estimate, found.standard_error, found.own_weight) == (0.1, 0.3, 1.0)


@pytest.mark.parametrize("method", ["bayes", "PM"])
def test_it_lies_between_its_own_and_the_centre(method):
    found = shrink((2.0, 0.6), [(0.1, 0.07), (0.0, 0.08)], method=method)
    assert found.centre <= found.estimate <= 2.0
    assert found.estimate == pytest.approx(
        found.centre + found.own_weight * (found.own_estimate - found.centre)
    )


def test_the_order_of_the_others_changes_no_bit():
    others = [(0.3, 0.2), (-0.1, 0.3), (0.5, 0.4)]
    assert shrink((1.0, 0.5), others) == shrink((1.0, 0.5), others[::-1])


def effect(estimate, *, question="q", measure="OR"):
    return Effect(question=question, measure=measure, estimate=estimate, standard_error=0.3)


def test_effects_are_the_same_as_pairs():
    found = shrink(effect(1.0), [effect(0.2), effect(0.0)])
    assert found == shrink((1.0, 0.3), [(0.2, 0.3), (0.0, 0.3)])


@pytest.mark.parametrize(
    "others", [[effect(0.1, question="r")], [effect(0.1, measure="RR")], [(0.1, 0.3)]]
)
def test_what_is_not_of_one_kind_is_refused(others):
    with pytest.raises(IncompatibleEvidenceError):
        shrink(effect(1.0), others)


def test_a_measure_with_units_demands_the_scale():
    own, other = effect(1.0, measure="MD"), effect(0.0, measure="MD")
    with pytest.raises(InputError) as caught:
        shrink(own, [other])
    assert caught.value.field == "tau_scale"
    assert shrink(own, [other], tau_scale=2.0).estimate < 1.0


@pytest.mark.parametrize("site", [None, (1.0,), ("a", 1.0), (1.0, 0.0)])
def test_bad_sites_are_refused(site):
    with pytest.raises(InputError):
        shrink(site, [(0.0, 1.0)])


def counts(events, total, control_events, control_total):
    return Counts(
        question="q",
        events=events,
        total=total,
        control_events=control_events,
        control_total=control_total,
    )


def plainly(own, others):
    """The site's own effect by sums over a grid of its effect, mu and tau."""
    theta = np.linspace(-14.0, 12.0, 1301)
    mu, tau = np.linspace(-9.0, 8.0, 171), np.linspace(0.025, 3.2, 64)
    normal = np.exp(-0.5 * ((theta[:, None, None] - mu) / tau[:, None]) ** 2) / tau[:, None]
    weight = np.exp(-0.5 * (tau / 0.5) ** 2)[:, None] * np.ones_like(mu)
    for other in others:
        weight = weight * np.einsum("x,xtm->tm", np.exp(height(other, theta)), normal)
    mine = np.exp(height(own, theta)) * np.einsum("xtm,tm->x", normal, weight)
    mine /= mine.sum()
    mean = float(mine @ theta)
    return mean, float(mine @ (theta - mean) ** 2) ** 0.5


def height(outcome, theta):
    if isinstance(outcome, Counts) and not outcome.is_informative:
        return np.zeros_like(theta)
    values = Likelihood.of([outcome]).value(theta)
    return values - values.max()


SITES = [
    counts(4, 40, 9, 41),
    counts(0, 11, 3, 12),
    counts(31, 220, 40, 210).profile(),
    counts(7, 60, 8, 58),
    Effect(question="q", measure="OR", estimate=-0.3, standard_error=0.4),
]


@pytest.mark.parametrize("own", [*range(len(SITES)), "no events"])
def test_any_kind_is_drawn_as_a_plain_sum_says(own):
    mine = counts(0, 9, 0, 8) if own == "no events" else SITES[own]
    others = [site for site in SITES if site is not mine]
    found = shrink(mine, others)
    mean, sd = plainly(mine, others)
    assert found.estimate == pytest.approx(mean, abs=0.01 * sd)
    assert found.standard_error == pytest.approx(sd, rel=0.01)
    if own in {1, "no events"}:  # nothing finite of its own, and an answer all the same
        assert found.own_estimate is None
        assert found.own_weight is None


def test_means_of_any_unit_are_drawn_too():
    rng = np.random.default_rng(2)
    for unit in (1.0, 1000.0):
        draws = [(unit * (5.0 + rng.normal(size=n))).tolist() for n in (4, 30, 60)]
        means = [Moments.from_values(question="q", values=values) for values in draws]
        found = shrink(means[0], means[1:], tau_scale=0.3 * unit)
        own = float(np.mean(draws[0]))
        low, high = sorted((own, found.centre))
        assert low <= found.estimate <= high
        assert 0.0 < found.own_weight < 1.0


def test_what_cannot_be_drawn_is_refused_in_words():
    with pytest.raises(InputError, match="method='bayes'"):
        shrink(SITES[0], SITES[1:], method="REML")
    with pytest.raises(NoEstimateError, match="ever"):
        shrink(counts(0, 11, 3, 12), [counts(0, 30, 2, 30)])
    with pytest.raises(InputError, match="nothing to draw"):
        shrink(SITES[0], [counts(0, 11, 0, 12)])
    with pytest.raises(IncompatibleEvidenceError):
        shrink(SITES[0], [(0.1, 0.2)])
    with pytest.raises(IncompatibleEvidenceError):
        shrink(SITES[0], [counts(3, 9, 2, 9).effect("RR")])
