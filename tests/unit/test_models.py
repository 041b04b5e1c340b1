"""The mathematics of models that sites fit together, against fits of everybody's rows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.errors import IncompatibleEvidenceError, InputError, NoEstimateError
from qis.models import ridge_of
from qis.models.expansion import Expansion
from qis.models.impossible import why_impossible
from qis.models.own import own_fit
from qis.outcomes import QuadraticLikelihood
from qis.picture.elements import Area, Words
from qis.synthesis.scale import Scale

RNG = np.random.default_rng(11)
SIZES = (80, 150, 45, 200)
X = [np.column_stack((RNG.normal(50, 10, n), RNG.random(n) < 0.4)).astype(float) for n in SIZES]
TRUTH = np.array([-3.2, 0.05, 0.8])


def eta_of(x):
    return TRUTH[0] + x @ TRUTH[1:]


LABELS = [(RNG.random(len(x)) < 1 / (1 + np.exp(-eta_of(x)))).astype(float) for x in X]
COUNTS = [RNG.poisson(np.exp(eta_of(x))).astype(float) for x in X]
VALUES = [eta_of(x) + RNG.normal(0, 1.5, len(x)) for x in X]
SITES = ("Bern", "Graz", "Köln", "Ulm")


def study(family="logistic", **changes):
    fields = {
        "question": "age, sex | death",
        "kind": "model",
        "family": family,
        "coefficients": ("age", "sex") if family == "cox" else ("intercept", "age", "sex"),
        "purpose": "effect",
    }
    if family == "linear":
        fields["residual_variance"] = 2.25
    return qis.Study(**{**fields, **changes})


def rows_of(declared, sites=None):
    response = {"logistic": ("labels", LABELS), "poisson": ("events", COUNTS)}
    name, values = response.get(declared.family, ("responses", VALUES))
    return {
        site: qis.ModelRows(features=x, **{name: y}).for_study(declared)
        for site, x, y in zip(SITES, X, values, strict=True)
    }


def model_at(rows, points, declared, **others):
    anchors = {site: rows[site].anchored(np.asarray(points[site], float)) for site in rows}
    answers = {site: rows[site].answer(anchors[site]) for site in rows}
    return qis.fit_model(answers, study=declared, anchors=anchors.values(), **others)


def fitted(rows, declared, rounds=6):
    points = dict.fromkeys(rows, np.zeros(len(declared.coefficients)))
    for _ in range(rounds):
        model = model_at(rows, points, declared)
        points = dict.fromkeys(rows, model.point)
    return model


def pooled_fit(family, x, y, penalty=0.0):
    """Newton's method on everybody's rows, written here: coefficients and their covariance."""
    b = np.zeros(x.shape[1])
    if family == "poisson":
        b[0] = math.log(y.mean())
    for _ in range(100):
        eta = x @ b
        mean = {"logistic": lambda e: 1 / (1 + np.exp(-e)), "poisson": np.exp}[family](eta)
        weight = mean * (1 - mean) if family == "logistic" else mean
        information = x.T @ (weight[:, None] * x) + penalty
        b = b + np.linalg.solve(
            information, x.T @ (y - mean) - penalty @ b if np.ndim(penalty) else x.T @ (y - mean)
        )
    return b, np.linalg.inv(information)


def everybody(values):
    x = np.concatenate(X)
    return np.column_stack((np.ones(len(x)), x)), np.concatenate(values)


@pytest.mark.parametrize("family", ["logistic", "poisson"])
def test_the_model_is_that_of_everybodys_rows_and_says_when(family):
    declared = study(family)
    rows = rows_of(declared)
    b, covariance = pooled_fit(family, *everybody(LABELS if family == "logistic" else COUNTS))
    errors = np.sqrt(np.diag(covariance))
    points, said = dict.fromkeys(rows, np.zeros(3)), []
    if family == "poisson":
        points = dict.fromkeys(rows, np.array([math.log(np.concatenate(COUNTS).mean()), 0, 0]))
    for _ in range(8):
        model = model_at(rows, points, declared)
        off = float(np.abs((model.coefficients - b) / errors).max())
        said.append((model.is_converged, off))
        points = dict.fromkeys(rows, model.point)
    assert not said[0][0]
    assert said[-1][0]
    assert all(off < 0.01 for converged, off in said if converged)
    assert said[-1][1] < 1e-3
    assert model.standard_errors == pytest.approx(errors, rel=1e-3)
    assert model.step < 1e-4
    assert model.distance < 0.02


def test_expansions_at_different_anchors_add():
    declared = study()
    rows = rows_of(declared)
    b, covariance = pooled_fit("logistic", *everybody(LABELS))
    errors = np.sqrt(np.diag(covariance))
    points = {site: RNG.multivariate_normal(b, covariance / 400) for site in rows}
    model = model_at(rows, points, declared)
    assert model.is_converged
    assert np.abs((model.coefficients - b) / errors).max() < 0.01
    value = -np.logaddexp(0, -(2 * np.concatenate(LABELS) - 1) * (everybody(LABELS)[0] @ b)).sum()
    assert model.log_likelihood == pytest.approx(value, abs=0.01)


def test_a_linear_model_is_fitted_by_one_answer_wherever_it_was_taken():
    declared = study("linear")
    rows = rows_of(declared)
    x, y = everybody(VALUES)
    points = {site: RNG.normal(0, 0.05, 3) for site in rows}
    model = model_at(rows, points, declared)
    assert model.is_converged
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x / 2.25)))
    off = (model.coefficients - np.linalg.lstsq(x, y, rcond=None)[0]) / errors
    assert np.abs(off).max() < 0.01


def partial_likelihood(b, strata):
    """Cox's, without ties, by its definition."""
    total = 0.0
    for x, times, events in strata:
        eta = x @ b
        for each in np.flatnonzero(events):
            total += eta[each] - math.log(np.exp(eta[times >= times[each]]).sum())
    return total


