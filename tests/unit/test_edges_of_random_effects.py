"""Parts of random effects, each against what it stands for by plain sums."""

import math

import numpy as np
import pytest
from scipy.stats import halfnorm, norm

import qis
from qis.synthesis._density import Density
from qis.synthesis._mixture import NormalMixture
from qis.synthesis._quantiles import normal_quantile
from qis.synthesis.currency import Likelihood
from qis.synthesis.kept import KeptSites
from qis.synthesis.marginals import _Group
from qis.synthesis.panels import Bends
from qis.synthesis.random_effects import marginal_bends
from qis.synthesis.rough import rough_crossings
from qis.synthesis.said import Facts
from qis.synthesis.surface import Surface
from qis.synthesis.together import FactTable

EFFECT = qis.Effect(question="q", measure="OR", estimate=0.4, standard_error=0.3)
TABLES = [(2, 11), (9, 3), (0, 6), (14, 14)]
COUNTS = [
    qis.Counts(question="q", events=a, total=30, control_events=c, control_total=32)
    for a, c in TABLES
]
RATE = qis.Counts(question="q", events=3, total=40, person_time=90.0)
MEANS = [qis.Moments(question="q", total=12, mean=mean, ss=20.0) for mean in (-10.0, 0.0, 30.0)]


def bends_of(facts):
    table = FactTable.of(facts)
    return Bends(table, float(table.finest.min()))


def log_marginals(one, means, tau):
    """log of the integral of exp(log-likelihood) over a site's effect, on a plain grid."""
    z = np.linspace(-9.0, 9.0, 4001)
    values = [one.value(mean + tau * z) - 0.5 * z * z for mean in means]
    return np.array([np.log(np.exp(v - v.max()).sum()) + v.max() for v in values])


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("middle", [-0.7, 0.6])
def test_the_curvature_of_a_site_is_that_of_its_integral(tau, middle):
    sites = [Likelihood.of([each]) for each in (*COUNTS, EFFECT)]
    step = 0.2
    found = marginal_bends(sites, middle, step, tau)
    for one, curvature in zip(sites, found, strict=True):
        below, at, above = log_marginals(one, (middle - step, middle, middle + step), tau)
        expected = (2.0 * at - above - below) / step**2
        assert curvature == pytest.approx(expected, rel=2e-3, abs=1e-5)


WIDE = [
    COUNTS[2],
    qis.Effect(question="q", measure="OR", estimate=-6.0, standard_error=4.0),
    qis.Effect(question="q", measure="OR", estimate=9.0, standard_error=4.0),
]


@pytest.mark.parametrize(
    "outcomes", [COUNTS, [*COUNTS, EFFECT], [*COUNTS[:2], EFFECT, EFFECT], WIDE]
)
def test_the_rough_crossings_lie_beside_those_of_the_sum(outcomes):
    kept = KeptSites()
    together = kept.together([kept.of([each]) for each in outcomes])
    drop = normal_quantile(0.975) ** 2 / 2.0
    drops = np.array([0.0, drop, drop, 0.5, 0.5])
    found = rough_crossings(together.marginals(), together.facts().spans, drops)
    theta = np.linspace(-20.0, 20.0, 400_001)
    values = Likelihood.of(outcomes).value(theta)
    best = int(values.argmax())
    assert found[0] == pytest.approx(theta[best], abs=0.05)
    for k, (side, fall) in enumerate(((-1, drop), (1, drop), (-1, 0.5), (1, 0.5)), 1):
        part = slice(0, best) if side < 0 else slice(best, None)
        crossing = theta[part][np.abs(values[part] - values[best] + fall).argmin()]
        assert found[k] == pytest.approx(crossing, abs=0.05)


def test_the_first_panel_is_in_the_middle_of_all_that_bends():
    for outcomes in (MEANS, COUNTS, [*COUNTS, EFFECT]):
        facts = [Facts.of(Likelihood.of([each])) for each in outcomes]
        if outcomes is MEANS:
            low, high = -10.0, 30.0
        else:
            low = min(each.span[0] for each in facts)
            high = max(each.span[1] for each in facts)
        start, end = bends_of(facts).first().ends
        assert start <= (low + high) / 2.0 < end
        for other in facts:  # alone, it lies elsewhere
            assert bends_of([other]).first().ends[0] <= sum(other.span) / 2.0 or outcomes is MEANS


