"""Joints between well-tested parts, where a sign once could flip unseen.

{kinds of outcome} × {cohorts of one site, sites} × {fixed, random} are compared with integration by
brute force, on likelihoods that scipy computes and not qis.
"""

import asyncio
import itertools

import numpy as np
import pytest
from scipy.stats import binom, nchypergeom_fisher, poisson

import qis
from qis.errors import DisclosureError, StorageError
from qis.fingerprint import Ontology, TermScheme
from qis.loop import Outbox
from tests._builders import signed

NOW = 1_800_000_000
QUESTION = "a vs b | death"
OTHER = {"question": QUESTION, "measure": "OR"}
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = SCHEME.fingerprint([0.2, -1.0, 0.7])
THETA = np.linspace(-8.0, 9.0, 1701)


# --- a synthesis against brute force ---------------------------------------------------------


def skewed(theta):
    """The log-likelihood of 9 events among 20, with a log rate of `theta` - 1."""
    return 9.0 * (theta - 1.0) - 20.0 * np.exp(theta - 1.0)


def made(kind, cohort):
    """An outcome of a kind, and its log-likelihood at THETA by other means."""
    names = {"question": QUESTION, "measure": "OR", "cohort": cohort}
    if kind == "effect":
        return qis.Effect(**names, estimate=0.9, standard_error=0.5), -2.0 * (THETA - 0.9) ** 2
    if kind == "profile":
        outcome = qis.LikelihoodProfile.from_function(
            **names, log_likelihood=lambda x: float(skewed(x))
        )
        return outcome, skewed(THETA)
    outcome = qis.Counts(
        question=QUESTION, cohort=cohort, events=2, total=20, control_events=11, control_total=21
    )
    return outcome, nchypergeom_fisher.logpmf(2, 41, 13, 20, np.exp(THETA))


def normal(log_likelihoods):
    """Scaled so that the largest is 1, for integration."""
    return np.exp(log_likelihoods - log_likelihoods.max())


def median_of_mean(sites, tau_scale):
    """Posterior median of mu under a flat prior, tau half-normal, on plain grids."""
    means = np.linspace(-4.0, 5.0, 181)
    step = THETA[1] - THETA[0]
    total = np.zeros(means.size)
    taus = (np.arange(30) + 0.5) * (4.0 * tau_scale / 30)  # midpoints, so tau = 0 is no case
    for tau in taus:
        kernel = np.exp(-0.5 * ((means[:, None] - THETA) / tau) ** 2) / tau
        marginal = np.prod([kernel @ normal(site) * step for site in sites], axis=0)
        total += marginal * np.exp(-0.5 * (tau / tau_scale) ** 2)
    cumulated = np.cumsum(total) - 0.5 * total
    return float(np.interp(0.5 * total.sum(), cumulated, means))


PAIRS = list(itertools.combinations_with_replacement(("effect", "profile", "counts"), 2))


@pytest.mark.parametrize("together", [True, False], ids=["cohorts of one site", "sites"])
@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
def test_kinds_and_cohorts_pool_as_brute_force_says(kinds, together):
    parts = [made(kind, f"cohort {n}") for n, kind in enumerate(kinds)]
    other = qis.Effect(question=QUESTION, measure="OR", estimate=-0.4, standard_error=0.6)
    packets = [
        signed(1 if together else 1 + n, outcome, sequence=NOW * 10**6 + n)
        for n, (outcome, _) in enumerate(parts)
    ]
    packets.append(signed(9, other))
    curves = [curve for _, curve in parts]
    sites = [sum(curves)] if together else curves
    sites.append(-0.5 * ((THETA + 0.4) / 0.6) ** 2)
    fixed = qis.synthesise(packets, model="fixed")
    assert len(fixed.sites) == len(sites)
    assert fixed.estimate == pytest.approx(THETA[np.argmax(sum(sites))], abs=0.011)
    random = qis.synthesise(packets, model="random", tau_scale=0.5)
    assert random.estimate == pytest.approx(median_of_mean(sites, 0.5), abs=0.01)
    # The comparison can fail: without any one of the parts the answer is another.
    for left_out in range(len(parts)):
        fewer = sum(curve for n, curve in enumerate(curves) if n != left_out) + sites[-1]
        if abs(THETA[np.argmax(fewer)] - fixed.estimate) < 0.03:
            pytest.fail(f"part {left_out} changes nothing, so the test would not see it go")


