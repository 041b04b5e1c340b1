"""A loop that would use another scheme or threshold than its study declares does not start."""

import pytest

import qis
from qis._declared import require_declared
from qis.errors import InputError, SchemeMismatchError

SCHEME = qis.VectorScheme(dimensions=3)
INTEREST = SCHEME.interest([1.0, -1.0, 0.5], min_similarity=0.7)
DECLARED = {
    "scheme": SCHEME.id.hex(),
    "baseline_features": ("age", "sex", "severity"),
    "min_similarity": 0.7,
}


@pytest.mark.parametrize("declared", [{}, DECLARED, {"min_similarity": 0.7}])
def test_what_is_as_declared_or_not_declared_passes(declared):
    require_declared(qis.Study(question="q", **declared), SCHEME, INTEREST)


def test_features_are_not_counted_where_a_scheme_has_no_dimensions():
    scheme = qis.SetScheme()
    study = qis.Study(question="q", baseline_features=("genes",))
    require_declared(study, scheme, scheme.interest({"BRCA1"}))


@pytest.mark.parametrize(
    ("other", "error", "words"),
    [
        ({"scheme": "00" * 8}, SchemeMismatchError, "declares the fingerprint scheme 0000"),
        ({"baseline_features": ("age",)}, InputError, "1 baseline features, the scheme 3"),
        ({"min_similarity": 0.8}, InputError, r"min_similarity 0.8, the interest has 0.7"),
    ],
)
def test_what_differs_is_refused_with_both_values(other, error, words):
    with pytest.raises(error, match=words) as refused:
        require_declared(qis.Study(question="q", **DECLARED | other), SCHEME, INTEREST)
    assert refused.value.field == next(iter(other))