def test_a_cox_model_is_that_of_all_rows_stratified_by_site():
    declared = study("cox")
    rng = np.random.default_rng(5)
    xs = [x[:40] for x in X]
    times = [rng.exponential(np.exp(3 - eta_of(x))) for x in xs]
    events = [(rng.random(len(x)) < 0.7).astype(float) for x in xs]
    rows = {
        site: qis.ModelRows(features=x, times=t, events=e).for_study(declared)
        for site, x, t, e in zip(SITES, xs, times, events, strict=True)
    }
    model = fitted(rows, declared, rounds=5)
    assert model.is_converged
    strata = list(zip(xs, times, events, strict=True))
    at = partial_likelihood(model.coefficients, strata)
    assert model.log_likelihood == pytest.approx(at, abs=1e-3)
    for index in range(2):
        # A tenth of a standard error away it is lower on both sides, by as much as it should.
        unit = model.covariance[index] / model.standard_errors[index] * 0.1
        for side in (unit, -unit):
            lower = partial_likelihood(model.coefficients + side, strata)
            assert at - lower == pytest.approx(0.005, rel=0.15)


def test_a_model_far_from_its_anchors_says_how_far():
    declared = study()
    model = model_at(rows_of(declared), dict.fromkeys(SITES, np.zeros(3)), declared)
    assert not model.is_converged
    assert model.distance > 0.25
    assert f"within {model.distance:.2g} standard errors" in model.state
    assert "Not converged" in model.summary()