def test_panels_are_narrow_where_something_bends_and_grow_beyond():
    """Above a rate they stay narrow, since it falls exponentially there, whoever is beside it."""
    effect = qis.Effect(question="q", measure="IRLN", estimate=-2.0, standard_error=0.4)
    with_rate = bends_of([Facts.of(Likelihood.of([each])) for each in (RATE, effect)])
    without = bends_of([Facts.of(Likelihood.of([effect]))])
    widths = [bends.widest(64.0, 1).ends for bends in (with_rate, without)]
    assert widths[0][1] - widths[0][0] < widths[1][1] - widths[1][0]
    assert with_rate.widest(-64.0, -1).ends[0] < -64.0 - (widths[0][1] - widths[0][0])


def test_a_peak_beyond_a_panel_is_known_to_be_there():
    bends = bends_of([Facts.of(Likelihood.of([each])) for each in MEANS])
    assert not bends.are_within(bends.about(0.0), 1)
    assert not bends.are_within(bends.about(0.0), -1)
    assert bends.are_within(bends.about(30.0), 1)
    assert bends.are_within(bends.about(-10.0), -1) or math.isclose(bends._low, -10.0)
    assert bends_of([Facts.of(Likelihood.of([EFFECT]))]).are_within(bends.about(0.0), 1)


@pytest.mark.parametrize("step", [0.05, 0.2])
def test_a_scale_s_density_goes_on_mirrored_below_0(step):
    points = step * np.arange(math.ceil(7.0 / step))
    density = Density(start=0.0, step=step, heights=np.exp(-0.5 * points**2), is_even=True)
    for share in (0.01, 0.05, 0.2, 0.5, 0.975):
        assert density.quantile(share) == pytest.approx(halfnorm.ppf(share), abs=2e-4)
        assert density.above(halfnorm.ppf(share)) == pytest.approx(1.0 - share, abs=1e-2)


@pytest.mark.parametrize("probability", [1e-9, 0.001, 0.3, 0.5, 0.999])
def test_where_steps_do_not_settle_a_bracket_holds_the_quantile(probability):
    """Narrow components far apart: between them there is no density to divide by."""
    means, sds = np.array([-50.0, 3.0, 90.0]), np.array([0.1, 1.0, 0.01])
    mixture = NormalMixture(mass=np.array([2.0, 1.0, 4.0]), means=means, sds=sds)
    found = mixture._bracketed(probability)
    below = 1.0 - mixture.above(found)
    density = (mixture.mass / 7.0 * norm.pdf(found, means, sds)).sum()
    assert mixture.quantiles([probability])[0] == pytest.approx(found, abs=1e-6) or density < 1e-9
    assert abs(below - probability) < 1e-8 + 1e-8 * density


def test_how_wrong_slopes_may_be_beyond_the_samples_is_that_of_the_sampled_curves():
    curve, effect = (Likelihood.of([each]) for each in (COUNTS[0].profile(), EFFECT))
    group = _Group([Facts.of(effect), Facts.of(curve)], 0.3, None)
    inside, beyond = np.array([-1.0, 0.0]), np.array([-9.0, 0.0, 9.0])
    assert group._slope_bound(inside) is None
    found = group._slope_bound(beyond)
    np.testing.assert_array_equal(found[1], curve.curves.slope_bound(beyond)[0])
    assert (found[1] > 0.0).any()
    assert (found[0] == 0.0).all()


def test_tau_is_resolved_where_its_likelihood_falls_steeply_on_one_side():
    # Found by benchmarks/synthesis_truth.py: 41 points of tau were too few, and a set with nothing
    # wrong was refused.
    tables = [
        ((45, 105, 8019, 23963), 27),
        ((0, 14, 16, 1249), 6),
        ((95, 1761, 4693, 80098), 21),
        ((82889, 202405, 2, 3), 13),
        ((16, 513, 293, 15496), 22),
        ((781, 37511, 629, 34232), 3),
        ((54268, 448850, 2, 12), 8),
    ]
    counts = [
        qis.Counts(question="q", events=a, total=n, control_events=c, control_total=m)
        for (a, n, c, m), times in tables
        for _ in range(times)
    ]
    found = qis.pool_profiles(counts, model="random")
    surface = Surface(KeptSites().together(KeptSites().of_all([[c] for c in counts])), 0.5, None, 1)
    _, taus, density = surface.posterior()
    graded = np.arcsinh(taus / surface.tau_bend)
    heights = density.sum(axis=1) * np.cosh(graded)
    assert heights[heights.argmax() + 1] > 0.9 * heights.max()
    below = np.add.accumulate(heights) / heights.sum()
    assert found.tau == pytest.approx(float(np.interp(0.5, below, taus)), rel=0.02)
    assert found.interval[0] < found.estimate < found.interval[1]
