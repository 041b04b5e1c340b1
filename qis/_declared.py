"""What a study declares of fingerprints, against what a loop is about to use."""

from typing import Any

from qis.about import Interest
from qis.errors import InputError, SchemeMismatchError
from qis.fingerprint import Scheme
from qis.outcomes import Study


def require_declared(study: Study, scheme: Scheme[Any], interest: Interest) -> None:
    """Raise unless scheme and interest are those that the study declares, where it declares them.

    Of the baseline features only the number can be compared, and only where the scheme has one
    dimension for each.

    Raises
    ------
    SchemeMismatchError
        If the scheme is another.
    InputError
        If the number of features or the similarity threshold is another.

    """
    if study.scheme and study.scheme != scheme.id.hex():
        raise SchemeMismatchError(
            f"study {study.question!r} declares the fingerprint scheme {study.scheme}, this one is "
            f"{scheme.id.hex()}: use its kind, parameters, ontology release and secret",
            field="scheme",
            actual=scheme.id.hex(),
            limit=study.scheme,
        )
    dimensions = getattr(scheme, "dimensions", None)
    named = len(study.baseline_features)
    if named and dimensions is not None and dimensions != named:
        raise InputError(
            f"study {study.question!r} has {named} baseline features, the scheme {dimensions} "
            "dimensions: it is one for each",
            field="baseline_features",
            actual=dimensions,
            limit=named,
        )
    if study.min_similarity is not None and study.min_similarity != interest.min_similarity:
        raise InputError(
            f"study {study.question!r} declares min_similarity {study.min_similarity}, the "
            f"interest has {interest.min_similarity}: make it with scheme.interest(…, "
            f"min_similarity={study.min_similarity})",
            field="min_similarity",
            actual=interest.min_similarity,
            limit=study.min_similarity,
        )
