"""Profiles far out, what is refused, and the mark on what is read where nothing was sampled."""

import math

import numpy as np
import pytest

import qis
from qis.errors import InputError
from qis.outcomes.counts import exact_of
from qis.outcomes.profile import curves_of
from qis.synthesis import Mark, pool_profiles


def counts(*cells):
    a, n, c, m = cells
    return qis.Counts(question="q", events=a, total=n, control_events=c, control_total=m)


def from_function(function):
    return qis.LikelihoodProfile.from_function(
        question="q", measure="OR", log_likelihood=lambda theta: float(function(theta))
    )


def binomial(events, n, offset):
    return lambda theta: events * theta - n * np.logaddexp(0.0, theta - offset)


@pytest.mark.parametrize("offset", [-20.0, -9.0, 0.0, 9.0, 17.0])
@pytest.mark.parametrize(("events", "n"), [(1, 2), (3, 10), (90, 100)])
def test_the_grid_lies_where_the_maximum_is(offset, events, n):
    found = from_function(binomial(events, n, offset))
    exact = offset + math.log(events / (n - events))
    assert found.maximum == pytest.approx(exact, abs=1e-5)
    assert found.lower < exact < found.upper
    pooled = pool_profiles([found])
    near = pool_profiles([from_function(binomial(events, n, 0.0))])
    shifted = [value + offset for value in (near.estimate, *near.interval)]
    assert (pooled.estimate, *pooled.interval) == pytest.approx(shifted, abs=5e-3)


def test_a_rate_profile_that_rises_for_ever_is_sampled_where_it_bends():
    site = qis.Counts(
        question="q",
        events=4,
        total=9,
        control_events=0,
        control_total=9,
        person_time=1e-4,
        control_person_time=1e4,
    )
    exact, sampled = pool_profiles([site]), pool_profiles([site.profile()])
    assert exact.estimate is sampled.estimate is None
    assert sampled.interval == pytest.approx(exact.interval, abs=5e-3)
    assert exact.interval[0] > 10.0


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda x: np.logaddexp(-2.0 * (x - 2.0) ** 2, -2.0 * (x + 2.0) ** 2), "two maxima"),
        (lambda x: np.logaddexp(-9.0 * (x - 1.0) ** 2 - 3.0, -9.0 * (x + 1.0) ** 2), "two maxima"),
        (lambda x: 0.3 * x, "still rises"),
        (lambda x: -0.5 * (x - 100.0) ** 2, "still rises"),
        (lambda x: -0.5 * ((x - 61.0) / 9.0) ** 2, "still rises"),
    ],
)
def test_what_no_profile_can_say_is_refused(function, word):
    with pytest.raises(InputError, match=word):
        from_function(function)


CONFLICT = [counts(3216, 8867, 775, 32120), counts(556, 1814, 955, 13101)]
FAR = [counts(40_000, 80_000, 10_000, 80_000), counts(9_000, 80_000, 40_000, 80_000)]
FURTHER = [counts(400_000, 800_000, 100_000, 800_000), counts(90_000, 800_000, 400_000, 800_000)]


@pytest.mark.parametrize("tables", [CONFLICT, FAR, FURTHER])
def test_pooled_profiles_in_conflict_are_right_or_marked(tables):
    truth = pool_profiles(tables)
    found = pool_profiles([table.profile() for table in tables])
    error = abs(found.estimate - truth.estimate) / truth.standard_error
    assert error < 0.02 or found.marks == (Mark.EXTRAPOLATED,)
    assert bool(found.marks) == ("Extrapolated" in found.note)
    assert truth.marks == ()


def test_the_mark_is_needed_and_is_shown():
    profiles = [table.profile() for table in FAR]
    truth, found = pool_profiles(FAR), pool_profiles(profiles)
    assert abs(found.estimate - truth.estimate) > 0.02 * truth.standard_error
    assert found.marks == (Mark.EXTRAPOLATED,)
    packets = [
        qis.Packet.sign(
            qis.Identity.from_seed(bytes([number]) * 32),
            outcome=profile,
            fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
            issued_at=1_800_000_000,
            lifetime_s=60,
        )
        for number, profile in enumerate(profiles)
    ]
    synthesis = qis.synthesise(packets, model="fixed")
    assert synthesis.marks == (Mark.EXTRAPOLATED,)
    assert "Extrapolated" in synthesis.explain()
    assert "extrapolated" in str(synthesis.forest_plot())


@pytest.mark.parametrize("seed", range(6))
def test_ordinary_sites_are_not_marked_and_are_right(seed):
    rng = np.random.default_rng(seed)
    sites = []
    for _ in range(6):
        n, m = (int(size) for size in rng.integers(15, 900, 2))
        risk = rng.uniform(0.02, 0.5)
        odds = risk / (1.0 - risk) * math.exp(rng.normal(-0.4, 0.3))
        events = int(rng.binomial(n, odds / (1.0 + odds)))
        sites.append(counts(events, n, int(rng.binomial(m, risk)), m))
    for model in ("fixed", "random"):
        truth = pool_profiles(sites, model=model)
        found = pool_profiles([site.profile() for site in sites], model=model)
        assert found.marks == ()
        close = {"abs": 0.02 * truth.standard_error}
        assert found.estimate == pytest.approx(truth.estimate, **close)
        assert found.interval == pytest.approx(truth.interval, **close)


