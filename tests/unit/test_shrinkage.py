import json
import math
from pathlib import Path

import pytest

from qis.errors import IncompatibleEvidenceError, InputError
from qis.outcomes import Effect
from qis.synthesis import shrink

BCG = Path(__file__).parents[1] / "data" / "synthesis" / "bcg.json"


def load():
    content = json.loads(BCG.read_text())
    effects = content["effects"]
    pairs = [(y, math.sqrt(v)) for y, v in zip(effects["yi"], effects["vi"], strict=True)]
    return pairs, content["expected"]


@pytest.mark.parametrize("site", range(13))
def test_reml_gives_metafors_blup_of_the_site(site):
    pairs, expected = load()
    found = shrink(pairs[site], pairs[:site] + pairs[site + 1 :], method="REML")
    blup = expected["inverse_variance"]["REML"]["blup"]
    assert found.estimate == pytest.approx(blup["pred"][site], rel=1e-5)
    assert found.standard_error == pytest.approx(blup["se"][site], rel=1e-5)


@pytest.mark.parametrize("site", range(13))
def test_the_default_gives_bayesmetas_shrinkage(site):
    pairs, expected = load()
    found = shrink(pairs[site], pairs[:site] + pairs[site + 1 :])
    block = expected["bayes"]["halfnormal_0.5__mu_flat"]
    sd = block["shrinkage_sd"][site]
    assert abs(found.estimate - block["shrinkage_mean"][site]) < 3e-3 * sd
    assert abs(found.standard_error - sd) < 3e-3 * sd


@pytest.mark.parametrize("method", ["bayes", "REML"])
def test_alone_it_keeps_its_own(method):
    found = shrink((0.1, 0.3), [], method=method)
    assert (found.estimate, found.standard_error, found.own_weight) == (0.1, 0.3, 1.0)


@pytest.mark.parametrize("method", ["bayes", "PM"])
def test_it_lies_between_its_own_and_the_centre(method):
    found = shrink((2.0, 0.6), [(0.1, 0.07), (0.0, 0.08)], method=method)
    assert found.centre <= found.estimate <= 2.0
    assert found.estimate == pytest.approx(
        found.centre + found.own_weight * (found.own_estimate - found.centre)
    )


def test_the_order_of_the_others_changes_no_bit():
    others = [(0.3, 0.2), (-0.1, 0.3), (0.5, 0.4)]
    assert shrink((1.0, 0.5), others) == shrink((1.0, 0.5), others[::-1])


def effect(estimate, *, question="q", measure="OR"):
    return Effect(question=question, measure=measure, estimate=estimate, standard_error=0.3)


def test_effects_are_the_same_as_pairs():
    found = shrink(effect(1.0), [effect(0.2), effect(0.0)])
    assert found == shrink((1.0, 0.3), [(0.2, 0.3), (0.0, 0.3)])


@pytest.mark.parametrize(
    "others", [[effect(0.1, question="r")], [effect(0.1, measure="RR")], [(0.1, 0.3)]]
)
def test_what_is_not_of_one_kind_is_refused(others):
    with pytest.raises(IncompatibleEvidenceError):
        shrink(effect(1.0), others)


def test_a_measure_with_units_demands_the_scale():
    own, other = effect(1.0, measure="MD"), effect(0.0, measure="MD")
    with pytest.raises(InputError) as caught:
        shrink(own, [other])
    assert caught.value.field == "tau_scale"
    assert shrink(own, [other], tau_scale=2.0).estimate < 1.0


@pytest.mark.parametrize("site", [None, (1.0,), ("a", 1.0), (1.0, 0.0)])
def test_bad_sites_are_refused(site):
    with pytest.raises(InputError):
        shrink(site, [(0.0, 1.0)])
