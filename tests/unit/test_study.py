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
"""


def test_every_field_is_read_from_toml_and_each_decides_the_id(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(WHOLE, encoding="utf-8")
    study = qis.Study.load(path)
    names = [field.name for field in fields(qis.Study)]
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


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(
    st.fixed_dictionaries(
        {"question": st.text(min_size=1, max_size=12)},
        optional={
            "population": TEXTS, "units": TEXTS, "analysis_version": TEXTS,
            "adjustment": st.lists(TEXTS, max_size=3).map(tuple),
            "measure": st.sampled_from(["OR", "HR", "MD"]),
            "model": st.sampled_from(["fixed", "random"]),
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
