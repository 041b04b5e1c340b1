"""Declared moderators: their codes, in the study and in packets, and what likeness they make."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import qis
from qis.errors import InputError, MalformedPacketError
from qis.here.moderators import codes_of, columns_of, likeness_of_moderators
from qis.outcomes.moderators import MISSING, STEPS
from tests._builders import signed

LATITUDE = qis.Moderator(name="latitude", low=0.0, high=60.0)
SETTING = qis.Moderator(name="setting", categories=("home", "clinic", "prison"))
STUDY = qis.Study(
    question="BCG | tuberculosis", measure="OR", model="random", moderators=(LATITUDE, SETTING)
)


def effect(estimate=0.1, error=0.2, **values):
    return qis.Effect(
        study=STUDY,
        measure="OR",
        estimate=estimate,
        standard_error=error,
        moderators=STUDY.coded(values) if values else b"",
    )


@given(st.floats(0.0, 60.0))
def test_a_number_comes_back_within_half_a_step(value):
    code = LATITUDE.code(value)
    assert 0 <= code <= STEPS
    assert abs(LATITUDE.decoded(code) - value) <= 60.0 / STEPS / 2 + 1e-9


def test_codes_in_both_directions():
    codes = STUDY.coded({"latitude": 44.0, "setting": "clinic"})
    assert codes == bytes([186, 1])
    assert STUDY.decoded(codes) == {"latitude": pytest.approx(44.0, abs=0.2), "setting": "clinic"}
    assert STUDY.coded({"setting": None}) == bytes([MISSING, MISSING])
    assert STUDY.decoded(bytes([MISSING, 0])) == {"latitude": None, "setting": "home"}


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"latitude": 61.0}, "latitude"),
        ({"latitude": float("nan")}, "latitude"),
        ({"setting": "ship"}, "one of home, clinic, prison"),
        ({"age": 3.0}, "none of the study's moderators"),
    ],
)
def test_values_that_were_not_declared_are_refused(values, match):
    with pytest.raises(InputError, match=match):
        STUDY.coded(values)


@pytest.mark.parametrize("value", [[44.0], "44", b"44", True, 61.0, math.nan, object(), "a\x00b"])
@pytest.mark.parametrize("name", ["latitude", "setting"])
def test_a_refused_value_is_named_as_the_parameter_and_by_its_moderator(name, value):
    moderator = next(each for each in STUDY.moderators if each.name == name)
    with pytest.raises(InputError, match=rf"^value of {name} ") as caught:
        moderator.code(value)
    assert caught.value.field == "value"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"low": 1.0},
        {"low": 1.0, "high": 1.0},
        {"low": 0.0, "high": 1.0, "categories": ("a", "b")},
        {"categories": ("a",)},
        {"categories": ("a", "a")},
        {"categories": "ab"},
        {"low": 0.0, "high": 1.0, "weight": -1.0},
        {"low": 0.0, "high": 1.0, "slope": 1},
    ],
)
def test_a_moderator_that_is_none_is_refused(settings):
    with pytest.raises(InputError):
        qis.Moderator(name="m", **settings)


def test_what_is_declared_is_in_the_id_and_in_toml(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(
        'question = "BCG | tuberculosis"\nmeasure = "OR"\nmodel = "random"\n'
        '[[moderators]]\nname = "latitude"\nlow = 0\nhigh = 60\n'
        '[[moderators]]\nname = "setting"\ncategories = ["home", "clinic", "prison"]\n'
    )
    assert qis.Study.load(path) == STUDY
    assert qis.Study.load(path).id == STUDY.id
    other = qis.Moderator(name="latitude", low=0.0, high=60.0, weight=2.0)
    changed = qis.Study(
        question=STUDY.question, measure="OR", model="random", moderators=(other, SETTING)
    )
    assert changed.id != STUDY.id
    with pytest.raises(InputError, match="one name"):
        qis.Study(question="q", moderators=(LATITUDE, LATITUDE))
    with pytest.raises(InputError, match="unknown key"):
        qis.Study(question="q", moderators=[{"name": "m", "lowest": 1}])


COUNTS = {"events": 3, "total": 40, "control_events": 9, "control_total": 41}


@pytest.mark.parametrize(
    "outcome",
    [
        effect(latitude=12.0),
        qis.Counts(study=STUDY, **COUNTS, moderators=bytes([7, 2])),
        qis.Counts(question="q", **COUNTS, moderators=bytes([7, 2])).profile(),
        qis.Moments.from_values(question="q", values=[1.0, 2.0, 4.0]),
    ],
)
def test_they_travel(outcome):
    packet = signed(1, outcome)
    parsed = qis.Packet.parse(bytes(packet))
    assert parsed.outcome == outcome
    assert parsed.outcome.moderators == outcome.moderators


def test_what_does_not_belong_to_the_study_is_refused_where_it_is_made():
    for codes in (b"\1", b"\1\1\1", bytes([0, 3]), bytes(17), "ab", [1, 2]):
        with pytest.raises(InputError):
            qis.Effect(
                study=STUDY, measure="OR", estimate=0.1, standard_error=0.2, moderators=codes
            )
    with pytest.raises(InputError, match="has no moderators"):
        qis.Suppressed(study=STUDY, moderators=bytes([1, 1]))


def test_more_than_sixteen_on_the_wire_are_malformed():
    packet = bytearray(bytes(signed(1, effect(latitude=12.0))))
    at = packet.index(b"\x0b\x42")  # entry 11, two bytes
    packet[at + 1] = 0x58
    with pytest.raises((MalformedPacketError, qis.SignatureError)):
        qis.Packet.parse(bytes(packet))


def test_codes_that_do_not_fit_count_as_not_known():
    strange = qis.Effect(
        study_id=STUDY.id,
        question=STUDY.question,
        measure="OR",
        estimate=0.1,
        standard_error=0.2,
        moderators=bytes([1, 200]),
    )
    assert codes_of(STUDY.moderators, [strange]) == bytes([MISSING] * 2)
    assert codes_of(STUDY.moderators, [strange, effect(latitude=0.0)]) == bytes([0, MISSING])
    sites = [effect(0.1 * n, latitude=10.0 * n, setting="home") for n in range(5)]
    here = qis.for_site([strange, *sites[1:]], sites[0], study=STUDY)
    assert "1 site has no moderators of this study" in here.summary()


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_no_power_of_their_likeness_is_indefinite(k, seed):
    rng = np.random.default_rng(seed)
    declared = (LATITUDE, SETTING, qis.Moderator(name="z", low=0, high=1, weight=3.0))
    codes = np.stack(
        [rng.integers(0, 255, k), rng.integers(0, 3, k), rng.choice([0, 9, MISSING], k)], axis=1
    ).astype(np.uint8)
    likeness = likeness_of_moderators(declared, codes)
    for power in (1, 4, 16):
        assert np.linalg.eigvalsh(likeness.kernel(power)).min() > -1e-9


def test_the_answer_follows_what_was_declared():
    rng = np.random.default_rng(2)
    sites = []
    for number in range(18):
        north = number % 2
        sites.append(
            effect(
                -0.8 * north + 0.1 * rng.normal(),
                0.15,
                latitude=50.0 * north + 5.0,
                setting="home",
            )
        )
    north = qis.for_site(sites, effect(0.0, 1.3, latitude=55.0, setting="home"), study=STUDY)
    south = qis.for_site(sites, effect(0.0, 1.3, latitude=5.0, setting="home"), study=STUDY)
    assert north.answer.median < -0.6 < -0.3 < south.answer.median
    assert north.similarity.word == "strong"
    assert "moderators (latitude, setting)" in north.summary()
    assert north.weights[0].similarity > 0.95
    unknown = qis.for_site(sites, effect(0.0, 1.3), study=STUDY)
    assert "It is not known what your site is like (moderators=)" in unknown.summary()


def test_slopes_have_columns_of_one_standard_deviation():
    sloped = qis.Moderator(name="s", low=0.0, high=1.0, slope=True)
    codes = np.arange(255, dtype=np.uint8)[:, np.newaxis]
    column = columns_of([sloped], codes)
    assert column.mean() == pytest.approx(0.0, abs=1e-9)
    assert column.std() == pytest.approx(1.0, abs=0.01)
    assert columns_of([LATITUDE], codes).shape == (255, 0)
    assert (
        columns_of([SETTING], np.array([[0], [MISSING]], np.uint8), all_of_them=True)[1].sum() == 0
    )
