"""The transformers, alone and in scikit-learn's own Pipeline, clone, grid search and tags."""

import importlib
import pickle

import numpy as np
import pytest

from qis.errors import InputError
from qis.fingerprint import (
    Ontology,
    SetScheme,
    SimilarityTransformer,
    SketchTransformer,
    TermScheme,
    VectorScheme,
)

VECTORS = VectorScheme(dimensions=5)
SETS = SetScheme(secret=bytes(32))
TERMS = TermScheme(
    Ontology(
        "two branches",
        {f"T:{n}": [f"T:{2 - n % 2}" if n > 2 else "T:0"] for n in range(1, 40)},
        {f"T:{n}": 0.0 if n == 0 else 1.0 if n < 3 else 4.0 for n in range(40)},
    )
)


def two_groups(kind):
    """Features of two kinds of case that are easy to tell apart, and which is which."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    if kind is VECTORS:
        centres = np.array([[3, 0, 0, -3, 1], [0, 3, -3, 0, 1]])
        return centres[labels] + rng.normal(size=(40, 5)), labels
    if kind is TERMS:
        numbers = [rng.choice(np.arange(3 + label, 40, 2), 6, replace=False) for label in labels]
        return [[f"T:{n}" for n in drawn] for drawn in numbers], labels
    names = np.array([f"{group} {i}" for group in "ab" for i in range(30)]).reshape(2, 30)
    return [set(rng.choice(names[label], 20, replace=False)) for label in labels], labels


@pytest.mark.parametrize(("scheme", "columns"), [(VECTORS, 256), (SETS, 64)])
def test_equal_columns_are_what_similarity_goes_by(scheme, columns):
    features, _ = two_groups(scheme)
    transformer = SketchTransformer(scheme)
    fields = transformer.fit_transform(features)
    assert fields.shape == (40, columns)
    assert fields.dtype == np.uint8
    assert fields.max() == 2**scheme.field_bits - 1
    a, b = scheme.fingerprints(features)[:2]
    equal = int((fields[0] == fields[1]).sum())
    assert scheme.similarity(a, b) == scheme.similarities[equal]
    assert list(transformer.get_feature_names_out()[:2]) == ["sketch0", "sketch1"]
    assert len(transformer.get_feature_names_out()) == columns


@pytest.mark.parametrize("scheme", [VECTORS, SETS, TERMS])
def test_similarities_to_the_fitted_ones(scheme):
    features, _ = two_groups(scheme)
    transformer = SimilarityTransformer(scheme).fit(features[:10])
    matrix = transformer.transform(features)
    prints = scheme.fingerprints(features)
    assert matrix.tolist() == [[scheme.similarity(a, b) for b in prints[:10]] for a in prints]
    assert list(transformer.get_feature_names_out()[-1:]) == ["similarity9"]
    square = SimilarityTransformer(scheme).fit_transform(iter(features))
    assert (square == square.T).all()
    assert (square.diagonal() == 1.0).all()


@pytest.mark.parametrize("kind", [SketchTransformer, SimilarityTransformer])
def test_parameters(kind):
    transformer = kind(VECTORS)
    assert transformer.get_params() == {"scheme": VECTORS}
    assert transformer.set_params() is transformer.set_params(scheme=SETS) is transformer
    assert transformer.get_params(deep=False) == {"scheme": SETS}
    assert kind.__name__ in repr(transformer)
    with pytest.raises(InputError, match="'bits'"):
        transformer.set_params(bits=3)


def test_what_is_not_fitted_or_has_no_fields_says_so():
    transformer = SimilarityTransformer(SETS)
    with pytest.raises(InputError, match="fit first"):
        transformer.transform([{"a"}])
    with pytest.raises(InputError, match="fit first"):
        transformer.get_feature_names_out()

    for call in (SketchTransformer(TERMS).fit, SketchTransformer(TERMS).transform):
        with pytest.raises(InputError, match="SimilarityTransformer"):
            call([["T:5"]])


@pytest.mark.parametrize("scheme", [VECTORS, SETS, TERMS])
def test_in_a_pipeline_they_tell_two_groups_apart(scheme):
    pipeline = importlib.import_module("sklearn.pipeline")
    neighbors = importlib.import_module("sklearn.neighbors")
    svm = importlib.import_module("sklearn.svm")
    features, labels = two_groups(scheme)
    steps = [
        (SketchTransformer(scheme), neighbors.KNeighborsClassifier(metric="hamming")),
        (SimilarityTransformer(scheme), svm.SVC(kernel="precomputed")),
    ]
    if scheme is TERMS:
        del steps[0]  # its sketches have no fields
    for transformer, classifier in steps:
        model = pipeline.make_pipeline(transformer, classifier).fit(features[:30], labels[:30])
        assert model.score(features[30:], labels[30:]) == 1.0
        assert len(model[:1].get_feature_names_out()) == model[0].transform(features).shape[1]
        again = pickle.loads(pickle.dumps(model))  # noqa: S301  our own bytes
        assert (again.predict(features) == model.predict(features)).all()


@pytest.mark.parametrize("kind", [SketchTransformer, SimilarityTransformer])
def test_clone_tags_and_search_over_schemes(kind):
    base = importlib.import_module("sklearn.base")
    selection = importlib.import_module("sklearn.model_selection")
    pipeline = importlib.import_module("sklearn.pipeline")
    linear = importlib.import_module("sklearn.linear_model")
    utils = importlib.import_module("sklearn.utils")
    features, labels = two_groups(VECTORS)
    fitted = kind(VECTORS).fit(features)
    cloned = base.clone(fitted)
    assert type(cloned) is kind
    assert cloned is not fitted
    assert cloned.get_params() == fitted.get_params()
    assert not hasattr(cloned, "index_")
    tags = utils.get_tags(cloned)
    assert tags.requires_fit is (kind is SimilarityTransformer)
    assert not tags.target_tags.required
    model = pipeline.make_pipeline(kind(VECTORS), linear.LogisticRegression())
    name = kind.__name__.lower()
    schemes = [VECTORS, VectorScheme(dimensions=5, secret=bytes(32))]
    search = selection.GridSearchCV(model, {f"{name}__scheme": schemes}, cv=3)
    search.fit(features, labels)
    assert search.best_score_ == 1.0
    assert "Pipeline" in repr(search.best_estimator_)
    assert "<style>" in search.best_estimator_._repr_html_()