@pytest.mark.parametrize("kind", ["complete", "yes/no"])
def test_separated_data_have_no_estimate_and_a_prior_is_the_way_out(kind):
    rng = np.random.default_rng(3)
    xs, ys = [], []
    for n in (60, 90):
        x = np.column_stack((rng.normal(size=n), rng.random(n) < 0.15)).astype(float)
        if kind == "complete":
            x[:, 1] = rng.normal(size=n)
            y = (x[:, 0] + 0.2 * x[:, 1] > 0.3).astype(float)
        else:
            y = np.where(x[:, 1] > 0, 1.0, rng.random(n) < 1 / (1 + np.exp(0.3 - 0.5 * x[:, 0])))
        xs.append(x)
        ys.append(y)
    declared = study()
    rows = {
        site: qis.ModelRows(features=x, labels=y).for_study(declared)
        for site, x, y in zip(SITES, xs, ys, strict=False)
    }
    points, said = dict.fromkeys(rows, np.zeros(3)), []
    for _ in range(14):
        model = model_at(rows, points, declared)
        said.append((model.is_converged, model.separation))
        if model.separation:
            break
        points = dict.fromkeys(rows, model.point)
    assert not any(converged for converged, _ in said)
    assert model.separation == (("sex",) if kind == "yes/no" else declared.coefficients)
    assert model.coefficients is None
    assert model.to_dict()["estimate"] == [None] * 3
    assert "prior='log-F'" in model.state
    with pytest.raises(NoEstimateError, match="no finite estimate"):
        model.predict([[0.0, 1.0]])
    for prior, scale in (("log-F", 1.0), ("normal", 2.0)):
        way_out = study(prior=prior, prior_scale=scale)
        again = {
            site: qis.ModelRows(features=x, labels=y).for_study(way_out)
            for site, x, y in zip(SITES, xs, ys, strict=False)
        }
        model = fitted(again, way_out, rounds=12)
        assert model.is_converged
        x, y = np.concatenate(xs), np.concatenate(ys)
        x = np.column_stack((np.ones(len(x)), x))
        if prior == "normal":
            b, _ = pooled_fit("logistic", x, y, np.diag([0.0, 0.25, 0.25]))
        else:  # one pseudo-person for each coefficient, half with the event
            b = weighted_fit(
                np.vstack((x, np.diag([0.0, 1.0, 1.0])[1:], np.diag([0.0, 1.0, 1.0])[1:])),
                np.concatenate((y, [1, 1, 0, 0])),
                np.concatenate((np.ones(len(y)), [0.5] * 4)),
            )
        assert model.coefficients == pytest.approx(b, abs=5e-3)


def weighted_fit(x, y, weights):
    b = np.zeros(x.shape[1])
    for _ in range(200):
        p = 1 / (1 + np.exp(-x @ b))
        step = np.linalg.solve(
            x.T @ ((weights * p * (1 - p))[:, None] * x), x.T @ (weights * (y - p))
        )
        b = b + step * min(1.0, 2.0 / np.abs(x @ step).max())
    return b


def test_q_of_a_coefficient_is_the_gain_of_a_coefficient_for_each_site():
    declared = study("linear")
    model = model_at(rows_of(declared), dict.fromkeys(SITES, np.zeros(3)), declared)
    x, y = everybody(VALUES)
    site = np.repeat(np.arange(4), SIZES)
    for index, q in enumerate(model.heterogeneity):
        own = np.column_stack([x[:, index] * (site == each) for each in range(4)])
        wide = np.column_stack((np.delete(x, index, axis=1), own))
        rss = [((y - z @ np.linalg.lstsq(z, y, rcond=None)[0]) ** 2).sum() for z in (x, wide)]
        assert q.q == pytest.approx((rss[0] - rss[1]) / 2.25, rel=1e-3, abs=1e-3)
        assert q.df == 3
    forest = model.forest("age")
    assert [row.site for row in forest] == list(SITES)
    weights = np.array([row.standard_error**-2 for row in forest])
    assert weights @ [row.estimate for row in forest] / weights.sum() == pytest.approx(
        model.coefficients[1], rel=1e-3
    )


@pytest.mark.parametrize("family", ["logistic", "poisson", "linear"])
def test_one_coefficient_is_drawn_site_by_site(family):
    declared = study(family)
    rows = rows_of(declared)
    begin = math.log(np.concatenate(COUNTS).mean()) if family == "poisson" else 0.0
    model = model_at(rows, dict.fromkeys(SITES, np.array([begin, 0.0, 0.0])), declared)
    picture = model.forest_plot("sex")
    shown = {each.text for each in picture.elements if isinstance(each, Words)}
    scale = Scale(measure={"logistic": "OR", "poisson": "IRR", "linear": "MD"}[family])
    assert {scale.heading, *SITES} <= shown
    assert scale.numbers(model.coefficients[2], tuple(model.intervals[2])) in shown
    squares = [
        each for each in picture.elements if isinstance(each, Area) and "1f4e8c" in each.colour
    ]
    centres = [sum(x for x, _ in each.points) / 4 for each in squares if len(each.points) == 4]
    assert centres == pytest.approx(
        [picture.axis.x(each.estimate) for each in model.forest("sex")], abs=1e-6
    )
    q = model.heterogeneity[2]
    assert f"Q {q.q:.2f} on 3 df" in str(picture)
    assert ("Not converged" in str(picture)) is not model.is_converged
    # An intercept is what is expected of somebody whose features are all zero.
    heading = {"logistic": "PLO [95 %]", "poisson": "IRLN [95 %]", "linear": "MN [95 %]"}[family]
    assert heading in str(model.forest_plot("intercept"))
    with pytest.raises(InputError, match="no coefficient"):
        model.forest_plot("weight")
    if family != "linear":
        with pytest.raises(InputError, match="only linear models have a unit"):
            model.forest_plot("sex", unit="mmHg")
    with pytest.raises(NoEstimateError, match="No site"):
        qis.fit_model({}, study=declared).forest_plot("sex")


