"""Models that sites fit together, on public data sets: whether they are right and say so.

``python benchmarks/models.py [--json]``. The data sets come with scikit-learn, statsmodels and
lifelines (extra `[test]`). Rows are dealt to four sites of unequal size; sites take turns in random
order, in each of which 30 % of what is new does not arrive; they answer as the loop does, at most
six times. Pooled fits are those of statsmodels. Results:

- sets: data sets; finite_sets: those whose pooled fit is finite, by a linear program.
- converged_right: share of the runs on finite sets that end converged within .01 standard errors.
- converged_wrong: models, of any turn, that said converged and were further off.
- said_not_converged: runs on finite sets that ended not converged, and said so.
- rare_exposure_divergences: of 100 runs with a yes/no exposure of .5 to 1 %.
- separated_named: share of runs on separated sets that end with the separation named.
- answers_mean: answers a site gave.
- steered_recovers_more_than_one_answer: of 1,000 sites whose anchors a false member steers, those
  of which all answers together tell a small group that the first alone does not.
- steered_without_gate: the same where the disclosure rules are not asked; the attack works.
- honest_set_aside: of 10,000 expansions of honest rows of each of four families (of logistic ones
  also with own intercepts), those called impossible.
- auc_minus_tuned_ridge: mean difference of held-out AUC, purpose="prediction" less a ridge tuned by
  cross-validation on all rows together (with a constant for each site).
"""

import argparse
import itertools
import json
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import qis
from qis.errors import DisclosureError, InputError
from qis.models import Expansion, FittedModel, StudyRows, fit_model
from qis.models.answering import is_due, next_anchor, start_of
from qis.models.impossible import why_impossible
from qis.models.own import own_fit
from qis.outcomes import Anchor, QuadraticLikelihood

Floats = NDArray[np.float64]
SHARES = (0.4, 0.3, 0.2, 0.1)
SITES = ("A", "B", "C", "D")
LOST = 0.3
WITHIN = 0.01
"""Standard errors within which a model is right."""


@dataclass(frozen=True)
class DataSet:
    """A public data set: features of shape (n, f), and the response of its family."""

    name: str
    family: str
    x: Floats
    y: Floats
    events: Floats | None = None


def data_sets() -> Iterator[DataSet]:
    """Public data sets of four families."""
    from sklearn import datasets as sk  # noqa: PLC0415

    cancer = sk.load_breast_cancer()
    yield DataSet("breast cancer, 5", "logistic", cancer.data[:, [0, 1, 4, 6, 8]], cancer.target)
    yield DataSet("breast cancer, 2", "logistic", cancer.data[:, [1, 4]], cancer.target)
    iris = sk.load_iris()
    yield DataSet("iris, setosa", "logistic", iris.data, (iris.target == 0) * 1.0)
    late = iris.target > 0
    yield DataSet("iris, virginica", "logistic", iris.data[late], (iris.target[late] == 2) * 1.0)
    wine = sk.load_wine()
    yield DataSet("wine, 12", "logistic", wine.data[:, :12], (wine.target == 0) * 1.0)
    yield DataSet("wine, 3", "logistic", wine.data[:, [1, 2, 4]], (wine.target == 1) * 1.0)
    diabetes = sk.load_diabetes(scaled=False)
    yield DataSet("diabetes", "linear", diabetes.data, diabetes.target)
    yield DataSet("diabetes, over 140", "logistic", diabetes.data, (diabetes.target > 140) * 1.0)
    yield from _of_statsmodels()
    yield from _of_lifelines()


