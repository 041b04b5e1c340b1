"""A site's own rows, which stay at home, and what a model says of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import matrix, vector
from qis._gate import checked
from qis._given import several
from qis.errors import InputError
from qis.models.prediction import design_of, has_own_intercept
from qis.outcomes import Anchor, QuadraticLikelihood, Study
from qis.outcomes._regression import Design, Terms, cox, linear, logistic, poisson
from qis.outcomes._strata import strata_of
from qis.outcomes.anchor import names_hash_of

Floats = NDArray[np.float64]

_RESPONSES = {
    "logistic": "labels",
    "poisson": "events",
    "linear": "responses",
    "cox": "times",
}
_NUMBERS = ("labels", "events", "responses", "times", "exposure")
_ALSO = {"poisson": ("exposure",), "cox": ("events", "strata")}


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelRows:
    """Rows of a model study, one a person. They never leave: only sums over them are answered.

    Parameters
    ----------
    features
        Shape (n, f), the study's features in order (`Study.features`), in their own units and
        without a column of ones; or columns by name (a mapping, or a data frame).
    labels
        Logistic: 0 or 1, shape (n,).
    events
        Poisson: whole numbers, shape (n,). Cox: 1 for an event, 0 for censoring, shape (n,).
    responses
        Linear: real numbers, shape (n,).
    times
        Cox: time of event or censoring, shape (n,).
    exposure
        Poisson: person-time, shape (n,), positive; default 1.
    strata
        Cox: label of each person's stratum, shape (n,).

    Raises
    ------
    InputError
        If a column is none of numbers; strata may be any labels. The features are looked at with
        the study, which says how many there are.

    Examples
    --------
    >>> import qis
    >>> rows = qis.ModelRows(features=[[0.1], [0.4], [0.8], [0.2]], labels=[0, 0, 1, 1])
    >>> rows.n
    4

    """

    features: Any = field(repr=False)
    labels: ArrayLike | None = field(default=None, repr=False)
    events: ArrayLike | None = field(default=None, repr=False)
    responses: ArrayLike | None = field(default=None, repr=False)
    times: ArrayLike | None = field(default=None, repr=False)
    exposure: ArrayLike | None = field(default=None, repr=False)
    strata: ArrayLike | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for each in _NUMBERS:
            if (given := getattr(self, each)) is not None:
                object.__setattr__(self, each, vector(given, each, booleans=True))
        if self.strata is not None:
            object.__setattr__(self, "strata", several(self.strata, "strata", "labels"))

    @property
    def n(self) -> int:
        """Number of people."""
        given = (self.labels, self.responses, self.times, self.events)
        return len(next((np.asarray(each) for each in given if each is not None), np.array(())))

    @checked
    def for_study(self, study: Study) -> "StudyRows":
        """Check them against what a study declares.

        Raises
        ------
        InputError
            If a column is missing, not finite, of another length, or not of the study's family.

        """
        if study.kind != "model":
            raise InputError("rows are for a study of kind='model'", field="study")
        response = _RESPONSES[study.family]
        allowed = {"features", response, *_ALSO.get(study.family, ())}
        for each in fields(self):
            if getattr(self, each.name) is not None and each.name not in allowed:
                raise InputError(
                    f"a {study.family} model has no {each.name}; it has {', '.join(allowed)}",
                    field=each.name,
                )
        for needed in (response, "events") if study.family == "cox" else (response,):
            if getattr(self, needed) is None:
                raise InputError(f"a {study.family} model needs {needed}", field=needed)
        design = design_of(study, _table(self.features, study.features))
        y = vector(getattr(self, response), response, booleans=True)
        if len(y) != len(design) or not len(y):
            raise InputError(
                f"{response} has {len(y)} entries for {len(design)} rows of features",
                field=response,
                actual=len(y),
                limit=len(design),
            )
        return StudyRows(study, design, y, self)


@dataclass(frozen=True, slots=True)
class StudyRows:
    """The rows of a site in the columns of a study's coefficients, checked."""

    study: Study
    design: Floats
    """Shape (n, p)."""
    y: Floats
    """Labels, counts, values or times, shape (n,)."""
    rows: ModelRows

    @property
    def n(self) -> int:
        """Number of people."""
        return len(self.y)

    def anchored(self, at: ArrayLike) -> Anchor:
        """An anchor of the study; see `anchored`."""
        return anchored(self.study, at)

    def terms(self, at: Floats) -> Terms:
        """Log-likelihood, score and information of these rows, their own intercept at its best.

        In Poisson models without what depends on the events alone.

        Raises
        ------
        InputError
            If it is not finite.

        """
        study, rows = self.study, self.rows
        design = Design(x=self.design, y=self.y, at=at)
        own = has_own_intercept(study)
        if study.family == "logistic":
            return design.terms(logistic, own_intercept=own)
        if study.family == "poisson":
            time = np.ones(self.n)
            if rows.exposure is not None:
                time = np.asarray(rows.exposure, dtype=np.float64)
            return design.terms(lambda x, y, b: poisson(x, y, time, b), own_intercept=own)
        if study.family == "linear":
            variance = study.residual_variance or 1.0
            design = design.centred() if own else design
            return design.terms(lambda x, y, b: linear(x, y, variance, b))
        events = np.asarray(rows.events) == 1.0
        strata = strata_of(rows.strata, self.n)
        ties: Literal["efron", "breslow"] = "breslow" if study.ties == "breslow" else "efron"
        return design.terms(lambda x, t, b: cox(x, t, events, b, strata=strata, ties=ties))

    def answer(self, at: ArrayLike | Anchor, *, cohort: str = "") -> QuadraticLikelihood:
        """The expansion of these rows about an anchor.

        Raises
        ------
        InputError
            If the rows do not fit the family, or the anchor is too far from what they say.

        """
        study, rows = self.study, self.rows
        anchor = at if isinstance(at, Anchor) else self.anchored(np.asarray(at, np.float64))
        common: dict[str, Any] = {
            "features": self.design,
            "anchor": anchor,
            "study": study,
            "cohort": cohort,
        }
        own = has_own_intercept(study)
        if study.family == "logistic":
            return QuadraticLikelihood.from_logistic(labels=self.y, own_intercept=own, **common)
        if study.family == "poisson":
            exposure = rows.exposure
            return QuadraticLikelihood.from_poisson(
                events=self.y, exposure=exposure, own_intercept=own, **common
            )
        if study.family == "linear":
            variance = study.residual_variance or 1.0
            return QuadraticLikelihood.from_linear(
                responses=self.y, residual_variance=variance, own_intercept=own, **common
            )
        return QuadraticLikelihood.from_cox(
            times=self.y,
            events=rows.events if rows.events is not None else (),
            strata=rows.strata,
            ties="breslow" if study.ties == "breslow" else "efron",
            **common,
        )

    def largest_change(self, move: Floats) -> float:
        """Largest change of somebody's linear predictor by a move of the coefficients."""
        return float(np.abs(self.design @ move).max())


def anchored(study: Study, at: ArrayLike) -> Anchor:
    """An anchor of a study; its cohort is its own id, so that no other ever replaces it."""
    names_hash = names_hash_of(study.coefficients)
    coefficients = tuple(vector(at, "at").tolist())
    anchor = Anchor(
        study=study, model=study.family, coefficients=coefficients, names_hash=names_hash
    )
    return Anchor(
        study=study,
        model=study.family,
        coefficients=coefficients,
        names_hash=names_hash,
        cohort=anchor.anchor_id.hex(),
    )


def _table(features: Any, names: tuple[str, ...]) -> Floats:
    if isinstance(features, Mapping) or hasattr(features, "columns"):
        missing = [name for name in names if name not in features]
        if missing:
            raise InputError(
                f"features have no column {', '.join(map(repr, missing))}", field="features"
            )
        columns = [vector(features[name], name, booleans=True) for name in names]
        if len({len(column) for column in columns}) > 1:
            raise InputError("the columns of features differ in length", field="features")
        return np.column_stack(columns)
    return matrix(features, "features", booleans=True)
