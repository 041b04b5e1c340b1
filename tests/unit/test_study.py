"""A study: every field in TOML, what is refused, what its id depends on, and when it changes."""

import tempfile
from dataclasses import fields

import pytest
from hypothesis import example, given, strategies as st

import qis
from qis.errors import InputError, StorageError

WHOLE = """
question = "drug vs placebo | death in 30 days"
measure = "OR"
model = "random"
population = "adults with sepsis"
intervention = "drug"
comparator = "placebo"
endpoint = "death of any cause"
time_frame = "30 days from randomisation"
arm_coding = "treated = 1 is drug"
units = "log odds ratio"
adjustment = ["age", "SOFA at entry"]
ties = "efron"
tau_scale = 0.5
mean_scale = 2
scheme = "0123456789abcdef"
baseline_features = ["age", "SOFA", "lactate"]
min_similarity = 0.7
valid_from = 2027-01-15
valid_until = 2028-01-15T12:00:00+02:00
embargo_until = 1_820_000_000
analysis_version = "2"
moderators = [{name = "latitude", low = 0.0, high = 60.0}]
"""


MODEL = """
question = "age, sex | death"
kind = "model"
family = "logistic"
coefficients = ["intercept", "age", "sex"]
purpose = "effect"
answers = 4
feature_means = [60, 0.5]
feature_scales = [10, 0.5]
prior = "log-F"
prior_scale = 1
"""
OTHER = {
    "family": '"cox"',
    "coefficients": '["intercept", "sex", "age"]',
    "purpose": '"prediction"',
    "answers": "5",
    "feature_means": "[61, 0.5]",
    "feature_scales": "[10, 0.25]",
    "prior": '"normal"',
    "prior_scale": "2",
}
OF_MODELS = {"kind", "residual_variance", *OTHER}


def model(**changes):
    fields = {
        "question": "age, sex | death",
        "kind": "model",
        "family": "logistic",
        "coefficients": ("intercept", "age", "sex"),
        "purpose": "effect",
    }
    return qis.Study(**{**fields, **changes})


def test_every_field_of_a_model_is_read_from_toml_and_each_decides_the_id(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(MODEL, encoding="utf-8")
    study = qis.Study.load(path)
    assert (study.answers, study.features, study.prior_scale) == (4, ("age", "sex"), 1.0)
    ids = {study.id}
    for name, value in OTHER.items():
        lines = [x for x in MODEL.splitlines() if not x.startswith(f"{name} = ")]
        if name == "family":  # Cox's model has no intercept
            lines = [x.replace('"intercept", ', "") for x in lines]
        if name == "purpose":  # predictions have neither an intercept nor a prior
            lines = [x.replace('"intercept", ', "") for x in lines if "prior" not in x]
        path.write_text("\n".join([*lines, f"{name} = {value}"]), encoding="utf-8")
        ids.add(qis.Study.load(path).id)
    assert len(ids) == len(OTHER) + 1


def test_a_model_has_six_answers_unless_it_says_otherwise():
    assert model().answers == 6
    assert model() == model(answers=6)
    assert model().id == model(answers=6).id
    assert qis.Study(question="a vs b").answers is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": ""}, "kind='model'"),
        ({"family": ""}, "family"),
        ({"purpose": ""}, "no default"),
        ({"coefficients": ()}, "0 coefficients"),
        ({"coefficients": tuple("abcdefghijklmno")}, "15 coefficients"),
        ({"coefficients": ("age", "age")}, "name of its own"),
        ({"coefficients": ("intercept",)}, "no model"),
        ({"family": "cox"}, "no intercept"),
        ({"family": "linear"}, "residual variance"),
        ({"residual_variance": 2.0}, "residual variance"),
        ({"measure": "OR"}, "no measure"),
        ({"purpose": "prediction"}, "standardised features"),
        ({"purpose": "prediction", "coefficients": ("age",)}, "feature_means"),
        ({"feature_scales": (1.0,)}, "1 numbers for 2 features"),
        ({"prior": "log-F"}, "prior_scale"),
        ({"prior_scale": 1.0}, "prior_scale"),
        ({"family": "poisson", "prior": "log-F", "prior_scale": 1.0}, "normal"),
        ({"answers": 0}, "answers"),
        ({"family": "probit"}, "logistic"),
        ({"feature_scales": (1.0, 0.0)}, "feature_scales"),
        ({"feature_scales": 1.0}, "list of numbers"),
    ],
)
def test_what_makes_no_model_is_refused_with_a_reason(changes, words):
    with pytest.raises(InputError, match=words):
        model(**changes)