def _of_statsmodels() -> Iterator[DataSet]:
    from statsmodels import datasets as sm  # noqa: PLC0415

    fair = sm.fair.load_pandas().data
    yield DataSet(
        "fair", "logistic", fair.iloc[:, :8].to_numpy(), (fair.affairs > 0).to_numpy() * 1.0
    )
    spector = sm.spector.load_pandas().data
    yield DataSet("spector", "logistic", spector.iloc[:, :3].to_numpy(), spector.GRADE.to_numpy())
    anes = sm.anes96.load_pandas().data
    columns = ["TVnews", "selfLR", "educ", "income", "age"]
    yield DataSet("anes96", "logistic", anes[columns].to_numpy(), anes.vote.to_numpy())
    randhie = sm.randhie.load_pandas().data.dropna()
    y = randhie.pop("mdvis").to_numpy()
    yield DataSet("randhie", "poisson", randhie.to_numpy()[::4], y[::4])
    punish = sm.cpunish.load_pandas().data
    y = punish.pop("EXECUTIONS").to_numpy()
    punish["INCOME"] /= 1e4
    yield DataSet("cpunish", "poisson", punish.iloc[:, :4].to_numpy(), y)
    loss = sm.stackloss.load_pandas().data
    yield DataSet("stackloss", "linear", loss.iloc[:, 1:].to_numpy(), loss.iloc[:, 0].to_numpy())
    copper = sm.copper.load_pandas().data
    yield DataSet("copper", "linear", copper.iloc[:, 1:5].to_numpy(), copper.iloc[:, 0].to_numpy())


def _of_lifelines() -> Iterator[DataSet]:
    from lifelines import datasets as ll  # noqa: PLC0415

    rossi = ll.load_rossi()
    y, events = rossi.pop("week").to_numpy(), rossi.pop("arrest").to_numpy()
    yield DataSet("rossi", "cox", rossi.to_numpy(), y, events)
    lung = ll.load_lung().dropna()
    x = lung[["age", "sex", "ph.ecog", "ph.karno", "wt.loss"]].to_numpy()
    yield DataSet("lung", "cox", x, lung["time"].to_numpy(), lung["status"].to_numpy() * 1.0)
    larynx = ll.load_larynx()
    y, events = larynx.pop("time").to_numpy(), larynx.pop("death").to_numpy()
    yield DataSet("larynx", "cox", larynx.iloc[:, :4].to_numpy(), y, events)


def study_of(data: DataSet) -> qis.Study:
    """The study of a data set, for effects."""
    names = tuple(f"x{k}" for k in range(data.x.shape[1]))
    return qis.Study(
        question=data.name,
        kind="model",
        family=data.family,
        coefficients=names if data.family == "cox" else ("intercept", *names),
        purpose="effect",
        ties="breslow" if data.family == "cox" else "",
        residual_variance=_variance(data) if data.family == "linear" else None,
    )


def _variance(data: DataSet) -> float:
    x = np.column_stack((np.ones(len(data.x)), data.x))
    left = data.y - x @ np.linalg.lstsq(x, data.y, rcond=None)[0]
    return float(left @ left) / (len(left) - x.shape[1])


def dealt(data: DataSet, seed: int) -> dict[str, NDArray[np.int64]]:
    """Which rows each site has."""
    order = np.random.default_rng(seed).permutation(len(data.y))
    ends = np.cumsum([round(share * len(order)) for share in SHARES])[:-1]
    return dict(zip(SITES, np.split(order, ends), strict=True))


def rows_of(data: DataSet, chosen: NDArray[np.int64], study: qis.Study) -> StudyRows:
    """Some rows of a data set, as a site has them."""
    x, y = data.x[chosen].astype(float), data.y[chosen].astype(float)
    if data.events is not None:
        events = data.events[chosen].astype(float)
        return qis.ModelRows(features=x, times=y, events=events).for_study(study)
    response = {"logistic": "labels", "poisson": "events", "linear": "responses"}[data.family]
    return qis.ModelRows(features=x, **{response: y}).for_study(study)


def pooled_fit(data: DataSet, sites: dict[str, NDArray[np.int64]]) -> tuple[Floats, Floats]:
    """Coefficients and standard errors of all rows together, by statsmodels."""
    import statsmodels.api as sm  # noqa: PLC0415

    x = data.x.astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if data.family == "cox":
            strata = np.zeros(len(x))
            for number, chosen in enumerate(sites.values()):
                strata[chosen] = number
            found = sm.PHReg(data.y, x, status=data.events, strata=strata, ties="breslow").fit()
            return found.params, found.bse
        x = np.column_stack((np.ones(len(x)), x))
        if data.family == "linear":
            found = sm.OLS(data.y, x).fit()
            return found.params, found.bse
        family = sm.families.Binomial() if data.family == "logistic" else sm.families.Poisson()
        found = sm.GLM(data.y, x, family=family).fit(maxiter=200, tol=1e-12)
        return found.params, found.bse


