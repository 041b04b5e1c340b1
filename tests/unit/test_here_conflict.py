"""What no normal replacement is, two answers at once or a lopsided one: against direct integration.

The references share nothing with the library: no propagation, no grid that is refined, no choice of
the sites for which it is summed whether they are in the tail. Everything is summed.
"""

import itertools

import numpy as np
import pytest

import qis
from qis.here.grid import integrate
from qis.here.kernel import Likeness
from qis.here.marginal import density_of
from qis.here.model import POWERS, SHARES, SiteModel
from qis.here.tables import SiteLikelihoods
from qis.synthesis.currency import Likelihood

STUDY = qis.Study(question="drug vs none | death", measure="OR", model="random")
TAIL, MEAN_SCALE = 0.05, 2.5
STEP = 0.01
AT = np.arange(-14.0, 14.0, STEP)
PARTS = (0.025, 0.25, 0.5, 0.75, 0.975)
WORST = 0.02  # standard deviations


def blurred(values, variance):
    """A function on the points, averaged over normal deviations."""
    size = 2 * AT.size
    waves = np.fft.rfftfreq(size, STEP)
    smooth = np.exp(-2.0 * np.pi**2 * variance * waves**2)
    return np.maximum(np.fft.irfft(np.fft.rfft(values, size) * smooth, size)[: AT.size], 0.0)


def integrated(own, others, tau_scale, taus=100):
    """Densities of one site's effect, with and without its data, all sites equally alike."""
    mean = np.exp(-0.5 * (AT / MEAN_SCALE) ** 2)
    predicted = np.zeros_like(AT)
    for x in (np.arange(taus) + 0.5) / taus:
        tau = 5.0 * tau_scale * x * x  # close together near 0
        said = mean * x * np.exp(-0.5 * (tau / tau_scale) ** 2)
        for likelihood in others:
            usual, odd = (blurred(likelihood, tau * tau + extra) for extra in (0.0, 1.0))
            said = said * ((1.0 - TAIL) * usual + TAIL * odd)
        for weight, extra in ((1.0 - TAIL, 0.0), (TAIL, 1.0)):
            predicted += weight * blurred(said, tau * tau + extra)
    return predicted * own, predicted


def read(density):
    """Mean, standard deviation and quantiles."""
    weights = density / density.sum()
    mean = weights @ AT
    below = np.cumsum(weights) - 0.5 * weights
    return [mean, (weights @ (AT - mean) ** 2) ** 0.5, *np.interp(PARTS, below, AT)]


def shown(answer):
    low, high = answer.interval
    left, right = answer.middle_half
    return [answer.mean, answer.sd, low, left, answer.median, right, high]


def bell(estimate, error):
    return np.exp(-0.5 * ((AT - estimate) / error) ** 2)


def effect(estimate, error):
    return qis.Effect(study=STUDY, measure="OR", estimate=estimate, standard_error=error)


def asked(pairs, tau_scale):
    """The first of some sites asks."""
    outcomes = [effect(*pair) for pair in pairs]
    return qis.for_site(outcomes[1:], outcomes[0], study=STUDY, tau_scale=tau_scale)


def worst(found, wanted):
    return max(abs(one - other) for one, other in zip(found, wanted, strict=True)) / wanted[1]


def assert_right(here, own, others, tau_scale, of_others=WORST):
    with_own, without = integrated(own, others, tau_scale)
    assert worst(shown(here.answer), read(with_own)) < WORST
    assert worst(shown(here.from_others), read(without)) < of_others


def test_two_precise_sites_in_conflict():
    """Propagation alone gave a median of 0.702 instead of 0.683: it saw one normal mode."""
    pairs = [(0.1, 0.8), (-0.7, 0.1), (-0.2, 0.2)]
    here = asked(pairs, 0.5)
    assert np.exp(here.answer.median) == pytest.approx(0.6825, abs=0.002)
    assert np.exp(here.answer.interval[0]) == pytest.approx(0.3302, abs=0.002)
    own, *others = (bell(*pair) for pair in pairs)
    assert_right(here, own, others, 0.5)


def drawn(seed):
    """Two to four sites; the others differ by one to six standard errors."""
    rng = np.random.default_rng(seed)
    errors = np.exp(rng.uniform(np.log(0.06), np.log(0.6), rng.integers(1, 4)))
    signs = rng.choice([-1.0, 1.0], errors.size)
    others = rng.normal(0.0, 0.5) + signs * rng.uniform(0.5, 3.0, errors.size) * errors
    own = float(np.exp(rng.uniform(np.log(0.1), np.log(2.0))))
    pairs = [
        (float(rng.normal(0.0, 1.0)), own),
        *zip(others.tolist(), errors.tolist(), strict=True),
    ]
    return pairs, float(rng.choice([0.15, 0.5, 1.0]))


@pytest.mark.parametrize("seed", range(10))
def test_sites_in_conflict(seed):
    pairs, tau_scale = drawn(seed)
    own, *others = (bell(*pair) for pair in pairs)
    assert_right(asked(pairs, tau_scale), own, others, tau_scale)