def test_every_field_is_read_from_toml_and_each_decides_the_id(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(WHOLE, encoding="utf-8")
    study = qis.Study.load(path)
    names = [field.name for field in fields(qis.Study) if field.name not in OF_MODELS]
    assert all(f"\n{name} = " in WHOLE for name in names), "the text above misses a field"
    assert all(getattr(study, name) not in (None, "", ()) for name in names)
    assert (study.valid_from, study.valid_until) == (1_799_971_200, 1_831_543_200)
    ids = {study.id}
    for name in names:
        if name != "question":
            without = "\n".join(x for x in WHOLE.splitlines() if not x.startswith(f"{name} = "))
            path.write_text(without, encoding="utf-8")
            ids.add(qis.Study.load(path).id)
    assert len(ids) == len(names)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('model = "random"', 'model = "bayes"', "fixed, random"),
        ('measure = "OR"', 'measure = "odds"', "measure"),
        ('ties = "efron"', 'ties = "exact"', "one of efron, breslow"),
        ('adjustment = ["age", "SOFA at entry"]', 'adjustment = "age"', "list of texts"),
        ('scheme = "0123456789abcdef"', 'scheme = "vectors"', "16 hexadecimal"),
        ("valid_from = 2027-01-15", "valid_from = 2027-01-15T00:00:00", "no zone"),
        ("valid_from = 2027-01-15", "valid_from = 2029-01-15", "not after"),
        ("min_similarity = 0.7", "min_similarity = 70", "from 0.0 to 1.0"),
        ("tau_scale = 0.5", "tau_scale = 0", "tau_scale"),
        ("units =", "unit =", "unknown key 'unit'"),
        ("question =", "title =", "unknown key 'title'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_files_name(tmp_path, old, new, words):
    path = tmp_path / "study.toml"
    assert WHOLE.count(old) == 1
    path.write_text(WHOLE.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=words) as refused:
        qis.Study.load(path)
    assert str(path) in str(refused.value)
    assert refused.value.field


def test_it_knows_when_the_clock_changes_it():
    study = qis.Study(question="q", valid_from=100, valid_until=300, embargo_until=200)
    assert [study.next_change(now) for now in (0, 100, 199.5, 200, 300)] == [
        100,
        200,
        200,
        300,
        None,
    ]
    assert [study.is_embargoed(now) for now in (0, 199.9, 200)] == [True, True, False]
    assert qis.Study(question="q").next_change(0) is None


MODERATORS = (
    qis.Moderator(name="latitude", low=-60.0, high=60.0, slope=True),
    qis.Moderator(name='kind of "ward"', categories=("a", "b, c"), weight=0.0),
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(
    st.fixed_dictionaries(
        {"question": st.text(min_size=1, max_size=12)},
        optional={
            "population": TEXTS, "units": TEXTS, "analysis_version": TEXTS,
            "adjustment": st.lists(TEXTS, max_size=3).map(tuple),
            "measure": st.sampled_from(["OR", "HR", "MD"]),
            "model": st.sampled_from(["fixed", "random"]),
            "moderators": st.sampled_from([(), MODERATORS, MODERATORS[:1]]),
            "tau_scale": st.floats(1e-6, 1e6), "mean_scale": st.integers(1, 10**6),
            "min_similarity": st.floats(0.0, 1.0), "valid_from": st.integers(0, 2**31),
        },
    )
)  # fmt: skip
@example({"question": "a", "population": '"quoted" \\ and \u2028 \U0001f600 ${x}'})
def test_what_is_saved_is_loaded_again(arguments):
    try:
        study = qis.Study(**arguments)
    except InputError:
        return  # its texts are none that a study has
    with tempfile.TemporaryDirectory() as folder:
        study.save(f"{folder}/study.toml")
        assert qis.Study.load(f"{folder}/study.toml") == study
        with pytest.raises(StorageError, match="exists"):
            study.save(f"{folder}/study.toml")
