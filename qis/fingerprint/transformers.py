"""Fingerprints as steps of a scikit-learn pipeline, without needing scikit-learn.

Both classes follow its interface by duck typing; `__sklearn_tags__`, which only scikit-learn
calls, is what its version 1.7 and later ask of a step. A pickled transformer, like a pickled
scheme, holds the scheme's secret.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Generic, Self

import numpy as np
import numpy.typing as npt

from qis._gate import checked
from qis._given import instance, several
from qis.about import SKETCH_SIZE
from qis.errors import InputError
from qis.fingerprint.fields import FieldScheme
from qis.fingerprint.index import FingerprintIndex
from qis.fingerprint.scheme import Features, Scheme


class _Transformer(Generic[Features]):
    """The part of scikit-learn's interface that does not depend on what is computed."""

    @checked
    def __init__(self, scheme: Scheme[Features]) -> None:
        self.scheme = scheme

    def __repr__(self) -> str:
        return f"{type(self).__name__}(scheme={self.scheme!r})"

    def __sklearn_clone__(self) -> Self:
        return type(self)(self.scheme)  # schemes do not change, so that clones share one

    def __sklearn_tags__(self) -> Any:
        utils = import_module("sklearn.utils")
        return utils.Tags(
            estimator_type=None,
            target_tags=utils.TargetTags(required=False),
            transformer_tags=utils.TransformerTags(preserves_dtype=[]),
            requires_fit=self._requires_fit,
            input_tags=utils.InputTags(two_d_array=False),
        )

    @property
    def _requires_fit(self) -> bool:
        return False

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @checked
    def get_params(self, *, deep: bool = True) -> dict[str, Any]:
        """Return the one parameter, `scheme`, by name."""
        del deep  # a scheme has no parameters that could be set
        return {"scheme": self.scheme}

    def set_params(self, **params: Any) -> Self:
        """Use another scheme.

        Raises
        ------
        InputError
            If there is no such parameter.

        """
        for name in params:
            if name != "scheme":
                raise InputError(
                    f"{type(self).__name__} has no parameter {name!r}; it has 'scheme'", field=name
                )
        self.scheme = instance(params.get("scheme", self.scheme), "scheme", Scheme)
        return self


class SketchTransformer(_Transformer[Features]):
    """Features to the fields of their sketches, one column each.

    The share of equal columns is what the scheme's similarity goes by, so that
    `metric="hamming"` fits a nearest-neighbour model on them.

    Parameters
    ----------
    scheme
        A `VectorScheme` (256 columns of 0 and 1) or a `SetScheme` (64 columns of 0 to 15). Other
        schemes have no such fields: see `SimilarityTransformer`.

    Examples
    --------
    >>> import qis
    >>> from qis.fingerprint import SketchTransformer
    >>> SketchTransformer(qis.VectorScheme(dimensions=2)).fit_transform([[1.0, 0.0]]).shape
    (1, 256)

    """

    def fit(self, X: Iterable[Features], y: object = None) -> Self:  # noqa: N803  scikit-learn's
        """Check the scheme; there is nothing to learn.

        Raises
        ------
        InputError
            If the scheme does not compare sketches field by field.

        """
        del X, y
        self._field_scheme()
        return self

    def transform(self, X: Iterable[Features]) -> npt.NDArray[np.uint8]:  # noqa: N803
        """The fields, shape (samples, fields), dtype uint8.

        Parameters
        ----------
        X
            What the scheme's `fingerprints` takes.

        """
        planes = self._field_scheme().field_bits
        joined = b"".join([print_.sketch for print_ in self.scheme.fingerprints(X)])
        sketches = np.frombuffer(joined, np.uint8).reshape(-1, planes, SKETCH_SIZE // planes)
        weights = (1 << np.arange(planes, dtype=np.uint8)).astype(np.uint8)
        return np.tensordot(weights, np.unpackbits(sketches, axis=2), axes=(0, 1))

    def fit_transform(
        self,
        X: Iterable[Features],  # noqa: N803
        y: object = None,
    ) -> npt.NDArray[np.uint8]:
        """Check the scheme, then return the fields, shape (samples, fields), dtype uint8."""
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Return the names sketch0, sketch1, …; the names of the input are ignored."""
        del input_features
        return _numbered("sketch", 8 * SKETCH_SIZE // self._field_scheme().field_bits)

    def _field_scheme(self) -> FieldScheme[Features]:
        if isinstance(self.scheme, FieldScheme):
            return self.scheme
        raise InputError(
            f"sketches of a {type(self.scheme).__name__} have no fields to compare one by one; "
            "SimilarityTransformer takes every scheme",
            field="scheme",
            actual=type(self.scheme).__name__,
        )


class SimilarityTransformer(_Transformer[Features]):
    """Features to their similarities to those it was fitted on, one column each.

    For kernel methods (`kernel="precomputed"`), or as features. Similarities of sketches are noisy,
    so that the matrix need not be positive semidefinite.

    Parameters
    ----------
    scheme
        Any scheme.

    Examples
    --------
    >>> import qis
    >>> from qis.fingerprint import SimilarityTransformer
    >>> transformer = SimilarityTransformer(qis.VectorScheme(dimensions=2))
    >>> transformer.fit_transform([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]).shape
    (3, 3)

    """

    @property
    def _requires_fit(self) -> bool:
        return True

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "index_")

    def fit(self, X: Iterable[Features], y: object = None) -> Self:  # noqa: N803  scikit-learn's
        """Keep the fingerprints of X, which `scheme.fingerprints` must take."""
        del y
        self.index_ = FingerprintIndex(self.scheme)
        self.index_.add(self.scheme.fingerprints(X))
        return self

    def transform(self, X: Iterable[Features]) -> npt.NDArray[np.float64]:  # noqa: N803
        """Similarities in [0, 1], shape (samples, fitted samples).

        Raises
        ------
        InputError
            If it is not fitted.

        """
        index = self._fitted_index()
        prints = self.scheme.fingerprints(X)
        similarities = np.empty((len(prints), len(index)))
        for row, print_ in zip(similarities, prints, strict=True):
            for position, similarity in index.within(print_, 0.0):
                row[position] = similarity
        return similarities

    def fit_transform(
        self,
        X: Iterable[Features],  # noqa: N803
        y: object = None,
    ) -> npt.NDArray[np.float64]:
        """`fit`, then `transform` of the same; a symmetric matrix with ones in its diagonal."""
        features = several(X, "X", "what the scheme takes")
        return self.fit(features, y).transform(features)

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Return the names similarity0, similarity1, …; the names of the input are ignored."""
        del input_features
        return _numbered("similarity", len(self._fitted_index()))

    def _fitted_index(self) -> FingerprintIndex:
        if not self.__sklearn_is_fitted__():
            raise InputError("call fit first: similar to what?", field="fit")
        return self.index_


def _numbered(name: str, count: int) -> npt.NDArray[np.object_]:
    return np.array([f"{name}{column}" for column in range(count)], dtype=object)
