"""What a forest plot says of subgroups, and the columns of measured values."""

import re

import pytest
from scipy.stats import chi2

import qis
from qis.synthesis.forest_groups import between_groups

QUESTION = "drug vs placebo | death"
EFFECTS = {"Bern": (-0.9, 0.2), "Oslo": (-0.6, 0.25), "Ulm": (0.1, 0.2), "Wien": (0.3, 0.3)}
NORTH_SOUTH = {"Bern": "north", "Oslo": "north", "Ulm": "south", "Wien": "south"}


def pooled(model, effects=EFFECTS):
    outcomes = [
        qis.Effect(question=QUESTION, measure="MD", estimate=y, standard_error=s, n=50)
        for y, s in effects.values()
    ]
    tau_scale = {"tau_scale": 1.0} if model == "random" else {}
    return qis.synthesise(outcomes, names=list(effects), model=model, **tau_scale)


def members(synthesis, groups):
    found = {}
    for site in synthesis.sites:
        found.setdefault(groups[site.name], []).append(site)
    return found


def between(estimates, errors):
    weights = [1.0 / s**2 for s in errors]
    mean = sum(w * y for w, y in zip(weights, estimates, strict=True)) / sum(weights)
    return sum(w * (y - mean) ** 2 for w, y in zip(weights, estimates, strict=True))


def test_a_fixed_effect_for_each_group_is_compared_with_one_for_all():
    text = between_groups(pooled("fixed"), members(pooled("fixed"), NORTH_SOUTH))
    groups = [[EFFECTS[name] for name in pair] for pair in (("Bern", "Oslo"), ("Ulm", "Wien"))]
    weights = [sum(1.0 / s**2 for _, s in group) for group in groups]
    means = [sum(y / s**2 for y, s in group) / w for group, w in zip(groups, weights, strict=True)]
    q = between(means, [w**-0.5 for w in weights])
    assert f"likelihood-ratio Q {q:.2f} on 1 df, p < 0.001." in text
    assert chi2.sf(q, 1) < 0.001


def test_random_effects_are_compared_by_their_subtotals_each_with_a_tau_of_its_own():
    whole = pooled("random")
    text = between_groups(whole, members(whole, NORTH_SOUTH))
    parts = [
        pooled("random", {n: e for n, e in EFFECTS.items() if NORTH_SOUTH[n] == group}).random
        for group in ("north", "south")
    ]
    q = between([p.estimate for p in parts], [p.standard_error for p in parts])
    assert f"Between subgroups: Q {q:.2f} on 1 df, p = {chi2.sf(q, 1):.3f} " in text
    assert f"tau within: north {parts[0].tau:.2f}, south {parts[1].tau:.2f}" in text
    picture = whole.forest_plot(subgroups=NORTH_SOUTH)
    assert re.sub(r"\s+", " ", text) in re.sub(r"\s+", " ", str(picture))
    assert "Between subgroups" not in str(whole.forest_plot())


def test_what_cannot_be_compared_is_said():
    whole = pooled("random")
    text = between_groups(whole, members(whole, {**NORTH_SOUTH, "Oslo": "south"}))
    assert text == "Between subgroups: not tested, as 'north' has one site, which shows no tau."
    counts = [
        qis.Counts(question=QUESTION, events=0, total=20, control_events=c, control_total=20)
        for c in (3, 4, 2, 5)
    ]
    counts[3] = qis.Counts(
        question=QUESTION, events=4, total=20, control_events=5, control_total=20
    )
    random = qis.synthesise(counts, names=list(EFFECTS), model="random", tau_scale=0.5)
    assert "as 'north' has no estimate" in between_groups(random, members(random, NORTH_SOUTH))
    fixed = qis.synthesise(counts, names=list(EFFECTS), model="fixed")
    assert re.search(
        r"Q \d+\.\d\d on 1 df, p = 0\.\d+ \(by 1,999 simulations\)",
        between_groups(fixed, members(fixed, NORTH_SOUTH)),
    )


def moments(drug, placebo, **named):
    return qis.Moments.from_values(drug, placebo, question=QUESTION, **named)


def test_measured_values_have_people_and_mean_and_deviation_by_arm():
    ulm = [moments([51.0, 53.5, 60.25], [40.0, 44.0, 41.0, 47.0])]
    bern = [
        moments([50.0, 52.0], [41.0, 45.0], cohort="a"),
        moments([58.0, 61.0], [39.0, 46.0, 47.0], cohort="b"),
    ]
    found = qis.synthesise([*ulm, *bern], names=["Ulm", "Bern", "Bern"], model="fixed")
    text = str(found.forest_plot()).splitlines()
    assert re.search(r"Site +drug n +drug mean \(SD\) +placebo n +placebo mean \(SD\)", text[1])
    # Both cohorts of Bern: the mean and the deviation of all four, of all five.
    assert re.match(r"Bern +4 +55\.25 \(5\.12\) +5 +43\.60 \(3\.44\)", text[2])
    assert re.match(r"Ulm +3 +54\.92 \(4\.78\) +4 +43\.00 \(3\.16\)", text[3])
    assert re.match(r"Fixed effect[^─]* 7 {3,}9 ", text[4])


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0e9, 2.0e9, 3.0e9], "2e+09 (1e+09)"), ([1e-9, 2e-9], "1.5e-09 (7.07e-10)"),
        ([100.0, 300.0], "200 (141)"), ([5.0, 5.0], "5"), ([0.125], "0.125"),
    ],
)  # fmt: skip
def test_means_have_as_many_decimals_as_their_deviation(values, shown):
    one_arm = qis.Moments.from_values(values, question=QUESTION)
    text = str(qis.synthesise([one_arm, one_arm], names=["A", "B"], model="fixed").forest_plot())
    assert re.search(rf"^A +{len(values)} +{re.escape(shown)} ", text, re.MULTILINE)


def test_a_curve_is_drawn_to_the_edge_of_the_picture():
    svg = pooled("fixed").profile_plot().svg()
    assert "95% interval" in svg
    lines = re.findall(r'points="([^"]*)"[^>]*stroke="#b03030"', svg)
    (curve,) = (points for line in lines if len(points := line.split()) > 2)  # not the legend's
    for end in (curve[0], curve[-1]):
        assert float(end.partition(",")[2]) == pytest.approx(364.0, abs=0.05)