def test_a_picture_of_predictions_says_that_it_is_shrunk():
    declared = study(
        purpose="prediction",
        coefficients=("age", "sex"),
        feature_means=(50.0, 0.4),
        feature_scales=(10.0, 0.5),
    )
    model = model_at(rows_of(declared), dict.fromkeys(SITES, np.zeros(2)), declared)
    text = " ".join(str(model.forest_plot("age", title="mine")).split())
    assert text.startswith("mine ")
    assert "shrunk towards zero" in text
    assert "one declared standard deviation" in text


def test_a_ridge_is_strong_where_there_is_nothing_and_weak_where_there_is_much():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 6))
    nothing = ridge_of(x.T @ x, x.T @ rng.normal(size=80))
    much = ridge_of(x.T @ x, x.T @ (x @ np.full(6, 2.0) + rng.normal(size=80)))
    assert nothing.precision > 20 * much.precision
    assert much.coefficients == pytest.approx(np.full(6, 2.0), abs=0.3)
    few = rng.normal(size=(8, 20))  # fewer people than coefficients
    found = ridge_of(few.T @ few, few.T @ (few[:, 0] * 3))
    assert np.isfinite(found.coefficients).all()
    # The marginal likelihood of the responses themselves is largest at the same precision.
    y = x @ np.array([0.4, -0.2, 0, 0, 0.1, 0.3]) + rng.normal(size=80)
    logs = np.linspace(-1, 7, 161)
    heights = []
    for log in logs:
        covariance = np.eye(80) + x @ x.T / math.exp(log)
        heights.append(-np.linalg.slogdet(covariance)[1] - y @ np.linalg.solve(covariance, y))
    best = logs[int(np.argmax(heights))]
    assert math.log(ridge_of(x.T @ x, x.T @ y).precision) == pytest.approx(best, abs=0.06)


def prediction(**changes):
    x = np.concatenate(X)
    return study(
        coefficients=("age", "sex"),
        purpose="prediction",
        feature_means=tuple(x.mean(axis=0)),
        feature_scales=tuple(x.std(axis=0)),
        **changes,
    )


def test_predictions_have_own_intercepts_and_are_judged_on_own_rows():
    declared = prediction()
    rows = rows_of(declared)
    model = fitted(rows, declared)
    assert model.is_converged
    own = own_fit(rows["Ulm"], model.point)
    here = model.seen_from(own)
    predictions = here.predict(X[3])
    assert predictions.sum() == pytest.approx(LABELS[3].sum(), rel=1e-6)  # its own intercept
    cases, rest = predictions[LABELS[3] == 1], predictions[LABELS[3] == 0]
    assert own.auc == pytest.approx((cases[:, None] > rest).mean(), abs=1e-9)
    assert own.log_loss == pytest.approx(
        -np.mean(np.log(np.where(LABELS[3] == 1, predictions, 1 - predictions)))
    )
    assert own.expected == pytest.approx(own.observed)
    eta = np.log(predictions / (1 - predictions))
    slope, _ = pooled_fit("logistic", np.column_stack((np.ones(len(eta)), eta)), LABELS[3])
    assert own.slope == pytest.approx(slope[1], rel=1e-4)
    assert "not confidence intervals" in here.summary()
    assert "AUC" in here.summary()
    with pytest.raises(InputError, match="own intercept"):
        model.predict(X[3])
    assert model.predict(X[3], intercept=own.intercept) == pytest.approx(predictions)