def is_separated(data: DataSet) -> bool:
    """True if some direction puts nobody on the wrong side: a linear program (Konis 2007)."""
    from scipy.optimize import linprog  # noqa: PLC0415

    if data.family != "logistic":
        return False
    x = np.column_stack((np.ones(len(data.x)), (data.x - data.x.mean(0)) / data.x.std(0)))
    signed = (2 * data.y - 1)[:, np.newaxis] * x
    found = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(x)), bounds=(-1, 1))
    return bool(-found.fun > 1e-6)


@dataclass
class Run:
    """Sites that take turns until nobody wants to answer."""

    study: qis.Study
    rows: dict[str, StudyRows]
    seed: int

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.anchors: dict[bytes, Anchor] = {}
        self.last: dict[str, Floats] = {}
        self.newest: dict[str, QuadraticLikelihood] = {}
        self.held: dict[str, dict[str, QuadraticLikelihood]] = {site: {} for site in self.rows}
        self.given = dict.fromkeys(self.rows, 0)
        self.known: dict[frozenset[tuple[str, bytes]], FittedModel] = {}
        self.asked: set[tuple[str, int]] = set()
        for site, rows in self.rows.items():
            self._answer(site, start_of(rows))

    def _answer(self, site: str, at: Floats) -> None:
        anchor = self.rows[site].anchored(at)
        self.anchors[anchor.anchor_id] = anchor
        self.last[site] = np.array(anchor.coefficients)
        self.newest[site] = self.held[site][site] = self.rows[site].answer(anchor)
        self.given[site] += 1

    def models(self) -> Iterator[FittedModel]:
        """The model of each turn at the site whose turn it is, and last that of all answers."""
        quiet, names = 0, list(self.rows)
        while quiet < 5 * len(names):
            site = names[self.rng.integers(len(names))]
            for other in names:
                if self.rng.random() > LOST:
                    self.held[site][other] = self.newest[other]
            model = self._fitted(self.held[site])
            yield model
            quiet += 1
            if (at := self._wanted(site, model)) is not None:
                self._answer(site, at)
                quiet = 0
        yield self._fitted(self.newest)

    def _wanted(self, site: str, model: FittedModel) -> Floats | None:
        """Where a site would answer next; `None` if nowhere, and then not until it hears more."""
        left = (self.study.answers or 0) - self.given[site]
        own = [each for each in model.expansions if each.site == site]
        if left <= 0 or (site, id(model)) in self.asked or not is_due(model, own, left):
            return None
        self.asked.add((site, id(model)))
        return next_anchor(model, self.rows[site], self.last[site], own)

    def _fitted(self, held: dict[str, QuadraticLikelihood]) -> FittedModel:
        """The model of these answers, which is that of the last time they were these."""
        key = frozenset((site, answer.anchor_id) for site, answer in held.items())
        if key not in self.known:
            self.known[key] = fit_model(held, study=self.study, anchors=self.anchors.values())
        return self.known[key]


@cache
def _all_sets() -> list[tuple[DataSet, bool]]:
    """Each data set, and whether it is separated."""
    return [(data, is_separated(data)) for data in data_sets()]


def convergence(runs: int) -> dict[str, float]:
    """Whether models are right where they say so."""
    sets = _all_sets()
    with ProcessPoolExecutor(2) as workers:
        # The largest first, so that no process waits for the other for long.
        order = sorted(range(len(sets)), key=lambda index: -sets[index][0].x.size)
        found = list(workers.map(_converged, [(each, n) for each in order for n in range(runs)]))
    finite = [each for each in found if not each.is_separated]
    separated = [each for each in found if each.is_separated]
    return {
        "sets": len(sets),
        "families": len({data.family for data, _ in sets}),
        "finite_sets": sum(not split for _, split in sets),
        "converged_right": sum(each.is_right for each in finite) / len(finite),
        "converged_wrong": sum(each.wrong for each in found),
        "said_not_converged": sum(not each.is_converged for each in finite),
        "separated_named": sum(each.is_named for each in separated) / len(separated),
        "answers_mean": float(np.mean([each.answers for each in found])),
    }


