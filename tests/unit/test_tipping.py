"""The tipping-point table against closed forms, and who is counted as missing."""

import math
import statistics

import pytest

import qis
from qis.errors import EmbargoError, InputError, NoEstimateError
from qis.synthesis import tipping_points

NOW = 1_800_000_000
KEYS = [qis.Identity.from_seed(bytes([n]) * 32) for n in range(6)]
PAIRS = [(-0.5, 0.2), (-0.2, 0.3), (-0.7, 0.25)]


def effects(measure="OR", pairs=PAIRS):
    return [
        qis.Effect(question="q", measure=measure, estimate=y, standard_error=s) for y, s in pairs
    ]


def sign(number, outcome):
    return qis.Packet.sign(
        KEYS[number],
        outcome=outcome,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=NOW + number,
        lifetime_s=86_400,
    )


def synthesis(model="fixed", **others):
    return qis.synthesise(effects(**others), model=model, names=list("abc"))


def test_rows_and_tipping_shift_are_those_of_the_closed_form():
    found = tipping_points(synthesis(), missing=4)
    precisions = [s**-2 for _, s in PAIRS]
    whole = sum(precisions)
    pooled = sum(p * y for p, (y, _) in zip(precisions, PAIRS, strict=True)) / whole
    median = statistics.median(precisions)
    assert found.standard_error == pytest.approx(median**-0.5)
    shifts = [-math.log(2), -math.log(1.5), 0.0, math.log(1.5), math.log(2)]
    assert [row.shift for row in found.rows] == pytest.approx(shifts)
    total = whole + 4 * median
    half = 1.959964 / math.sqrt(total)
    for row in found.rows:
        estimate = pooled + row.shift * 4 * median / total
        assert row.estimate == pytest.approx(estimate, abs=1e-9)
        assert row.interval == pytest.approx((estimate - half, estimate + half), abs=1e-6)
    tipping = (half - pooled) * total / (4 * median) - 2 * half * total / (4 * median)
    assert found.tipping_shift == pytest.approx((-pooled - half) * total / (4 * median), abs=1e-4)
    assert tipping == pytest.approx(found.tipping_shift, abs=1e-4)
    assert "times the pooled value" in str(found)


@pytest.mark.parametrize("estimate", [-0.5, 0.05, 0.5])
def test_at_the_tipping_shift_a_limit_meets_no_effect(estimate):
    pairs = [(estimate, 0.3), (estimate + 0.1, 0.4), (estimate - 0.2, 0.35)]
    for model in ("fixed", "random"):
        plain = synthesis(model, pairs=pairs)
        found = tipping_points(plain, missing=3)
        if found.tipping_shift is None:
            assert model == "random"
            continue
        supposed = [(plain.estimate + found.tipping_shift, found.standard_error)] * 3
        again = qis.pool_profiles(effects(pairs=[*pairs, *supposed]), model=model)
        assert min(map(abs, again.interval)) == pytest.approx(0.0, abs=1e-4)


def test_silent_and_suppressed_sites_are_the_missing_ones():
    study = qis.Study(question="q", measure="OR", model="random")
    outcomes = [
        qis.Effect(study=study, measure="OR", estimate=y, standard_error=s) for y, s in PAIRS
    ]
    packets = [sign(k, outcome) for k, outcome in enumerate(outcomes)]
    packets.append(sign(3, qis.Suppressed(study=study)))
    roster = qis.Roster(
        qis.Site.of(name, key.issuer) for name, key in zip("abcdef", KEYS, strict=True)
    )
    found = qis.synthesise(packets, study=study, roster=roster)
    table = tipping_points(found)
    assert table.names == ("d", "e", "f")
    assert table.missing == 3
    assert found.sensitivity == table
    assert "If the 3 missing sites" in found.explain()
    all_there = qis.synthesise(packets[:3], study=study)
    with pytest.raises(InputError, match="no site is silent"):
        tipping_points(all_there)
    assert all_there.sensitivity is None
    assert "missing sites" not in all_there.explain()
    hidden = qis.Study(question="q", measure="OR", model="fixed", embargo_until=NOW + 1000)
    secret = [sign(0, qis.Effect(study=hidden, measure="OR", estimate=0.1, standard_error=0.2))]
    embargoed = qis.synthesise(secret, study=hidden, now=NOW + 5)
    with pytest.raises(EmbargoError):
        tipping_points(embargoed, missing=2)
    with pytest.raises(EmbargoError):
        _ = embargoed.heterogeneity
    with pytest.raises(EmbargoError):
        _ = embargoed.sensitivity


def test_measures_that_are_no_ratios_shift_by_scales_of_tau():
    found = qis.synthesise(effects("MD"), model="random", tau_scale=0.3, names=list("abc"))
    shifts = [row.shift for row in tipping_points(found, missing=2).rows]
    assert shifts == pytest.approx([-0.6, -0.3, 0.0, 0.3, 0.6])
    fixed = qis.synthesise(effects("MD"), model="fixed", names=list("abc"))
    with pytest.raises(InputError, match="tau_scale"):
        tipping_points(fixed, missing=2)
    shares = [qis.Counts(question="q", events=e, total=n) for e, n in ((3, 40), (0, 25), (9, 80))]
    table = tipping_points(qis.synthesise(shares, model="random", names=list("abc")), missing=2)
    assert [row.shift for row in table.rows] == pytest.approx([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert table.tipping_shift is None
    assert "no effect" not in str(table)


def test_what_cannot_be_shifted_is_refused():
    rising = qis.Counts(question="q", events=0, total=20, control_events=3, control_total=22)
    with pytest.raises(NoEstimateError):
        tipping_points(qis.synthesise([rising], model="fixed", names=["a"]), missing=1)
    for wrong in (0, -1, 10**9, 1.5, "2"):
        with pytest.raises(InputError, match="missing"):
            tipping_points(synthesis(), missing=wrong)