def test_an_intercept_is_left_out_of_a_ridge_and_of_what_the_data_choose():
    rng = np.random.default_rng(12)
    x = np.column_stack((rng.normal(size=(70, 3)), np.ones(70)))[:, [0, 3, 1, 2]]
    y = x @ [0.3, 5.0, -0.2, 0.0] + rng.normal(size=70)
    total, pull = x.T @ x, x.T @ y
    found = ridge_of(total, pull, intercept=1)
    penalised = total + found.precision * np.diag([1.0, 0.0, 1.0, 1.0])
    assert found.coefficients == pytest.approx(np.linalg.solve(penalised, pull))
    assert found.covariance == pytest.approx(np.linalg.inv(penalised))
    # As of the same data about their means, which is what a flat prior leaves.
    off = np.delete(x, 1, axis=1) - np.delete(x, 1, axis=1).mean(axis=0)
    assert found.precision == pytest.approx(ridge_of(off.T @ off, off.T @ y).precision)
    for wrong in (4, -1, True, "age"):
        with pytest.raises(InputError, match="intercept"):
            ridge_of(total, pull, intercept=wrong)
    with pytest.raises(InputError, match="no information on the intercept"):
        ridge_of(np.diag([1.0, 0.0]), [1.0, 0.0], intercept=1)


def test_predictions_with_a_common_intercept_are_moved_to_a_sites_own_rate():
    declared = study(
        coefficients=("intercept", "age", "sex"),
        purpose="prediction",
        feature_means=(50.0, 0.4),
        feature_scales=(10.0, 0.5),
    )
    rows = rows_of(declared)
    model = fitted(rows, declared)
    assert model.is_converged
    x, y = everybody(LABELS)
    standard = np.column_stack((x[:, 0], (x[:, 1:] - [50.0, 0.4]) / [10.0, 0.5]))
    b, _ = pooled_fit("logistic", standard, y, model.precision * np.diag([0.0, 1.0, 1.0]))
    assert model.coefficients == pytest.approx(b, abs=2e-3)
    # Who has no rows predicts with what all have in common.
    common = 1 / (1 + np.exp(-standard @ model.coefficients))
    assert model.predict(x[:, 1:]) == pytest.approx(common)
    own = own_fit(rows["Ulm"], model.coefficients)
    here = model.seen_from(own)
    assert here.predict(X[3]).sum() == pytest.approx(LABELS[3].sum(), rel=1e-6)
    assert own.expected == pytest.approx(own.observed)
    assert model.predict(X[3], intercept=own.intercept) == pytest.approx(here.predict(X[3]))
    assert "predicts with its own" in " ".join(model.summary().split())


def test_a_prediction_with_fewer_people_than_coefficients_is_fitted():
    rng = np.random.default_rng(8)
    size = 12
    declared = study(
        coefficients=tuple(f"x{k}" for k in range(size)),
        purpose="prediction",
        feature_means=(0.0,) * size,
        feature_scales=(1.0,) * size,
    )
    rows = {}
    for site in SITES:
        x = rng.normal(size=(9, size))
        y = (rng.random(9) < 1 / (1 + np.exp(-x[:, 0]))).astype(float)
        y[:2] = 0, 1
        rows[site] = qis.ModelRows(features=x, labels=y).for_study(declared)
    model = fitted(rows, declared)
    assert model.is_converged
    assert model.coefficients.shape == (size,)


FAMILIES = ("logistic", "logistic, own", "poisson", "cox", "linear")