class Ended(NamedTuple):
    """How one run ended."""

    is_separated: bool
    is_converged: bool
    is_right: bool
    is_named: bool
    wrong: int
    """Models of any turn that said converged and were not."""
    answers: float
    """Of a site, on average."""


def _converged(which: tuple[int, int]) -> Ended:
    (data, split), seed = _all_sets()[which[0]], which[1]
    study, sites = study_of(data), dealt(data, seed)
    rows = {site: rows_of(data, chosen, study) for site, chosen in sites.items()}
    run = Run(study, rows, seed)
    fit, errors = (None, None) if split else pooled_fit(data, sites)
    off, wrong = 0.0, 0
    for model in run.models():
        if len(model.sites) == len(rows) and model.is_converged:
            off = 9.0 if fit is None else _off(model, fit, errors)
            wrong += off > WITHIN
    return Ended(
        is_separated=split,
        is_converged=model.is_converged,
        is_right=model.is_converged and off <= WITHIN,
        is_named=bool(model.separation),
        wrong=wrong,
        answers=float(np.mean(list(run.given.values()))),
    )


def _off(model: FittedModel, fit: Floats, errors: Floats | None) -> float:
    assert model.point is not None  # noqa: S101  it is converged
    return float(np.abs((model.point - fit) / errors).max())


def rare_exposures(runs: int) -> int:
    """Runs with a rare exposure that end neither at the pooled fit nor named as separated."""
    with ProcessPoolExecutor(2) as workers:
        return sum(workers.map(_is_diverged, range(runs), chunksize=5))


def _is_diverged(seed: int) -> bool:
    rng = np.random.default_rng(seed)
    n = 1_600
    exposed = rng.random(n) < rng.uniform(0.005, 0.01)
    x = np.column_stack((exposed, rng.normal(size=n))).astype(float)
    eta = -1.5 + rng.normal(0, 1.5) * x[:, 0] + 0.5 * x[:, 1]
    y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)
    data = DataSet("rare exposure", "logistic", x, y)
    study, sites = study_of(data), dealt(data, seed)
    rows = {site: rows_of(data, chosen, study) for site, chosen in sites.items()}
    *_, model = Run(study, rows, seed).models()
    if is_separated(data):
        return model.is_converged
    fit, errors = pooled_fit(data, sites)
    return model.point is None or _off(model, fit, errors) > 1.0


def steered(runs: int, *, gate: bool) -> int:
    """Sites of which steered answers tell a small group that the first alone does not."""
    with ProcessPoolExecutor(2) as workers:
        return sum(workers.map(partial(_is_recovered, gate=gate), range(runs), chunksize=10))