@pytest.mark.parametrize(
    "tables",
    [
        [(0, 24, 2, 25), (60, 400, 160, 400), (80, 400, 78, 400)],
        [(0, 11, 2, 12), (0, 30, 3, 30), (0, 50, 4, 51), (0, 200, 9, 200)],
        [(2, 11, 0, 12), (0, 300, 25, 300), (30, 300, 0, 300)],
    ],
    ids=["conflict", "no event in any", "none in the others"],
)
def test_counts(tables):
    """Where no site has an event in one arm, propagation alone was off by .33."""
    keys = ("events", "total", "control_events", "control_total")
    outcomes = [qis.Counts(study=STUDY, **dict(zip(keys, table, strict=True))) for table in tables]
    here = qis.for_site(outcomes[1:], outcomes[0], study=STUDY)
    own, *others = (np.exp(hypergeometric(*table)) for table in tables)
    assert_right(here, own, others, 0.5)


def test_likelihoods_that_fall_off_slowly():
    """Of two in conflict either may be wrong: propagation alone was off by .08."""

    def heavy(centre, scale):
        return lambda x: -2.0 * np.log1p(((x - centre) / scale) ** 2 / 3.0)

    profiles = [
        qis.LikelihoodProfile.from_function(study=STUDY, measure="OR", log_likelihood=each)
        for each in (heavy(-0.7, 0.2), heavy(0.5, 0.2))
    ]
    said = [Likelihood.of([each]).value(AT) for each in profiles]  # nine points, not the function
    here = qis.for_site(profiles, effect(0.1, 0.8), study=STUDY)
    others = [np.exp(each - each.max()) for each in said]
    # Far out the likelihoods are not log-concave, and their replacements there are left out.
    assert_right(here, bell(0.1, 0.8), others, 0.5, of_others=0.04)


def hypergeometric(a, n1, c, n2):
    """Fisher's conditional log-likelihood of the log odds ratio, less its largest value."""
    factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n1 + n2 + 1)))))
    x = np.arange(max(0, a + c - n2), min(n1, a + c) + 1)
    logs = -factorials[x] - factorials[n1 - x] - factorials[a + c - x] - factorials[n2 - a - c + x]
    terms = logs[:, np.newaxis] + x[:, np.newaxis] * AT
    top = terms.max(axis=0)
    found = a * AT - top - np.log(np.exp(terms - top).sum(axis=0))
    return found - found.max()


def summed(pairs, likeness, tau_scale, taus=48):
    """Density of the first effect: every structure, and for every site in the tail or not."""
    estimates, errors = np.array(pairs).T
    k = len(pairs)
    flags = np.array(list(itertools.product((0.0, 1.0), repeat=k)))
    log_flags = np.log(np.where(flags > 0.0, TAIL, 1.0 - TAIL)).sum(axis=1)
    logs, means, variances = [], [], []
    for share in SHARES:
        powers = POWERS if share else (1,)
        for power, x in itertools.product(powers, (np.arange(taus) + 0.5) / taus):
            tau = 5.0 * tau_scale * x * x
            shared = MEAN_SCALE**2 + share * tau * tau * likeness.kernel(power)
            prior = shared + np.array([np.diag((1.0 - share) * tau * tau + each) for each in flags])
            total = prior + np.diag(errors**2)
            solved = np.linalg.solve(
                total, np.broadcast_to(estimates[:, np.newaxis], (len(flags), k, 1))
            )
            fit = (estimates @ solved)[:, 0]
            row = np.linalg.solve(total, prior[:, :, :1])[:, :, 0]
            logs.append(
                log_flags
                - 0.5 * (np.linalg.slogdet(total)[1] + fit)
                - np.log(len(powers))
                + np.log(x)
                - 0.5 * (tau / tau_scale) ** 2
            )
            means.append(row @ estimates)
            variances.append(prior[:, 0, 0] - (row * prior[:, :, 0]).sum(axis=1))
    logs, means, variances = (np.concatenate(each) for each in (logs, means, variances))
    weights = np.exp(logs - logs.max())
    density = np.zeros_like(AT)
    for each in np.flatnonzero(weights > 1e-6):
        apart = AT - means[each]
        density += (
            weights[each] * np.exp(-0.5 * apart**2 / variances[each]) / variances[each] ** 0.5
        )
    return density


@pytest.mark.parametrize("seed", range(3))
def test_sites_in_conflict_of_which_some_are_alike(seed):
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(4, 32))
    signs[2] = np.where(rng.random(32) < 0.1, -signs[0], signs[0])
    likeness = Likeness(above_chance=signs @ signs.T / 32.0, chance=0.5)
    pairs = [(0.2, 0.7), (-0.7, 0.1), (0.3, 0.15), (float(rng.normal()), 0.2)]
    tables = SiteLikelihoods.of([Likelihood(precision=e**-2, centre=y) for y, e in pairs])
    grid = integrate(tables, SiteModel(k=4, likeness=likeness, tau_scale=0.5), asked=0)
    density = density_of(grid, 0)
    found = [*density.mean_and_sd, *(density.quantile(part) for part in PARTS)]
    assert worst(found, read(summed(pairs, likeness, 0.5))) < WORST
