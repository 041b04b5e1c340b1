"""Rounded and noisy counts: their likelihoods against others', coverage, and what is spent."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy import stats

from qis.about import Fingerprint
from qis.disclosure import (
    PRESETS,
    Disclosure,
    PrivacyBudget,
    private_counts,
    rounded_counts,
    subject_hashes,
)
from qis.disclosure.coarse import Arm, CoarseOddsRatio
from qis.disclosure.envelope import Envelope
from qis.disclosure.privacy import _arm, profile_of_noisy_cells
from qis.errors import DisclosureError, InputError, MissingExtraError, StorageDamagedError
from qis.evidence import Roster, Site
from qis.fingerprint import VectorScheme
from qis.identity import Identity
from qis.outcomes import Counts, LikelihoodProfile
from qis.packet import Packet
from qis.synthesis import pool_profiles, synthesise

Q = "a vs b | death"
NHS = PRESETS["nhs"]
LOG_RATIO = -0.5


def counts(events, total, control_events, control_total, **rest):
    return Counts(
        question=Q,
        events=int(events),
        total=int(total),
        control_events=int(control_events),
        control_total=int(control_total),
        **rest,
    )


def arm(*pairs, size):
    table = np.array(pairs)
    return Arm(table[:, 0], table[:, 1], np.zeros(len(table)), size)


def differences(one, other, where):
    """How much two log-likelihoods differ but for a constant, where neither is negligible."""
    both = np.column_stack((one.at(where)[0], [other(x) for x in where]))
    both -= both.max(axis=0)
    away = (both[:, 0] - both[:, 1])[both.max(axis=1) > -6.0]
    return np.ptp(away)


# Counts known exactly: the conditional likelihood of scipy's noncentral hypergeometric law.
@pytest.mark.parametrize(
    ("table", "within"),
    [
        ((10, 60, 20, 60), 0.003),
        ((0, 40, 10, 40), 0.02),
        ((3, 200, 30, 400), 0.002),
        ((100, 1_000, 150, 900), 0.0005),
        ((5, 11, 6, 11), 0.08),
    ],
)
def test_exact_counts_give_the_conditional_likelihood(table, within):
    a, n, c, m = table
    coarse = CoarseOddsRatio(arm((a, n), size=n), arm((c, m), size=m))

    def conditional(x):
        return stats.nchypergeom_fisher.logpmf(a, n + m, a + c, n, math.exp(x))

    assert differences(coarse, conditional, np.linspace(-4, 4, 41)) < within


def test_several_tables_give_the_mixture_of_their_conditional_likelihoods():
    treated = [(a, n) for a in range(8, 13) for n in range(38, 43)]
    control = [(c, m) for c in range(13, 18) for m in range(48, 53)]
    coarse = CoarseOddsRatio(arm(*treated, size=40), arm(*control, size=50))

    def mixture(x):
        # The chance of both arms' events together is level in their sum, which is integrated out.
        each = [
            stats.nchypergeom_fisher.pmf(a, n + m, a + c, n, math.exp(x))
            for (a, n), (c, m) in product(treated, control)
        ]
        return math.log(sum(each))

    assert differences(coarse, mixture, np.linspace(-2.5, 1.5, 7)) < 0.01


@pytest.mark.parametrize("log_ratio", [-3.0, -0.5, 0.0, 2.0])
def test_the_gradient_is_the_derivative(log_ratio):
    coarse = CoarseOddsRatio(
        arm((8, 40), (9, 40), (9, 41), size=40), arm((0, 30), (1, 30), size=30)
    )
    step = 1e-4
    (below, _, above), slopes = coarse.at(log_ratio + step * np.array([-1, 0, 1]))
    assert slopes[1] == pytest.approx((above - below) / (2 * step), abs=1e-6)


def noisy(cells, epsilon):
    return CoarseOddsRatio(_arm(*cells[:2], epsilon), _arm(*cells[2:], epsilon))


# Each was refused once, after its ε had been paid: the likelihood rises again far from its maximum,
# or rises for ever and is level on the other side too.
@pytest.mark.parametrize(
    ("cells", "epsilon"),
    [([-4, 5, 4, 4], 0.5), ([-1, 97, 5, 93], 1.0), ([0, 200, 3, 190], 3.0), ([3, -2, -3, 2], 0.5)],
)
def test_whatever_the_noise_there_is_a_profile_nowhere_below_the_likelihood(cells, epsilon):
    where = np.linspace(-20.0, 20.0, 161)
    true = noisy(cells, epsilon)
    values, slopes = true.at(where)
    raised, falls = Envelope(true)(where)
    assert np.all(raised >= values - 1e-6)
    top = int(raised.argmax())
    assert np.all(falls[:top] >= 0.0)
    assert np.all(falls[top + 1 :] <= 0.0)
    same = slopes * np.sign(top - np.arange(161)) > 0.01  # where it falls outwards by itself …
    level = raised - values < 1e-9  # … and nothing further out is higher
    np.testing.assert_allclose(falls[same & level], slopes[same & level], atol=0.01)
    found = profile_of_noisy_cells(cells, epsilon=epsilon, question=Q)
    assert found.is_informative


def test_no_noise_makes_a_table_that_no_packet_holds():
    random = np.random.default_rng(20261130)
    for epsilon in (0.5, 1.0, 4.0):
        chance = 1.0 - math.exp(-epsilon)
        for table in ((3, 6, 1, 7), (0, 10, 0, 10), (1, 2, 1, 2), (0, 60, 3, 57)):
            for _ in range(2):
                drawn = random.geometric(chance, 4) - random.geometric(chance, 4)
                cells = (np.array(table) + drawn).tolist()
                profile_of_noisy_cells(cells, epsilon=epsilon, question=Q)


def test_rounded_counts_say_what_they_are_and_nothing_else():
    profile = rounded_counts(counts(11, 62, 23, 58), NHS)
    assert profile.protection == "rounded to 5"
    assert (profile.n, profile.events) == (120, 35)
    # All tables that round alike give the same packet, bit for bit.
    assert profile == rounded_counts(counts(9, 58, 25, 62), NHS)
    assert profile != rounded_counts(counts(13, 62, 23, 58), NHS)
    assert LikelihoodProfile.from_body(profile.body()) == profile
    Disclosure.preset("nhs").check(profile)


def test_subjects_of_rounded_counts_are_compared_though_n_is_not_theirs():
    gate = Disclosure.preset("nhs")
    people = [f"person {number}" for number in range(125)]
    first = rounded_counts(counts(11, 61, 23, 58), NHS)
    gate.release(first, now=0, subjects=subject_hashes(people[:119], key=bytes(32)))
    second = rounded_counts(counts(13, 63, 23, 58), NHS)
    with pytest.raises(DisclosureError) as caught:
        gate.check(second, subjects=subject_hashes(people[:121], key=bytes(32)))
    assert (caught.value.field, caught.value.actual) == ("difference", 2)


def test_zero_is_not_rounded_and_few_are_kept_back():
    none = rounded_counts(counts(0, 60, 23, 58), NHS)
    assert none.is_monotone
    for table in ((7, 60, 23, 58), (20, 60, 1, 58), (56, 60, 23, 58)):
        with pytest.raises(DisclosureError) as caught:
            rounded_counts(counts(*table), NHS)
        assert caught.value.field == "minimum_cell"
    with pytest.raises(InputError, match="cms"):
        rounded_counts(counts(20, 60, 23, 58), PRESETS["cms"])
    for wrong in (
        Counts(question=Q, events=20, total=60),
        counts(20, 60, 23, 58, person_time=60.0, control_person_time=58.0),
    ):
        with pytest.raises(InputError):
            rounded_counts(wrong, NHS)


def covering(profiles):
    return [
        low <= LOG_RATIO <= high for low, high in (pool_profiles([p]).interval for p in profiles)
    ]


def drawn(random, size, number):
    """Tables of two arms of that size and 30 % risk in the control arm."""
    risks = (1 / (1 + math.exp(0.8473 - LOG_RATIO)), 0.3)
    return np.column_stack([random.binomial(size, risk, number) for risk in risks])


def test_intervals_of_rounded_counts_cover():
    random = np.random.default_rng(1)
    tables = [(a, c) for a, c in drawn(random, 73, 250) if min(a, c) >= 8]
    assert len(tables) > 240
    # Tables that round alike have one profile, so one of each is enough.
    kinds = [((a + 2) // 5, (c + 2) // 5) for a, c in tables]
    one_of = dict(zip(kinds, tables, strict=True))
    covers = covering(rounded_counts(counts(a, 73, c, 73), NHS) for a, c in one_of.values())
    found = dict(zip(one_of, covers, strict=True))
    aware = [found[kind] for kind in kinds]
    assert 0.915 <= np.mean(aware) <= 0.985


def laplace(random, epsilon, size):
    """Discrete Laplace noise as the difference of two geometric numbers."""
    chance = 1 - math.exp(-epsilon)
    return random.geometric(chance, size) - random.geometric(chance, size)


def test_intervals_of_noisy_counts_cover():
    random, epsilon, size = np.random.default_rng(2), 1.0, 60
    profiles = []
    for a, c in drawn(random, size, 80):
        cells = np.array([a, size - a, c, size - c]) + laplace(random, epsilon, 4)
        profiles.append(profile_of_noisy_cells(cells.tolist(), epsilon=epsilon, question=Q))
    assert 0.91 <= np.mean(covering(profiles)) <= 0.99


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 3.0])
def test_the_noise_is_discrete_laplace(monkeypatch, epsilon):
    """OpenDP cannot be seeded: one honest run in a million fails."""
    seen = Counter()

    def capture(cells, **_):
        seen.update(cell - 1_000 for cell in cells)
        return LikelihoodProfile.from_function(
            question=Q, measure="OR", log_likelihood=lambda x: -x * x
        )

    monkeypatch.setattr("qis.disclosure.privacy.profile_of_noisy_cells", capture)
    budget = PrivacyBudget(10_000)
    table = counts(1_000, 2_000, 1_000, 2_000)
    draws = 1_500
    for _ in range(draws):
        private_counts(table, epsilon=epsilon, budget=budget, now=0)
    reach = math.ceil(3 / epsilon)
    decay = math.exp(-epsilon)
    inner = {k: (1 - decay) / (1 + decay) * decay ** abs(k) for k in range(-reach, reach + 1)}
    expected = [4 * draws * chance for chance in inner.values()]
    found = [seen[k] for k in inner]
    rest = 4 * draws - sum(expected)
    result = stats.chisquare([*found, 4 * draws - sum(found)], [*expected, rest])
    assert result.pvalue > 1e-6


def test_a_budget_is_spent_and_no_more():
    budget = PrivacyBudget(1.0)
    table = counts(3, 9, 1, 8)
    first = private_counts(table, epsilon=0.5, budget=budget, now=0)
    private_counts(table, epsilon=0.3, budget=budget, now=1)
    private_counts(table, epsilon=0.2, budget=budget, now=2)  # 0.5 + 0.3 + 0.2 is 1, not above
    with pytest.raises(DisclosureError, match=r"0\.5 \+ 0\.3 \+ 0\.2 \+ 0\.1 = 1\.1") as caught:
        private_counts(table, epsilon=0.1, budget=budget, now=3)
    assert caught.value.field == "privacy_budget"
    assert (caught.value.actual, caught.value.limit) == (1.1, 1.0)
    assert budget.spent(table.study_id) == 1.0
    assert budget.spent(bytes(8)) == 0.0
    assert first.protection == "noise, epsilon 0.5"


def test_a_restart_keeps_what_was_spent_and_released(tmp_path):
    path = tmp_path / "budget.jsonl"
    table = counts(3, 9, 1, 8)
    profile = private_counts(table, epsilon=0.75, budget=PrivacyBudget(1.0, path), now=0)
    with path.open("ab") as file:
        file.write(b'{"study": "0')
    budget = PrivacyBudget(1.0, path)
    assert budget.spent(table.study_id) == 0.75
    assert budget.covers(profile)
    with pytest.raises(DisclosureError, match=r"0\.75 \+ 0\.5 = 1\.25"):
        private_counts(table, epsilon=0.5, budget=budget, now=1)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b'{"study": "00", "epsilon": "-1", "digest": ""}\n')
    with pytest.raises(StorageDamagedError):
        PrivacyBudget(1.0, path)


def test_a_payment_is_on_disk_before_the_noise_is_drawn(tmp_path, monkeypatch):
    path = tmp_path / "budget.jsonl"

    def crash(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("qis.disclosure.privacy.profile_of_noisy_cells", crash)
    table = counts(3, 9, 1, 8)
    with pytest.raises(KeyboardInterrupt):
        private_counts(table, epsilon=0.5, budget=PrivacyBudget(1.0, path), now=0)
    assert PrivacyBudget(1.0, path).spent(table.study_id) == 0.5


def test_the_gate_lets_pass_what_was_paid_for_and_nothing_that_only_says_so():
    budget = PrivacyBudget(1.0)
    gate = Disclosure.preset("cms", budget=budget)
    profile = private_counts(counts(3, 9, 1, 8), epsilon=1.0, budget=budget, now=0)
    gate.release(profile, now=1)
    preview = gate.preview(profile)
    assert not preview.refusal
    assert "noise, epsilon 1" in str(preview)
    scheme = VectorScheme(dimensions=3)
    with pytest.raises(DisclosureError) as caught:  # nobody knows of how few it is
        gate.check_about(profile, scheme, leaves_machine=False)
    assert caught.value.field == "fingerprint"
    gate.check_about(profile, scheme, people=0, leaves_machine=False)
    # The noisy number of people is no former release to compare with.
    gate.check(counts(60, 200, 70, 200))
    forged = counts(3, 30, 12, 30).profile()
    object.__setattr__(forged, "protection", "noise, epsilon 1")
    with pytest.raises(DisclosureError):
        gate.check(forged)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 0.01, 11.0, math.nan])
def test_an_epsilon_out_of_range_costs_nothing(epsilon):
    budget = PrivacyBudget(1.0)
    with pytest.raises(InputError):
        private_counts(counts(3, 9, 1, 8), epsilon=epsilon, budget=budget, now=0)
    assert budget.spent(counts(3, 9, 1, 8).study_id) == 0.0


def test_noise_may_drown_everything():
    level = profile_of_noisy_cells([-40, -3, -1, 0], epsilon=1.0, question=Q)
    assert (level.n, level.events) == (0, 0)
    low, high = pool_profiles([level]).interval
    assert high - low > 4.0


def test_without_opendp_the_extra_is_named_and_nothing_is_paid(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opendp.prelude", None)
    budget = PrivacyBudget(1.0)
    with pytest.raises(MissingExtraError, match=r"qis-protocol\[dp\]"):
        private_counts(counts(3, 9, 1, 8), epsilon=1.0, budget=budget, now=0)
    assert budget.spent(counts(3, 9, 1, 8).study_id) == 0.0


def test_an_agreement_binds_only_a_closed_roster():
    parties = Roster((Site.of("north", Identity.from_seed(bytes(32)).issuer),))
    gate = Disclosure.preset("datashield", agreement="DUA 2026-03", roster=parties)
    assert (gate.agreement, gate.rules.minimum_cell) == ("DUA 2026-03", 3)
    gate.check(counts(3, 30, 12, 30))
    for refused in (
        lambda: Disclosure.preset("datashield", agreement="DUA", roster=Roster.open()),
        lambda: gate.check_roster(Roster.open()),
    ):
        with pytest.raises(DisclosureError) as caught:
            refused()
        assert caught.value.field == "agreement"
    with pytest.raises(InputError, match="roster"):
        Disclosure.preset("datashield", agreement="DUA")
    Disclosure.preset("datashield").check_roster(Roster.open())


def test_a_synthesis_says_whose_counts_are_not_exact():
    outcomes = [
        counts(20, 60, 30, 60),
        rounded_counts(counts(15, 60, 22, 60), NHS),
        profile_of_noisy_cells([20, 40, 31, 29], epsilon=2.0, question=Q),
    ]
    packets = [
        Packet.sign(
            Identity.from_seed(bytes([number]) * 32),
            outcome=outcome,
            fingerprint=Fingerprint(bytes(32), bytes(8)),
            issued_at=1_800_000_000,
            lifetime_s=86_400,
        )
        for number, outcome in enumerate(outcomes)
    ]
    said = synthesise(packets, model="fixed").explain()
    assert said.count("not exact") == 2
    assert "its counts are not exact: rounded to 5" in said
    assert "its counts are not exact: noise, epsilon 2" in said
    assert "protection: rounded to 5" in packets[1].explain()
    assert "protection" not in packets[0].explain()