def _is_recovered(seed: int, *, gate: bool) -> bool:
    rng = np.random.default_rng(seed)
    size, n = int(rng.integers(3, 6)), int(rng.integers(120, 500))
    names = ("intercept", *(f"x{k}" for k in range(size)))
    study = qis.Study(
        question="q", kind="model", family="logistic", coefficients=names, purpose="effect"
    )
    x = (rng.random((n, size)) < rng.uniform(0.3, 0.7, size)).astype(float)
    y = (rng.random(n) < 0.45).astype(float)
    rows = qis.ModelRows(features=x, labels=y).for_study(study)
    disclosure = qis.Disclosure.preset("cms" if gate else "none")
    subjects = {number.to_bytes(16, "big"): b"" for number in range(n)}
    answers: list[tuple[QuadraticLikelihood, Anchor]] = []
    at = start_of(rows)
    for _ in range(study.answers or 0):
        anchor = rows.anchored(at)
        answer = rows.answer(anchor)
        try:
            disclosure.release(answer, now=0.0, subjects=subjects)
        except DisclosureError:
            break
        answers.append((answer, anchor))
        pull = rows.anchored(at + rng.normal(0, 3, size + 1))  # where the attacker wants to ask
        false = QuadraticLikelihood.from_terms(
            study=study,
            model="logistic",
            score=np.zeros(size + 1),
            information=np.diag([2e3] + [8e3] * size),
            anchor=pull,
            n=10_000,
            events=4_000,
        )
        anchors = [pull, *(each for _, each in answers)]
        model = fit_model({"A": answer, "false": false}, study=study, anchors=anchors)
        own = [each for each in model.expansions if each.site == "A"]
        target = next_anchor(model, rows, np.array(anchor.coefficients), own)
        if target is None:
            break
        at = target
    if len(answers) < 2:
        return False
    first = _small_groups(answers[:1], x)
    return bool(_small_groups(answers, x) - first)


def _small_groups(
    answers: list[tuple[QuadraticLikelihood, Anchor]], x: Floats
) -> frozenset[tuple[float, ...]]:
    """Groups of 1 to 10 people by all columns, whose sizes the answers fix, and rightly."""
    groups = np.array([(1.0, *each) for each in itertools.product((0.0, 1.0), repeat=x.shape[1])])
    rows, values = [np.ones(len(groups))], [float(answers[0][0].n)]
    for answer, anchor in answers:
        point = np.array(anchor.coefficients)
        eta = groups @ point
        chance = 1 / (1 + np.exp(-eta))
        weight = chance * (1 - chance)
        information = answer.information
        for one, other in itertools.combinations_with_replacement(range(len(point)), 2):
            rows.append(weight * groups[:, one] * groups[:, other])
            values.append(information[one, other])
        if answer.log_likelihood is not None:
            rows.append(chance * eta - np.logaddexp(0.0, eta))
            values.append(answer.log_likelihood - float(answer.score @ point))
    table, told = np.array(rows), np.array(values)
    scale = np.maximum(np.abs(told), 1.0)
    table, told = table / scale[:, None], told / scale
    # A group's size is fixed if no direction that the equations leave open changes it.
    _, singular, basis = np.linalg.svd(table, full_matrices=True)
    open_to = basis[int((singular > 1e-4 * singular[0]).sum()) :]
    is_fixed = (np.abs(open_to) < 1e-6).all(axis=0)
    sizes = np.linalg.lstsq(table, told, rcond=1e-4)[0]
    true = np.array([(x == group[1:]).all(axis=1).sum() for group in groups])
    small = is_fixed & (true > 0) & (true < 11) & (np.rint(sizes) == true)
    return frozenset(tuple(group) for group in groups[small])


_HONEST = {
    name: qis.Study(
        question="honest",
        kind="model",
        family=name.partition(",")[0],
        coefficients=("x0", "x1")
        if name in ("cox", "logistic, own")
        else ("intercept", "x0", "x1"),
        purpose="effect",
        residual_variance=2.0 if name == "linear" else None,
    )
    for name in ("logistic", "logistic, own", "poisson", "linear", "cox")
}


def honest_set_aside(count: int) -> int:
    """Of so many expansions of honest rows of each family, those that are called impossible."""
    given = [(name, seed) for name in _HONEST for seed in range(count)]
    with ProcessPoolExecutor(2) as workers:
        return sum(workers.map(_is_set_aside, given, chunksize=500))