LOPSIDED = counts(817, 19820, 24, 760)


def test_what_nine_points_lose_adds_up_over_sites_that_are_alike_and_is_marked():
    alike = {LOPSIDED: 290, counts(159, 1653, 5, 223): 130}
    truth = pool_profiles([site for site, times in alike.items() for _ in range(times)])
    profiles = {site: site.profile() for site in alike}
    found = pool_profiles([profiles[site] for site, times in alike.items() for _ in range(times)])
    assert abs(found.estimate - truth.estimate) > 0.02 * truth.standard_error
    assert found.marks == (Mark.INTERPOLATED,)
    assert "Interpolated" in found.note
    assert truth.marks == ()
    assert pool_profiles([*profiles.values()]).marks == ()


def test_what_is_lost_in_the_outermost_piece_is_marked_too():
    # The pooled values lie in the last piece of the first table's curve, whose fourth derivative
    # was told by pieces further in: 0.024 of a standard error off, without a mark.
    alike = {(6, 628, 146, 4048): 54, (4, 7, 7, 107): 281, (4, 6, 27, 289): 300}
    sites = {counts(*table): times for table, times in alike.items()}
    truth = pool_profiles([site for site, times in sites.items() for _ in range(times)])
    profiles = {site.profile(): times for site, times in sites.items()}
    found = pool_profiles([one for one, times in profiles.items() for _ in range(times)])
    assert abs(found.estimate - truth.estimate) > 0.02 * truth.standard_error
    assert found.marks == (Mark.INTERPOLATED,)


def _random_table(rng):
    n, m = (int(10 ** rng.uniform(0.5, 5.5)) for _ in range(2))
    return int(n * rng.random() ** 3), n, int(m * rng.random() ** 3), m


FOUND_BEFORE = [(817, 19820, 24, 760), (35, 10717, 1003, 74226), (9, 30, 3, 40)]


@pytest.mark.parametrize("table", [*FOUND_BEFORE, (6, 628, 146, 4048), (0, 7, 9, 80)])
def test_a_curve_knows_about_how_wrong_its_slopes_are(table):
    _check_what_a_curve_tells(counts(*table))


def test_a_curve_of_any_table_knows_about_how_wrong_its_slopes_are():
    rng = np.random.default_rng(11)
    tables = (counts(*_random_table(rng)) for _ in range(40))
    for site in [table for table in tables if table.is_informative][:25]:
        _check_what_a_curve_tells(site)


def _check_what_a_curve_tells(site):
    curves, rows = curves_of([site.profile()]), exact_of([site])
    theta = np.linspace(curves.points[0, 0], curves.points[0, -1], 300)
    told = [each[0] for each in curves.interpolation_error(theta)]
    for which, worst_of in enumerate((0.2, 0.17)):  # values, slopes
        lost = (rows.evaluate(theta)[which] - curves.evaluate(theta)[which])[0]
        lost -= lost[0] * (which == 0)  # a log-likelihood is known up to a constant
        off = np.abs(told[which] - told[which][0] * (which == 0) - lost).max()
        assert off < worst_of * np.abs(lost).max() + 1e-6
    assert np.corrcoef(told[1], lost)[0, 1] > 0.99
    assert not any(each.any() for each in curves.interpolation_error(theta + 20.0))


@pytest.mark.parametrize("table", [(6, 628, 146, 4048), (0, 7, 9, 80)])
def test_the_bound_of_a_rise_is_the_integral_of_that_of_the_slope(table):
    curves = curves_of([counts(*table).profile()])
    for edge, sign in ((0, -1.0), (1, 1.0)):
        end = curves.points[0, -edge]
        theta = end + sign * np.linspace(0.0, 3.0, 3001)
        slopes = curves.slope_bound(theta)[0]
        rises = curves.rise_bound(theta)[edge][0]
        integral = np.add.accumulate((slopes[1:] + slopes[:-1]) / 2.0) * 1e-3
        assert rises[1:] == pytest.approx(integral, rel=1e-3, abs=1e-9)
        assert not curves.rise_bound(theta)[1 - edge].any()


def test_the_profiles_of_precise_sites_are_followed_under_random_effects():
    # Polynomials over many standard errors were up to 0.15 of one off, where sites are alike.
    site = counts(952, 4721, 11652, 595036)
    truth = pool_profiles([site] * 5, model="random")
    found = pool_profiles([site.profile()] * 5, model="random")
    close = {"abs": 0.01 * truth.standard_error}
    assert found.estimate == pytest.approx(truth.estimate, **close)
    assert found.interval == pytest.approx(truth.interval, **close)
