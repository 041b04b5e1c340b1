"""Meta-regression over whole likelihoods, against metafor."""

import json
from pathlib import Path

import numpy as np
import pytest

import qis
from qis.errors import EmbargoError, InputError, NoEstimateError
from qis.here.regression import Regressed, fitted, fitted_at
from qis.synthesis.currency import Likelihood

SYNTHESIS = Path(__file__).parents[1] / "data" / "synthesis"
# Latitude of the thirteen trials of the BCG vaccine, and how they allocated (Colditz 1994).
LATITUDE = (44, 55, 42, 52, 13, 44, 19, 13, 27, 42, 18, 33, 33)
ALLOCATION = (
    *("random",) * 3,
    "random",
    "alternate",
    *("alternate",) * 2,
    "random",
    "random",
    "systematic",
    "systematic",
    "systematic",
    "systematic",
)
DECLARED = (
    qis.Moderator(name="latitude", low=0.0, high=63.5),  # 254 steps of a quarter of a degree
    qis.Moderator(name="allocation", categories=("random", "alternate", "systematic")),
)


def bcg():
    return json.loads((SYNTHESIS / "bcg.json").read_text())


def study_of(*moderators, **settings):
    return qis.Study(
        **{"question": "BCG", "measure": "RR", "model": "random", **settings}, moderators=moderators
    )


def outcomes_of(study):
    effects = bcg()["effects"]
    return [
        qis.Effect(
            study=study,
            measure="RR",
            estimate=y,
            standard_error=v**0.5,
            moderators=study.coded(
                {
                    name: value
                    for name, value in (("latitude", latitude), ("allocation", how))
                    if name in {each.name for each in study.moderators}
                }
            ),
        )
        for y, v, latitude, how in zip(
            effects["yi"], effects["vi"], LATITUDE, ALLOCATION, strict=True
        )
    ]


def test_latitude_and_bcg_as_metafor_has_it():
    """``rma(yi, vi, mods = ~ ablat)``, an example of metafor's documentation."""
    study = study_of(DECLARED[0])
    found = qis.meta_regression(outcomes_of(study), study=study)
    intercept, slope = found.terms
    assert (intercept.name, slope.name) == ("intercept", "latitude")
    assert intercept[1:3] == (
        pytest.approx(0.2515, abs=5e-4),
        pytest.approx(0.2491, abs=5e-4),
    )
    assert slope[1:3] == (
        pytest.approx(-0.0291, abs=5e-5),
        pytest.approx(0.0072, abs=5e-5),
    )
    assert found.tau**2 == pytest.approx(0.0764, abs=5e-4)
    assert found.tests["latitude"].statistic == pytest.approx(16.3571, abs=0.01)
    assert found.tests["latitude"].df == 1
    predicted = found.predict({"latitude": 0.0})
    assert predicted.estimate == intercept.estimate
    assert predicted.interval == intercept.interval


def test_without_moderators_it_is_metafors_random_effects():
    """REML and ML of several sets; counts by the conditional likelihood as ``rma.glmm`` CM.EL."""
    for name in ("bcg", "nielweise2007", "crins2014"):
        data = json.loads((SYNTHESIS / f"{name}.json").read_text())
        effects = data["effects"]
        pairs = list(zip(effects["yi"], effects["vi"], strict=True))
        sites = Regressed.of([Likelihood(precision=1.0 / v, centre=y) for y, v in pairs])
        for method in ("REML", "ML"):
            fit = fitted(sites, np.ones((len(pairs), 1)), scale=0.5, method=method)
            wanted = data["expected"]["inverse_variance"][method]
            assert fit.coefficients[0] == pytest.approx(wanted["est"], abs=2e-4)
            assert fit.tau**2 == pytest.approx(wanted["tau2"], abs=2e-3)