def honest(family, seed):
    """An expansion of honest rows at an anchor that may fit very badly."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    x = rng.normal(size=(n, 2)) * np.exp(rng.normal(0, 2, 2))
    if rng.random() < 0.5:
        x[:, 1] = rng.random(n) < rng.random()
    name = family.split(",")[0]
    declared = study(name)
    if family == "logistic, own":
        declared = study(coefficients=("age", "sex"))
    p = len(declared.coefficients)
    at = np.zeros(p)
    where = rng.integers(3)
    if where:
        spread = 3.0 if where == 1 else 0.5
        at = rng.normal(0, spread, p) / np.array([1.0] * (p - 2) + list(np.abs(x).max(axis=0) + 1))
    if where == 2 and p == 3:
        at[1:] = 0
        at[0] *= 12
    chance = rng.random()
    labels = (rng.random(n) < chance).astype(float)
    given = {
        "logistic": {"labels": labels},
        "poisson": {"events": rng.poisson(np.exp(rng.normal(0, 2)), n)},
        "linear": {"responses": rng.normal(size=n) * 100},
        "cox": {"times": np.ceil(5 * rng.random(n)), "events": labels},
    }[name]
    rows = qis.ModelRows(features=x, **given).for_study(declared)
    anchor = rows.anchored(at)
    try:
        answer = rows.answer(anchor)
    except InputError:
        return None, declared  # too far from the data for its own site to send it
    return Expansion(site="A", outcome=answer, anchor=np.array(anchor.coefficients)), declared


@pytest.mark.parametrize("family", FAMILIES)
def test_no_honest_expansion_is_called_impossible(family):
    """At anchors that fit badly; benchmarks/models.py makes 10,000."""
    sent = 0
    for seed in range(80):
        expansion, declared = honest(family, seed)
        if expansion is not None:
            sent += 1
            assert why_impossible(expansion, declared) == "", seed
    assert sent > 50


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score": [900.0, 0.0, 0.0]}, "standard deviations long"),
        ({"score": [0.0, 300.0, 0.0]}, "standard deviations long"),
        ({"information": np.diag([400.0, 100.0, 100.0])}, "information on the intercept"),
        ({"log_likelihood": 3.0}, "never above 0"),
        ({"events": 90}, "90 events among 80 people"),
        ({"events": None}, "how many events"),
    ],
)
def test_what_no_people_can_have_is_refused_and_named(changes, words):
    declared = study()
    fields = {
        "model": "logistic",
        "score": [1.0, 0.0, 0.0],
        "information": np.diag([20.0, 100.0, 100.0]),
        "anchor": np.zeros(3),
        "n": 80,
        "events": 41,
        "study": declared,
    }
    bare = qis.fit_model({"A": QuadraticLikelihood.from_terms(**fields)}, study=declared)
    assert len(bare.sites) == 1
    false = QuadraticLikelihood.from_terms(**{**fields, **changes})
    with pytest.raises(InputError, match=words):
        qis.fit_model({"A": false}, study=declared)


def test_what_does_not_belong_together_is_refused():
    declared = study()
    rows = rows_of(declared)["Ulm"]
    with pytest.raises(InputError, match="has not come"):
        qis.fit_model({"Ulm": rows.answer(np.array([0.1, 0.2, 0.3]))}, study=declared)
    with pytest.raises(IncompatibleEvidenceError, match="another study"):
        qis.fit_model({"Ulm": rows.answer(np.zeros(3))}, study=study(answers=2))
    with pytest.raises(InputError, match="kind='model'"):
        qis.fit_model({}, study=qis.Study(question="a vs b"))
    nothing = qis.fit_model({}, study=declared)
    assert nothing.coefficients is None
    assert "No site" in nothing.state


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"features": [[1.0, 2.0]], "events": [1]}, "has no events"),
        ({"features": [[1.0, 2.0]]}, "needs labels"),
        ({"features": [[1.0]], "labels": [1]}, "2 features"),
        ({"features": [[1.0, 2.0]], "labels": [1, 0]}, "2 entries for 1 rows"),
        ({"features": {"age": [1.0]}, "labels": [1]}, "no column 'sex'"),
        ({"features": {"age": [1.0], "sex": [1.0, 0.0]}, "labels": [1]}, "differ in length"),
        ({"features": [[1.0, math.nan]], "labels": [1]}, "features"),
    ],
)
def test_rows_that_do_not_fit_the_study_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        qis.ModelRows(**given).for_study(study())


def test_columns_by_name_are_put_in_order():
    table = {"sex": X[0][:, 1], "age": X[0][:, 0], "unused": X[0][:, 0]}
    mine = qis.ModelRows(features=table, labels=LABELS[0]).for_study(study())
    assert mine.answer(np.zeros(3)) == rows_of(study())["Bern"].answer(np.zeros(3))


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(SITES), seed=st.integers(0, 99))
def test_the_order_of_sites_changes_no_bit(order, seed):
    declared = study()
    rows = rows_of(declared)
    rng = np.random.default_rng(seed)
    points = {site: rng.normal(0, 0.01, 3) for site in SITES}
    anchors = {site: rows[site].anchored(points[site]) for site in SITES}
    answers = {site: rows[site].answer(anchors[site]) for site in SITES}
    one = qis.fit_model(answers, study=declared, anchors=anchors.values())
    other = qis.fit_model(
        {site: answers[site] for site in order}, study=declared, anchors=anchors.values()
    )
    assert one.point.tobytes() == other.point.tobytes()
    assert one.point_covariance.tobytes() == other.point_covariance.tobytes()