def _is_set_aside(which: tuple[str, int]) -> bool:
    """Whether rows of strangers at an anchor that may fit very badly are called impossible."""
    study, rng = _HONEST[which[0]], np.random.default_rng(which[1])
    family = study.family
    n = int(rng.integers(1, 60))
    x = rng.normal(size=(n, 2)) * np.exp(rng.normal(0, 2, 2))
    x[:, 1] = rng.random(n) < rng.random()
    y = {
        "logistic": (rng.random(n) < rng.random()) * 1.0,
        "poisson": rng.poisson(np.exp(rng.normal(0, 2)), n) * 1.0,
        "linear": rng.normal(size=n) * 100,
        "cox": np.ceil(5 * rng.random(n)),
    }[family]
    events = (rng.random(n) < 0.6) * 1.0 if family == "cox" else None
    rows = rows_of(DataSet("honest", family, x, y, events), np.arange(n), study)
    p = len(study.coefficients)
    at = rng.normal(0, (0.0, 0.5, 3.0)[rng.integers(3)], p)
    at[p - 2 :] *= rng.integers(2)  # half of them with an intercept alone
    at[p - 2] /= 1 + np.abs(x[:, 0]).max()
    anchor = rows.anchored(at)
    try:
        answer = rows.answer(anchor)
    except InputError:
        return False  # too far from the data for its own site to send it
    point = np.array(anchor.coefficients)
    return bool(why_impossible(Expansion(site="A", outcome=answer, anchor=point), study))


def auc_difference(runs: int) -> float:
    """Mean difference of held-out AUC: the ridge of a prediction study less a tuned one."""
    from sklearn.linear_model import LogisticRegressionCV  # noqa: PLC0415

    differences = []
    chosen = {"breast cancer, 5", "diabetes, over 140", "fair", "anes96", "wine, 3"}
    for data in data_sets():
        for seed in range(runs if data.name in chosen else 0):
            rng = np.random.default_rng(seed)
            thinned = rng.permutation(len(data.y))[:600]
            data = DataSet(data.name, data.family, data.x[thinned], data.y[thinned])  # noqa: PLW2901
            sites = dealt(data, seed)
            held = rng.random(len(data.y)) < 1 / 3
            mean, scale = data.x[~held].mean(0), data.x[~held].std(0)
            study = qis.Study(
                question=data.name,
                kind="model",
                family="logistic",
                coefficients=tuple(f"x{k}" for k in range(data.x.shape[1])),
                purpose="prediction",
                feature_means=tuple(mean.tolist()),
                feature_scales=tuple(scale.tolist()),
            )
            rows = {site: rows_of(data, mine[~held[mine]], study) for site, mine in sites.items()}
            *_, model = Run(study, rows, seed).models()
            assert model.point is not None  # noqa: S101  a ridge always has one
            ours = np.zeros(len(data.y))
            constants = np.zeros((len(data.y), len(SITES)))
            for number, (site, mine) in enumerate(sites.items()):
                intercept = own_fit(rows[site], model.point).intercept
                ours[mine] = model.predict(data.x[mine], intercept=intercept)
                constants[mine, number] = 30.0  # so large that it is hardly penalised
            wide = np.hstack(((data.x - mean) / scale, constants))
            tuned = LogisticRegressionCV(
                Cs=np.logspace(-4, 2, 13), cv=5, scoring="neg_log_loss", max_iter=5_000
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tuned.fit(wide[~held], data.y[~held])
            theirs = tuned.decision_function(wide)
            differences.append(_auc(ours[held], data.y[held]) - _auc(theirs[held], data.y[held]))
    return float(np.mean(differences))


def _auc(scores: Floats, labels: Floats) -> float:
    cases, rest = scores[labels == 1], scores[labels == 0]
    return float((cases[:, None] > rest).mean() + 0.5 * (cases[:, None] == rest).mean())


def figures(*, is_quick: bool = False) -> dict[str, float]:
    """Everything that is measured; a tenth of it if quick."""
    share = 10 if is_quick else 1
    return {
        **convergence(1 if is_quick else 2),
        "rare_exposure_divergences": rare_exposures(100 // share),
        "steered_recovers_more_than_one_answer": steered(1_000 // share, gate=True),
        "steered_without_gate": steered(100 // share, gate=False),
        "honest_set_aside": honest_set_aside(10_000 // share),
        "auc_minus_tuned_ridge": auc_difference(1 if is_quick else 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    options = parser.parse_args()
    found = figures(is_quick=options.quick)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:40} {value:.5g}")


if __name__ == "__main__":
    main()
