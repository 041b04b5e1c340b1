"""Coefficients of models that lifelines and statsmodels have really fitted."""

import warnings

import numpy as np
import pandas as pd
import pytest

import qis

with warnings.catch_warnings():  # what these libraries and theirs say while they are imported
    warnings.simplefilter("ignore")
    import lifelines
    import statsmodels.api as sm
    import statsmodels.formula.api as smf
    from sklearn.linear_model import LogisticRegression

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(7)
PEOPLE = pd.DataFrame({"drug": RNG.integers(0, 2, 240), "age": RNG.normal(60.0, 8.0, 240)})
PEOPLE["died"] = (RNG.random(240) < 0.3 + 0.2 * PEOPLE.drug).astype(int)
PEOPLE["days"] = RNG.exponential(30.0, 240) * np.where(PEOPLE.drug, 0.6, 1.0) + 0.01
PEOPLE["score"] = PEOPLE.age + 2.0 * PEOPLE.drug + RNG.normal(0.0, 1.0, 240)
BINOMIAL = sm.families.Binomial


def cox(**options):
    return lifelines.CoxPHFitter(**options).fit(
        PEOPLE[["days", "died", "drug", "age"]], "days", "died"
    )


def effect(result, term="drug", **options):
    return qis.Effect.from_fitted(result, term=term, question="drug | death", **options)


def refusal(result, term="drug", **options):
    with pytest.raises(qis.InputError) as caught:
        effect(result, term, **options)
    return str(caught.value)


def test_a_cox_model_of_lifelines_is_the_one_that_we_fit_ourselves():
    found = effect(cox())
    frame = PEOPLE[["days", "died", "drug"]]
    alone = lifelines.CoxPHFitter().fit(frame, "days", "died")
    own = qis.LikelihoodProfile.from_survival(
        question="drug | death", times=frame.days, events=frame.died, treated=frame.drug
    )
    pooled = qis.pool_profiles([own])
    assert effect(alone).estimate == pytest.approx(pooled.estimate, abs=1e-3)
    assert effect(alone).standard_error == pytest.approx(pooled.standard_error, rel=0.01)
    assert (found.measure, found.n) == ("HR", 240)
    assert found.provenance == "lifelines CoxPHFitter, term 'drug'"


FITS = {
    "logit": (lambda: smf.logit("died ~ drug + age", PEOPLE).fit(disp=0), "OR", 240),
    "logit of arrays": (
        lambda: sm.Logit(PEOPLE.died.to_numpy(), sm.add_constant(PEOPLE.drug.to_numpy())).fit(
            disp=0
        ),
        "OR",
        240,
    ),
    "glm logit": (lambda: smf.glm("died ~ drug", PEOPLE, family=BINOMIAL()).fit(), "OR", 240),
    "glm log": (
        lambda: smf.glm("died ~ drug", PEOPLE, family=BINOMIAL(sm.families.links.Log())).fit(),
        "RR",
        240,
    ),
    "phreg": (lambda: smf.phreg("days ~ drug", PEOPLE, status="died").fit(), "HR", 240),
    "poisson": (lambda: smf.poisson("died ~ drug", PEOPLE).fit(disp=0, cov_type="HC1"), "RR", None),
    "gee": (
        lambda: smf.gee("died ~ drug", PEOPLE.index // 4, PEOPLE, family=BINOMIAL()).fit(),
        "OR",
        None,
    ),
    "ols": (lambda: smf.ols("score ~ drug + age", PEOPLE).fit(), "MD", 240),
}


@pytest.mark.parametrize("name", FITS)
def test_statsmodels(name):
    fit, measure, n = FITS[name]
    result = fit()
    term = "x1" if name == "logit of arrays" else "drug"
    found = effect(result, term, measure=measure)
    at = list(result.model.exog_names).index(term)
    assert found.estimate == np.asarray(result.params)[at]
    assert found.standard_error == np.asarray(result.bse)[at]
    assert (found.measure, found.n) == (measure, n)
    assert repr(term) in found.provenance


def test_robust_standard_errors_are_said():
    assert "HC1" in effect(FITS["poisson"][0](), measure="RR").provenance
    robust = lifelines.CoxPHFitter().fit(
        PEOPLE[["days", "died", "drug"]], "days", "died", robust=True
    )
    assert "robust" in effect(robust).provenance


def test_splines_have_the_same_terms():
    fitted = cox(baseline_estimation_method="spline", n_baseline_knots=2)
    assert effect(fitted).estimate == pytest.approx(effect(cox()).estimate, abs=0.05)


def test_people_are_counted_by_frequencies_and_not_guessed_from_weights():
    frame = pd.DataFrame({"drug": [0, 0, 1, 1], "died": [0, 1, 0, 1], "count": [50, 40, 30, 60]})
    grouped = smf.glm("died ~ drug", frame, family=BINOMIAL(), freq_weights=frame["count"]).fit()
    assert effect(grouped).n == 180
    weighted = lifelines.CoxPHFitter().fit(
        PEOPLE[["days", "died", "drug"]].assign(w=2), "days", "died", weights_col="w"
    )
    assert effect(weighted).n is None
    assert effect(weighted, n=480).n == 480


def test_penalised_fits_and_those_without_standard_errors_are_refused():
    assert "penalizer=0" in refusal(cox(penalizer=0.1))
    assert "penalizer=0" in refusal(cox(penalizer=np.array([0.0, 0.1])))
    model = smf.logit("died ~ drug", PEOPLE)
    assert "fit_regularized" in refusal(model.fit_regularized(disp=0, alpha=1.0))
    glm = smf.glm("died ~ drug", PEOPLE, family=BINOMIAL())
    assert "fit_regularized" in refusal(glm.fit_regularized(alpha=0.1))
    learned = LogisticRegression().fit(PEOPLE[["drug"]], PEOPLE.died)
    assert "QuadraticLikelihood.from_logistic" in refusal(learned)


def test_what_has_no_measure_is_refused():
    aft = lifelines.WeibullAFTFitter().fit(PEOPLE[["days", "died", "drug"]], "days", "died")
    assert "no logarithms of hazard ratios" in refusal(aft)
    assert "no measure fits" in refusal(smf.probit("died ~ drug", PEOPLE).fit(disp=0))
    assert "RD" in refusal(smf.ols("died ~ drug", PEOPLE).fit())  # which of them has to be said
    assert "is OR" in refusal(FITS["logit"][0](), measure="HR")
    assert "not fitted" in refusal(lifelines.CoxPHFitter())
    assert "no fitted model" in refusal({"drug": 0.3})
    assert "give a fitted result" in refusal(lifelines.CoxPHFitter)


def test_a_fit_that_ran_away_is_refused():
    frame = pd.DataFrame({"drug": [0, 0, 0, 0, 1, 1, 1, 1], "died": [0, 0, 0, 1, 1, 1, 1, 1]})
    glm = smf.glm("died ~ drug", frame, family=BINOMIAL()).fit()
    assert "whole likelihood" in refusal(glm)
    unfinished = smf.logit("died ~ drug + age", PEOPLE).fit(disp=0, maxiter=1)
    assert "did not converge" in refusal(unfinished)


def test_an_unknown_term_lists_the_known_ones():
    assert "Intercept, drug, age" in refusal(FITS["logit"][0](), "treatment")
    assert "drug, age" in refusal(cox(), "treatment")


def test_a_study_gives_the_measure():
    study = qis.Study(question="drug | death", measure="MD")
    found = qis.Effect.from_fitted(FITS["ols"][0](), term="drug", study=study)
    assert found.measure == "MD"