def test_counts_as_rma_glmm_has_it():
    data = json.loads((SYNTHESIS / "crins2014.json").read_text())
    rows = zip(*(data["data"][name] for name in ("ai", "n1i", "ci", "n2i")), strict=True)
    keys = ("events", "total", "control_events", "control_total")
    counts = [qis.Counts(question="q", **dict(zip(keys, row, strict=True))) for row in rows]
    sites = Regressed.of([Likelihood.of([one]) for one in counts if one.is_informative])
    design = np.ones((len(sites.exact), 1))
    wanted = data["expected"]["counts"]["GLMM_CM.EL"]
    fit = fitted(sites, design, scale=0.5, method="ML")
    assert fit.coefficients[0] == pytest.approx(wanted["est"], abs=2e-2)
    assert fit.tau**2 == pytest.approx(wanted["tau2"], abs=2e-2)
    fixed = fitted_at(sites, design, 0.0).coefficients[0]
    assert fixed == pytest.approx(
        data["expected"]["counts"]["exact_conditional_FE"]["log_or"], abs=1e-4
    )


def test_subgroups_and_their_interaction():
    study = study_of(DECLARED[1], model="fixed")
    found = qis.meta_regression(outcomes_of(study), study=study)
    groups = {}
    for how, outcome in zip(ALLOCATION, outcomes_of(study), strict=True):
        groups.setdefault(how, []).append(outcome)
    pooled = {
        how: qis.inverse_variance(
            [o.estimate for o in group], [o.standard_error for o in group], tau2="FE"
        )
        for how, group in groups.items()
    }
    for how, each in pooled.items():
        predicted = found.predict({"allocation": how})
        assert predicted.estimate == pytest.approx(each.estimate)
        assert predicted.standard_error == pytest.approx(each.standard_error)
    # Q between subgroups.
    weights = np.array([each.standard_error**-2 for each in pooled.values()])
    means = np.array([each.estimate for each in pooled.values()])
    between = float(weights @ (means - weights @ means / weights.sum()) ** 2)
    assert found.tests["allocation"].statistic == pytest.approx(between)
    assert found.tests["allocation"].df == 2


def test_the_bubble_plot_shows_each_site():
    study = study_of(*DECLARED)
    found = qis.meta_regression(outcomes_of(study), study=study)
    picture = found.bubble_plot("latitude")
    assert picture.svg().count("<circle") == 13
    assert "latitude" in str(picture)
    assert "<table>" in found._repr_html_()
    with pytest.raises(InputError, match="numbers are latitude"):
        found.bubble_plot("allocation")


def test_sites_without_moderators_are_left_out_and_named():
    study = study_of(DECLARED[0])
    outcomes = outcomes_of(study)
    bare = qis.Effect(study=study, measure="RR", estimate=0.0, standard_error=0.1)
    found = qis.meta_regression(
        [*outcomes, bare], study=study, names=[*map(str, range(13)), "bare"]
    )
    assert found.left_out == ("bare",)
    assert len(found.sites) == 13


def test_what_cannot_be_estimated_is_refused():
    study = study_of(*DECLARED)
    with pytest.raises(InputError, match="more sites are needed"):
        qis.meta_regression(outcomes_of(study)[:2], study=study)
    bare = study_of()
    with pytest.raises(InputError, match="declares no moderators"):
        qis.meta_regression(outcomes_of(bare), study=bare)
    found = qis.meta_regression(outcomes_of(study), study=study)
    with pytest.raises(InputError, match="is missing"):
        found.predict({"latitude": 3.0})
    hidden = study_of(DECLARED[0], embargo_until=2_000_000_000)
    with pytest.raises(EmbargoError):
        qis.meta_regression(outcomes_of(hidden), study=hidden, now=1_800_000_000)


def test_a_group_that_favours_one_side_for_ever_has_no_estimate():
    group = qis.Moderator(name="group", categories=("a", "b"))
    study = qis.Study(question="q", measure="OR", model="fixed", moderators=(group,))
    rows = [("a", 3, 9), ("a", 5, 8), ("b", 0, 4), ("b", 0, 3)]
    counts = [
        qis.Counts(
            study=study,
            events=events,
            total=40,
            control_events=control,
            control_total=40,
            moderators=study.coded({"group": which}),
        )
        for which, events, control in rows
    ]
    with pytest.raises(NoEstimateError, match="favour ever larger"):
        qis.meta_regression(counts, study=study)
