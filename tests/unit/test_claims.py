"""The comparison with federated averaging: its methods, its intervals, its attacks, its pages."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import _case_claim  # noqa: E402  parts of a benchmark import each other by bare names
import _case_claims  # noqa: E402
import _case_data as data  # noqa: E402
import _case_figures  # noqa: E402
import _case_inversion as inversion  # noqa: E402
import _case_models as models  # noqa: E402
import _case_page  # noqa: E402
import _case_record  # noqa: E402
import _case_table as tables  # noqa: E402
from _fedavg import after, average, train_at_site  # noqa: E402

from benchmarks import _results, claims  # noqa: E402
from qis.models import ridge_of  # noqa: E402

SIZES = (30, 12, 7)


def people(rng, n, p=4):
    x = np.column_stack((np.ones(n), rng.normal(size=(n, p - 1))))
    y = (rng.random(n) < 1.0 / (1.0 + np.exp(-x @ np.linspace(-0.5, 1.0, p)))).astype(float)
    y[:2] = 0.0, 1.0
    return data.Site(x, y)


def padded(sites):
    """Sites as one array each of features, labels and who is there, in single precision."""
    longest = max(len(site.y) for site in sites)
    x = np.zeros((len(sites), longest, sites[0].x.shape[1]), np.float32)
    y, mask = np.zeros(x.shape[:2], np.float32), np.zeros((*x.shape[:2], 1), np.float32)
    for index, site in enumerate(sites):
        n = len(site.y)
        x[index, :n], y[index, :n], mask[index, :n] = site.x, site.y, 1.0
    return x, y, mask


def plain_federated(sites, *, steps, rounds, ridge=0.0, proximal=0.0):
    """The algorithm as the paper has it, a site and a step at a time."""
    common = np.zeros(sites[0].x.shape[1])
    total = sum(len(site.y) for site in sites)
    for _ in range(rounds):
        returned = np.zeros_like(common)
        for x, y in sites:
            b = common.copy()
            for _ in range(steps):
                slope = x.T @ (1.0 / (1.0 + np.exp(-x @ b)) - y) / len(y)
                slope += ridge * np.append(0.0, b[1:]) + proximal * (b - common)
                b -= slope
            returned += len(y) / total * b
        common = returned
    return common


@pytest.mark.parametrize(
    "asked",
    [
        {"steps": 1, "rounds": 6},
        {"steps": 5, "rounds": 3, "ridge": 0.1},
        {"steps": 4, "rounds": 3, "proximal": 0.5},
    ],
)
def test_federated_averaging_is_the_algorithm_of_the_paper(asked):
    sites = [people(np.random.default_rng(n), n) for n in SIZES]
    given = asked | {"ridge": np.array([asked.get("ridge", 0.0)], np.float32)}
    *_, last = average(*padded(sites), **given)
    assert last[:, 0] == pytest.approx(plain_federated(sites, **asked), abs=1e-5)


def test_one_local_step_is_gradient_descent_on_everybodys_rows():
    sites = [people(np.random.default_rng(n), n) for n in SIZES]
    pooled = data.Site(*(np.concatenate(parts) for parts in zip(*sites, strict=True)))
    none = np.zeros(1, np.float32)
    found = after(average(*padded(sites), ridge=none, steps=1, rounds=40), (1, 40))
    for rounds, common in found.items():
        alone = plain_federated([pooled], steps=1, rounds=rounds)
        assert common[:, 0] == pytest.approx(alone, abs=1e-5)


def test_settings_side_by_side_do_not_touch_each_other():
    rng = np.random.default_rng(3)
    x, y, mask = padded([people(rng, 9)])
    ridges = np.array([0.0, 0.3], np.float32)
    start = np.zeros((1, 4, 2), np.float32)
    both = train_at_site(x, y, np.repeat(mask, 2, axis=-1) / 9, start, ridge=ridges, steps=7)
    for number in (0, 1):
        one = train_at_site(
            x, y, mask / 9, start[..., :1], ridge=ridges[number : number + 1], steps=7
        )
        assert both[..., number] == pytest.approx(one[..., 0], abs=1e-6)


@pytest.fixture(scope="module")
def batch():
    scenario = data.actg_scenarios()[2]
    return scenario, models.Batch.of(scenario, [scenario.split(number) for number in (0, 1)])


def test_ridge_regressions_are_where_the_penalised_score_is_zero(batch):
    _, side_by_side = batch
    mask = side_by_side.mask.astype(float)
    fits = models.ridge_fits(side_by_side.x, side_by_side.y, mask, 0.05)
    split, site, fit, setting = 1, 2, 3, 4
    x, y = side_by_side.x[split, site], side_by_side.y[split, site]
    b = fits[split, site, :, fit, setting]
    penalty = np.append(0.05 * b[0], models.RIDGES[setting] * b[1:])
    residual = mask[split, site, :, fit] * (y - 1.0 / (1.0 + np.exp(-x @ b)))
    assert residual @ x == pytest.approx(penalty, abs=1e-8)


def test_settings_are_chosen_by_the_people_left_out_and_not_by_those_tested(batch):
    _, side_by_side = batch
    fits = np.zeros((2, 4, 14, 4, 3))
    fits[..., 0, 3, :] = 1.0, 2.0, 3.0  # what the final fits say
    fits[..., 0, :3, 1] = np.log(0.24 / 0.76)  # right on average, for whom is left out
    fits[..., 0, :3, 0], fits[..., 0, :3, 2] = 3.0, -6.0
    assert (side_by_side.best(fits)[..., 0] == 2.0).all()
    assert (side_by_side.best_of_each(fits)[..., 0] == 2.0).all()
    assert not side_by_side.mask[..., :3][side_by_side.left_out].any()


def test_a_refitted_intercept_is_finite_where_labels_are_alike_and_right_elsewhere():
    y = np.array([[[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]]])
    side_by_side = models.Batch(np.ones((1, 2, 4, 1)), y, np.array([[[0, 1, 2, 0]] * 2]))
    fits = models.refitted(side_by_side, np.zeros((1, 2, 1, 4, 1)))[0, :, 0, 3, 0]
    # Firth's penalty adds half a case and half another to a proportion.
    assert fits == pytest.approx([np.log(4.5 / 0.5), np.log(1.5 / 3.5)], abs=1e-6)


def test_packets_are_one_newton_step_with_a_ridge_by_marginal_likelihood(batch):
    scenario, side_by_side = batch
    ours, covariance = models.packets(side_by_side)
    split = scenario.split(1)
    weights, scores = np.zeros((14, 14)), np.zeros(14)
    own, pulls = np.zeros((13, 13)), np.zeros(13)
    for site, rows in zip(scenario.sites, split.train, strict=True):
        x, y = site.x[rows], site.y[rows]
        weights += 0.25 * x.T @ x
        scores += x.T @ (y - 0.5)
        off = x[:, 1:] - x[:, 1:].mean(axis=0)
        own += y.mean() * (1.0 - y.mean()) * off.T @ off
        pulls += off.T @ (y - y.mean())
    common = ridge_of(weights, scores, intercept=0)
    for name, slopes in (
        ("packet", common.coefficients[1:]), ("packet own", ridge_of(own, pulls).coefficients),
    ):  # fmt: skip
        assert (ours[name][1, :, 1:] == ours[name][1, 0, 1:]).all()
        assert ours[name][1, 0, 1:] == pytest.approx(slopes, abs=1e-3)
        # The intercept is the site's own, by Firth's likelihood.
        x, y = scenario.sites[2].x[split.train[2]], scenario.sites[2].y[split.train[2]]
        chance = 1.0 / (1.0 + np.exp(-x @ ours[name][1, 2]))
        spread = chance * (1.0 - chance)
        assert (y - chance).sum() == pytest.approx(
            (spread * (chance - 0.5)).sum() / spread.sum(), abs=1e-5
        )
    assert covariance[1] == pytest.approx(common.covariance[1:, 1:], rel=2e-2, abs=1e-4)


def test_splits_are_apart_of_the_right_size_and_the_same_again():
    for scenario in data.actg_scenarios():
        for number in (0, 3):
            split, again = scenario.split(number), scenario.split(number)
            small = scenario.small_sites(number)
            for index, site in enumerate(scenario.sites):
                train, test = split.train[index], split.test[index]
                assert not set(train.tolist()) & set(test.tolist())
                assert len(set(train.tolist())) == len(train) == len(split.fold[index])
                assert train.tolist() == again.train[index].tolist()
                assert (len(train) == data.SMALL) == (index in small)
                assert len(test) >= len(site.y) // 4 or scenario.tested
    article = data.actg_scenarios()[-1]
    assert [len(rows) for rows in article.split(0).train] == [847, 612, 11]
    assert [len(rows) for rows in article.split(0).test] == [290, 210, 160]


def test_the_corrected_interval_is_that_of_nadeau_and_bengio():
    differences = np.array([0.01, 0.03, -0.02, 0.0, 0.02])
    found = tables.intervals(differences, 0.5)
    error = np.sqrt((0.2 + 0.5) * differences.var(ddof=1))
    assert found["high"] - found["mean"] == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert found["monte_carlo_se"] == pytest.approx(differences.std(ddof=1) / np.sqrt(5))


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.005, 0.004, "as good"),
        (-0.005, 0.02, "not worse"),
        (0.001, 0.004, "as good"),
        (0.002, 0.03, "not worse"),
        (0.02, 0.03, "better"),
        (-0.03, -0.02, "worse"),
        (-0.03, -0.005, "cannot tell"),
        (-0.02, 0.02, "cannot tell"),
    ],
)
def test_verdicts_by_the_margin(low, high, word):
    assert tables.verdict({"low": low, "high": high}) == word


def test_auc_counts_ties_half():
    labels = np.array([0.0, 0.0, 1.0, 1.0])
    assert tables.auc(np.array([0.1, 0.3, 0.3, 0.4]), labels) == 3.5 / 4
    assert np.isnan(tables.auc(labels, np.ones(4)))


def test_the_attack_rebuilds_a_packet_of_few_people_and_nothing_of_another_packet():
    everybody, rng = data.actg(), np.random.default_rng(5)
    shares, others = [], []
    for _ in range(4):
        x, y = inversion.drawn(everybody, 4, rng)
        elsewhere, _ = inversion.drawn(everybody, 4, rng)
        found = inversion.listed(inversion.answer(x, y, np.zeros(14)).information, 4)
        shares.append(inversion.share(found, x[:, 1:]))
        others.append(inversion.share(found, elsewhere[:, 1:]))
    assert np.mean(shares) > 0.7
    assert np.mean(others) == 0.0


def test_a_fit_to_an_answer_finds_one_person_and_the_gradient_of_its_loss_is_right():
    everybody, rng = data.actg(), np.random.default_rng(6)
    x, y = inversion.drawn(everybody, 1, rng)
    x = x[:, [0, 1, 4, 5]]
    at = np.array([0.2, -0.1, 0.3, 0.1])
    found = inversion.by_fitting([(at, inversion.answer(x, y, at))], y, rng, starts=4)
    assert inversion.share(found, x[:, 1:]) == 1.0


@pytest.mark.parametrize(("n", "steps"), [(1, 1), (2, 3), (4, 1)])
def test_zhus_attack_rebuilds_few_people_from_the_gradients_of_a_network(n, steps):
    everybody, rng = data.actg(), np.random.default_rng(7)
    x, y = inversion.drawn(everybody, n, rng)
    network = inversion.Network(13, rng)
    sent = network.update(x[np.newaxis, :, 1:], y, steps)[0]
    found = inversion.by_zhu(network, y, sent, 13, rng=rng, starts=20, steps=steps)
    assert inversion.share(found, x[:, 1:]) == 1.0
    # What was sent of other people rebuilds nobody of these.
    others, _ = inversion.drawn(everybody, n, rng)
    wrong = network.update(others[np.newaxis, :, 1:], y, steps)[0]
    found = inversion.by_zhu(network, y, wrong, 13, rng=rng, starts=1, steps=steps)
    assert inversion.share(found, x[:, 1:]) < 1.0


def test_the_closed_form_rebuilds_one_person():
    everybody, rng = data.actg(), np.random.default_rng(7)
    assert inversion.closed_form(everybody, rng, 5) == 1.0


@pytest.fixture(scope="module")
def recorded():
    return _results.kept("claims")


def test_the_pages_are_what_the_record_gives(recorded):
    record = _case_record.Record(recorded)
    assert recorded["parts"].keys() == claims.PARTS.keys()
    hint = "run: python -m benchmarks.claims --page"
    assert _case_page.page(record, recorded) == claims.PAGE.read_text("utf-8"), hint
    readme = claims.README.read_text("utf-8")
    assert _case_page.readme(readme, record) == readme, hint
    assert _case_page.one_page(record) in readme


def test_the_figures_of_the_record_are_complete_and_the_attack_is_strong_enough(recorded):
    found = _case_figures.figures(_case_record.Record(recorded))
    assert found["claims_total"] == found["claims_with_verdict"] == 34
    assert found["scenarios"] == 7
    assert found["records_rebuilt_packet_n4_no_rules"] >= 0.7
    assert all(isinstance(value, int | float) for value in found.values())


def test_every_claim_that_does_not_hold_is_named_in_one_place(recorded):
    record = _case_record.Record(recorded)
    section = _case_page.contradicted(record)
    for number, claim in enumerate(_case_claims.CLAIMS, 1):
        is_named = f"- ({number}) " in section
        assert is_named == (claim.verdict(record) == _case_claim.NOT)
    assert section.count("\n") > 3


def test_a_run_that_contradicts_the_record_is_found_out(recorded):
    assert claims.contradictions(recorded, recorded) == []
    other = copy.deepcopy(recorded)
    against = other["parts"]["small_sites"]["found"]["table"][0]["packet_against"]["local"]
    assert against["verdict"] == "not worse"
    against["auc"] |= {"low": -0.0101, "high": 1.0}
    assert claims.contradictions(other, recorded) == []
    against["auc"] |= {"low": -1.0, "high": -0.0101}
    assert "packet minus local" in claims.contradictions(other, recorded)[0]
    other["parts"]["aggregator"]["found"]["survives_any_node_loss"] = 0
    assert len(claims.contradictions(other, recorded)) == 2


def test_what_could_not_run_leaves_the_record_as_it_stands(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(_results, "RESULTS", tmp_path)
    _results.keep("claims", recorded)
    nothing = {**recorded["parts"]["hearts"], "found": {"table": [], "not_run": "no folder"}}
    assert claims.keep({"parts": {"hearts": nothing}})["parts"] == recorded["parts"]
    newer = {**recorded["parts"]["continuous"], "hours": 9.0}
    assert claims.keep({"parts": {"continuous": newer}})["parts"]["continuous"] == newer


def test_every_claim_has_a_figure_or_says_that_it_was_not_run():
    nothing = _case_record.Record({})
    assert len(_case_claims.CLAIMS) == 34
    for claim in _case_claims.CLAIMS:
        assert claim.part in ("", *claims.PARTS)
        is_measured = bool(claim.part)
        assert claim.said(nothing).startswith("not run") == is_measured
        assert bool(claim.verdict(nothing)) != is_measured
        if claim.judge == _case_claim.UNKNOWN:
            assert "ould decide" in claim.why
