"""Ratios as they are printed: which triples of rounded numbers can be one effect."""

import math
from decimal import Decimal
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

import qis
from qis.errors import InputError

Z = NormalDist().inv_cdf(0.975)
# As published: 4S, HOPE, RALES, CIBIS-II, MERIT-HF, SHIFT, JUPITER, PARADIGM-HF, SPRINT, LEADER,
# DAPA-HF, RECOVERY (dexamethasone).
PUBLISHED = [
    (0.70, 0.58, 0.85), (0.78, 0.70, 0.86), (0.70, 0.60, 0.82), (0.66, 0.54, 0.81),
    (0.66, 0.53, 0.81), (0.82, 0.75, 0.90), (0.56, 0.46, 0.69), (0.80, 0.73, 0.87),
    (0.75, 0.64, 0.89), (0.87, 0.78, 0.97), (0.74, 0.65, 0.85), (0.83, 0.75, 0.93),
]  # fmt: skip


def from_ratio(ratio, lower, upper, **others):
    return qis.Effect.from_ratio(
        question="a vs b | c", measure="OR", ratio=ratio, lower=lower, upper=upper, **others
    )


def printed(effect, decimals):
    half = Z * effect.standard_error
    logs = (effect.estimate, effect.estimate - half, effect.estimate + half)
    return tuple(round(math.exp(each), decimals) for each in logs)


@pytest.mark.parametrize("numbers", [*PUBLISHED, (0.73, 0.58, 0.93), (1.2, 0.99, 1.46)])
def test_a_published_ratio_prints_again_as_it_was_published(numbers):
    effect = from_ratio(*numbers)
    assert printed(effect, 2) == numbers


def test_exact_numbers_give_the_exact_effect():
    effect = from_ratio(math.exp(-0.3), math.exp(-0.3 - 0.2 * Z), math.exp(-0.3 + 0.2 * Z))
    assert effect.estimate == pytest.approx(-0.3, rel=1e-14)
    assert effect.standard_error == pytest.approx(0.2, rel=1e-14)
    logs = np.array([-0.3, -0.3 - 0.2 * Z, -0.3 + 0.2 * Z], np.float32)
    assert from_ratio(*np.exp(logs)).estimate == pytest.approx(-0.3, rel=1e-5)
    half = from_ratio(Fraction(1, 2), 0.25, 1)
    assert half.estimate == pytest.approx(math.log(0.5))
    assert half.standard_error == pytest.approx(math.log(2.0) / Z)


@given(st.floats(-4, 4), st.floats(0.02, 1.5), st.integers(1, 3))
def test_whatever_is_printed_is_taken_and_prints_again(estimate, error, decimals):
    logs = (estimate, estimate - Z * error, estimate + Z * error)
    numbers = tuple(round(math.exp(each), decimals) for each in logs)
    assume(0.0 < numbers[1] < numbers[2])
    texts = tuple(Decimal(f"{math.exp(each):.{decimals}f}") for each in logs)
    assert printed(from_ratio(*texts), decimals) == numbers
    # Three floats that all end in a zero (1.40, 0.30, 6.60) do not tell to how many decimals.
    assume(any(str(text)[-1] != "0" for text in texts))
    assert printed(from_ratio(*numbers), decimals) == numbers
    single = tuple(np.array(number, np.float32) for number in numbers)
    assert printed(from_ratio(*single), decimals) == numbers


@pytest.mark.parametrize(
    "numbers",
    [
        (0.92, 0.58, 0.93), (0.59, 0.58, 0.93), (0.37, 0.58, 0.93), (0.73, 0.58, 1.93),
        (0.73, 0.85, 0.93), (0.73, 0.68, 0.93), (7.3, 0.58, 0.93), (Decimal("0.70"), 0.58, 0.93),
        (0.755, 0.58, 0.93), (0.0, 0.58, 0.93), (0.73, -0.58, 0.93), (0.73, 0.93, 0.58),
        (0.73, 0.73, 0.73), (0.75, 0.25, 1.0),
    ],
)  # fmt: skip
def test_a_ratio_that_is_not_the_middle_is_refused(numbers):
    with pytest.raises(InputError, match=r"middle|need 0 <") as refused:
        from_ratio(*numbers)
    assert refused.value.field == "ratio"


def test_rounding_is_the_way_out():
    assert from_ratio(0.01, 0.005, 0.01).standard_error > 0.0  # .01 is anything from .005 to .015
    with pytest.raises(InputError, match="rounding="):
        from_ratio(0.010, 0.005, Decimal("0.010"), rounding=0.001)
    likelihood_interval = (0.73, 0.52, 0.91)
    with pytest.raises(InputError, match="rounding="):
        from_ratio(*likelihood_interval)
    assert from_ratio(*likelihood_interval, rounding=0.1).estimate == math.log(0.73)
    with pytest.raises(InputError, match=r"^rounding is"):
        from_ratio(*likelihood_interval, rounding=-0.1)


def test_a_study_gives_the_measure():
    study = qis.Study(question="a vs b | c", measure="HR")
    effect = qis.Effect.from_ratio(study=study, ratio=0.5, lower=0.25, upper=1.0)
    assert (effect.measure, effect.study_id) == ("HR", study.id)
    table = {"site": ["Ulm"], "hr": [0.92], "lo": [0.58], "hi": [0.93]}
    columns = {"site": "site", "ratio": "hr", "lower": "lo", "upper": "hi", "study": study}
    assert qis.Effect.from_columns(table, **columns, rounding=0.5)["Ulm"].measure == "HR"
    with pytest.raises(InputError, match=r"row .*Ulm.*not the middle"):
        qis.Effect.from_columns(table, **columns)
    for others in ({"question": "q"}, {"study": qis.Study(question="q")}, {"study": "q"}):
        with pytest.raises(InputError, match=r"^measure is None|^study is"):
            qis.Effect.from_ratio(ratio=0.5, lower=0.25, upper=1.0, **others)