@pytest.mark.parametrize("together", [True, False], ids=["cohorts of one site", "sites"])
def test_many_sites_of_all_kinds_pool_as_brute_force_says(together):
    """24 outcomes: of 24 sites, or of 12 with two cohorts of different kinds each."""
    kinds = [("effect", "profile", "counts")[n % 3] for n in range(24)]
    parts = [made(kind, f"cohort {n}") for n, kind in enumerate(kinds)]
    packets = [
        signed(1 + n // 2 if together else 1 + n, outcome, sequence=NOW * 10**6 + n)
        for n, (outcome, _) in enumerate(parts)
    ]
    packets.append(signed(99, qis.Effect(**OTHER, estimate=-1.9, standard_error=0.15)))
    curves = [curve for _, curve in parts]
    sites = [a + b for a, b in zip(curves[::2], curves[1::2], strict=True)] if together else curves
    sites.append(-0.5 * ((THETA + 1.9) / 0.15) ** 2)
    fixed = qis.synthesise(packets, model="fixed")
    assert len(fixed.sites) == len(sites)
    assert fixed.estimate == pytest.approx(THETA[np.argmax(sum(sites))], abs=0.011)
    random = qis.synthesise(packets, model="random", tau_scale=0.5)
    assert random.estimate == pytest.approx(median_of_mean(sites, 0.5), abs=0.01)
    assert abs(random.estimate - fixed.estimate) > 0.05  # one precise site says something else


def proportion(events, total, cohort):
    outcome = qis.Counts(question=QUESTION, cohort=cohort, events=events, total=total)
    return outcome, binom.logpmf(events, total, 1.0 / (1.0 + np.exp(-THETA)))


def rate(events, years, cohort):
    outcome = qis.Counts(
        question=QUESTION, cohort=cohort, events=events, total=200, person_time=years
    )
    return outcome, poisson.logpmf(events, years * np.exp(THETA))


def mean(people, value, cohort):
    outcome = qis.Moments(question=QUESTION, cohort=cohort, total=people, mean=value, ss=2.0)
    return outcome, -0.5 * people * np.log1p(people * (value - THETA) ** 2 / 2.0)


def difference(people, value, cohort):
    """The control arm's mean is profiled out, by brute force too."""
    outcome = qis.Moments(
        question=QUESTION,
        cohort=cohort,
        total=people,
        mean=value,
        ss=2.0,
        control_total=people + 3,
        control_mean=0.0,
        control_ss=3.0,
    )
    control = np.linspace(-6.0, 6.0, 601)[:, np.newaxis]
    both = people * np.log1p(people * (value - THETA - control) ** 2 / 2.0)
    both = both + (people + 3) * np.log1p((people + 3) * control**2 / 3.0)
    return outcome, -0.5 * both.min(axis=0)


ONE_ARM = {
    "proportion": (proportion, [(3, 20), (0, 9), (11, 30), (7, 25)]),
    "rate": (rate, [(3, 20.0), (0, 9.0), (11, 30.0), (7, 5.0)]),
    "mean": (mean, [(12, 0.4), (5, 1.1), (30, 0.1), (9, -0.5)]),
    "difference": (difference, [(12, 0.4), (5, 1.1), (30, 0.1), (9, -0.5)]),
}


@pytest.mark.parametrize("many", [1, 3], ids=["few", "many"])
@pytest.mark.parametrize("together", [True, False], ids=["cohorts of one site", "sites"])
@pytest.mark.parametrize("kind", ONE_ARM)
def test_other_measures_pool_as_brute_force_says(kind, together, many):
    make, numbers = ONE_ARM[kind]
    parts = [make(*each, f"cohort {n}") for n, each in enumerate(numbers * many)]
    packets = [
        signed(1 + n // 2 if together else 1 + n, outcome, sequence=NOW * 10**6 + n)
        for n, (outcome, _) in enumerate(parts)
    ]
    curves = [curve for _, curve in parts]
    sites = [a + b for a, b in zip(curves[::2], curves[1::2], strict=True)] if together else curves
    fixed = qis.synthesise(packets, model="fixed")
    assert len(fixed.sites) == len(sites)
    assert fixed.estimate == pytest.approx(THETA[np.argmax(sum(sites))], abs=0.011)
    random = qis.synthesise(packets, model="random", tau_scale=0.5)
    assert random.estimate == pytest.approx(median_of_mean(sites, 0.5), abs=0.02)


def test_a_bare_study_id_means_the_question_that_has_this_id():
    study = qis.Study(question=QUESTION)
    own = qis.Effect(question=QUESTION, measure="OR", estimate=-0.3, standard_error=0.1)
    # "a …" sorts before it and "z …" after it, and each has more packets than it.
    for other in ("a other | death", "z other | death"):
        strange = qis.Effect(
            question=other, study_id=study.id, measure="OR", estimate=5.0, standard_error=0.01
        )
        packets = [signed(1, own), *(signed(n, strange) for n in (2, 3, 4))]
        assert qis.synthesise(packets, model="fixed").question == QUESTION
        # If none has the id, the question with most packets; of as many, the first by name.
        rest = qis.Effect(
            question="m | death", study_id=study.id, measure="OR", estimate=1.0, standard_error=1.0
        )
        alone = [signed(1, rest), *(signed(n, strange) for n in (2, 3))]
        assert qis.synthesise(alone, model="fixed").question == other
        assert qis.synthesise(alone[:2], model="fixed").question == min("m | death", other)


# --- the loop --------------------------------------------------------------------------------


def test_a_refusal_is_an_event_that_names_study_and_rule():
    told = []
    small = qis.Counts(question=QUESTION, events=3, total=40, control_events=20, control_total=40)

    async def scenario():
        identity = qis.Identity.from_seed(bytes(32))
        transport = qis.MemoryTransport(qis.MemoryNetwork(), identity)
        async with qis.SynthesisLoop(
            identity,
            transport,
            SCHEME,
            interest=SCHEME.interest([0.2, -1.0, 0.7]),
            on_event=told.append,
        ) as loop:
            with pytest.raises(DisclosureError) as caught:
                await loop.publish(small, about=[0.2, -1.0, 0.7])
            assert loop.statistics.refused == {caught.value.field: 1}
            return caught.value.field

    rule = asyncio.run(scenario())
    refused = [event for event in told if event.kind == "refused"]
    assert [(event.study_id, event.reason) for event in refused] == [(small.study_id, rule)]
    assert rule == "minimum_cell"


def test_an_outbox_in_memory_serves_one_loop_at_a_time():
    issuer = qis.Identity.from_seed(bytes(32)).issuer
    with Outbox() as outbox:
        with outbox.claimed(issuer):
            with pytest.raises(StorageError, match="serves another loop"), outbox.claimed(issuer):
                pytest.fail("two loops on one outbox")
            # Whoever was turned away has not given the reservation back.
            with pytest.raises(StorageError, match="another loop"), outbox.claimed(issuer):
                pytest.fail("two loops on one outbox")
        with outbox.claimed(issuer):
            pass


# --- disclosure ------------------------------------------------------------------------------


def people(*numbers):
    return qis.disclosure.subject_hashes({f"p{n}": "" for n in numbers}, key=bytes(range(32)))


def test_a_preview_tells_what_subtraction_from_a_former_release_shows():
    gate = qis.Disclosure.preset("cms")

    def outcome(n, cohort=""):
        return qis.Effect(
            question=QUESTION, cohort=cohort, measure="OR", estimate=0.1, standard_error=0.2, n=n
        )

    def said(*arguments, **options):
        return [line for line in gate.preview(*arguments, **options).learns if "comparing" in line]

    assert said(outcome(100), subjects=people(*range(100))) == []
    gate.release(outcome(100), now=0, subjects=people(*range(100)))
    (line,) = said(outcome(101), subjects=people(*range(1, 102)))
    assert "what 2 added, 1 removed and 0 changed people have in sum" in line
    (line,) = said(outcome(60, "west"), subjects=people(*range(50, 110)))  # another cohort, shared
    assert "what 10 added, 50 removed and 0 changed" in line
    assert said(outcome(60, "east"), subjects=people(*range(200, 260))) == []  # nobody in common
    assert said(outcome(101)) == []  # who they are is not known


# --- edges -----------------------------------------------------------------------------------


def test_similarity_at_is_the_smallest_that_no_more_than_the_fraction_reach():
    parents = {f"T:{n}": [f"T:{(n - 1) // 3}"] for n in range(1, 60)}
    information = {f"T:{n}": 0.1 * n for n in range(60)}
    scheme = TermScheme(Ontology("edge/1", parents, information))
    null = list(scheme._null)
    size = len(null)
    choices = sorted({*null, 0.0, 1.0})
    for allowed in (0, 1, 2, size // 2, size - 1, size):
        for fraction in {allowed / size, (allowed + 0.5) / size} - {0.0}:
            if fraction <= 1.0:
                enough = [x for x in choices if sum(y >= x for y in null) <= allowed]
                least = 0.0 if allowed == size else min(enough, default=1.0)
                assert scheme.similarity_at(fraction) == least, (allowed, fraction)


@pytest.mark.parametrize(
    ("beyond_s", "seconds"), [(-1, 2**32 - 2), (0, 2**32 - 1), (1, 2**32 - 1), (200, 2**32 - 1)]
)
def test_a_leaf_of_a_time_after_2106_has_the_last_second_that_four_bytes_hold(beyond_s, seconds):
    outcome = qis.Effect(question=QUESTION, measure="OR", estimate=0.1, standard_error=0.2)
    packet = signed(
        1,
        outcome,
        at=2**32 - 61,
        lifetime_s=60,
        sequence=(2**32 - 1 + beyond_s) * 10**6 + 999_999,
    )
    assert packet.leaf == packet.issuer.key[:8] + seconds.to_bytes(4, "big")
