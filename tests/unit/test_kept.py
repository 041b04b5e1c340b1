"""What is kept between syntheses changes how long they take, and no number."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from qis.outcomes import Counts, Effect
from qis.synthesis import pool_profiles
from qis.synthesis.common_effect import MANY, common_effect, own_effect
from qis.synthesis.currency import Likelihood
from qis.synthesis.kept import KeptSites
from qis.synthesis.profiles import pool_sites
from qis.synthesis.said import Facts


def counts(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(5, 400, 2).tolist()
    return Counts(
        question="q",
        events=int(rng.binomial(n, rng.uniform(0.0, 0.5))),
        total=n,
        control_events=int(rng.binomial(m, rng.uniform(0.0, 0.5))),
        control_total=m,
    )


POOL = [
    *(counts(seed).profile() for seed in range(6)),
    *(counts(seed) for seed in range(6, 10)),
    Effect(question="q", measure="OR", estimate=0.4, standard_error=0.3),
    Effect(question="q", measure="OR", estimate=-0.4, standard_error=0.02),
]


@given(st.lists(st.sets(st.integers(0, len(POOL) - 1), min_size=1), min_size=2, max_size=3))
@settings(max_examples=3, deadline=None)
def test_sites_that_come_go_and_come_back_give_the_bits_of_a_fresh_synthesis(turns):
    kept = KeptSites()
    for held in turns:
        sites = [(POOL[k],) for k in sorted(held)]
        for scale in (None, 0.5):
            asked = {"measure": "OR", "tau_scale": scale}
            assert pool_sites(sites, kept=kept, **asked) == pool_sites(sites, **asked)
        kept.settle()


@pytest.mark.parametrize("earlier", [0, 20])
def test_what_is_asked_of_all_profiles_at_once_is_what_each_says_alone(earlier):
    """To the bit: monotone profiles too, and beside sites of other kinds; all new, or a few."""
    pool = [counts(seed).profile() for seed in range(30)]
    pool += [table(0, 40, 7, 39).profile(), table(5, 20, 0, 90).profile(), POOL[-1], POOL[7]]
    kept = KeptSites()
    if earlier:
        first = kept.together([kept.of([each]) for each in pool[:earlier] if informs(each)])
        assert len(first.whole.curves) == len(first.facts().rows)
    together = kept.together([kept.of([each]) for each in pool if informs(each)])
    assert together.whole.rows
    table_of_all = together.facts()
    for at, said in enumerate(together.said):
        alone = Facts.of(Likelihood.of(said.outcomes))
        found = table_of_all.rows[at]
        assert (found.limits, found.span, found.finest) == (alone.limits, alone.span, alone.finest)
        assert found.kind == alone.kind
        numbers = (*alone.limits, *alone.span, alone.finest)
        of_table = (table_of_all.limits[at], table_of_all.spans[at], [table_of_all.finest[at]])
        assert np.concatenate(of_table).tolist() == list(numbers)
        if alone.likelihood.curves is not None:
            for name in ("points", "values", "gradients", "below", "above"):
                one, other = (
                    getattr(each.likelihood.curves, name).tobytes() for each in (found, alone)
                )
                assert one == other


def informs(outcome):
    return isinstance(outcome, Effect) or outcome.is_informative


def table(events, total, control_events, control_total):
    return Counts(
        question="q",
        events=events,
        total=total,
        control_events=control_events,
        control_total=control_total,
    )


def test_nothing_is_computed_again(monkeypatch):
    from qis.synthesis import totals as module  # noqa: PLC0415

    asked = []

    class Counting(module.Marginals):
        def __init__(self, sites):
            asked.append(len(sites))
            super().__init__(sites)

    monkeypatch.setattr(module, "Marginals", Counting)
    kept = KeptSites()
    profiles = [counts(seed).profile() for seed in range(20, 30)]
    profiles = [profile for profile in profiles if profile.is_informative]
    # A site like another one, so that the posterior does not move to where no panel was.
    profiles.append(replace(profiles[0], study=None, cohort="more"))
    for count in (len(profiles) - 1, len(profiles)):
        asked.clear()
        found = pool_sites(
            [(each,) for each in profiles[:count]], measure="OR", tau_scale=0.5, kept=kept
        )
        kept.settle()
    # Once under the scale, and once under twice the scale where the sites contradict the prior.
    assert asked == [1] * len(asked)
    assert 1 <= len(asked) <= 2
    assert found.estimate == pool_profiles(profiles, model="random").estimate


def test_many_sites_have_the_common_effect_of_the_slow_search():
    sites = [counts(seed).profile() for seed in range(100, 100 + MANY + 30)]
    informative = [each for each in sites if each.is_informative]
    assert len(informative) > MANY
    quick = pool_profiles(sites)
    slow = common_effect(informative, 0.95)
    assert quick.estimate == pytest.approx(slow.estimate, abs=1e-9)
    assert quick.interval == pytest.approx(slow.interval, abs=1e-9)
    assert quick.standard_error == pytest.approx(slow.standard_error, abs=1e-9)
    assert quick.marks == slow.marks


def test_many_sites_that_all_favour_ever_larger_values_have_no_estimate():
    one = Counts(question="q", events=3, total=9, control_events=0, control_total=9).profile()
    pooled = pool_profiles([one] * (MANY + 5))
    assert pooled.estimate is None
    assert pooled.interval[1] == math.inf


@pytest.mark.parametrize("seed", range(12))
def test_one_profile_alone_says_what_its_curve_says(seed):
    profile = counts(seed).profile()
    if not profile.is_informative:
        return
    own = own_effect(KeptSites().of((profile,)), 0.95)
    drop = 1.959963984540054**2 / 2.0
    for end in own.interval:
        if math.isfinite(end):
            # A curve that rises for ever ends at its limit, which is not the value at its end.
            height = profile.log_likelihood(end) - profile.log_likelihood(
                200.0 * np.sign(profile.gradients[0]) if profile.maximum is None else own.estimate
            )
            assert float(height) == pytest.approx(-drop, abs=1e-9)
    if profile.maximum is not None:
        assert own.estimate == profile.maximum
