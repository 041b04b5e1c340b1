"""Expansions of regression models about an anchor, from a site's own rows."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from qis.errors import InputError
from qis.outcomes._base import check_real
from qis.outcomes._regression import Design, Terms, cox, linear, logistic, poisson
from qis.outcomes.anchor import ID_SIZE, Anchor, rounded


class FromModels:
    """The ways to build a quadratic likelihood from data; each ends in the class's `_expanded`."""

    __slots__ = ()

    @classmethod
    def _expanded(
        cls,
        model: str,
        terms: Terms,
        anchor: Anchor | ArrayLike,
        people: tuple[int, int | None],
        others: dict[str, Any],
    ) -> Self:
        """What the class makes of score and information; `people` are n and events."""
        raise NotImplementedError

    @classmethod
    def from_logistic(
        cls,
        *,
        features: ArrayLike,
        labels: ArrayLike,
        anchor: Anchor | ArrayLike,
        own_intercept: bool = False,
        **others: Any,
    ) -> Self:
        """Of a logistic regression.

        Parameters
        ----------
        features
            Shape (n, p), any real dtype. A column of ones gives a common intercept.
        labels
            0 or 1, shape (n,).
        anchor
            As for `from_terms`; where to begin if nothing is known: zeros.
        own_intercept
            Give the site an intercept of its own, which does not travel: features and anchor then
            have no column of ones. A common intercept mixes differences between sites into the
            coefficients.
        others
            study or question, cohort.

        Raises
        ------
        InputError
            As `from_terms`, or if the shapes of the data differ or labels are not 0 or 1.

        """
        point, _ = point_of(anchor, "logistic")
        design = Design.of(features, labels, "labels", point)
        if not np.isin(design.y, (0.0, 1.0)).all():
            raise InputError("labels must be 0 or 1", field="labels")
        terms = design.terms(logistic, own_intercept=own_intercept)
        people = design.n, int(design.y.sum())
        return cls._expanded("logistic", terms, anchor, people, others)

    @classmethod
    def from_poisson(
        cls,
        *,
        features: ArrayLike,
        events: ArrayLike,
        anchor: Anchor | ArrayLike,
        exposure: ArrayLike | None = None,
        own_intercept: bool = False,
        **others: Any,
    ) -> Self:
        """Of a Poisson regression of event counts.

        Parameters
        ----------
        features, anchor, own_intercept, others
            As for `from_logistic`.
        events
            Whole numbers, shape (n,).
        exposure
            Person-time, shape (n,), positive; default 1.

        Raises
        ------
        InputError
            As `from_logistic`, or if events are negative or exposure is not positive.

        """
        point, _ = point_of(anchor, "poisson")
        design = Design.of(features, events, "events", point)
        time = np.ones(design.n) if exposure is None else design.column(exposure, "exposure")
        if not ((design.y >= 0.0) & (design.y == np.rint(design.y))).all():
            raise InputError("events are whole numbers from 0", field="events")
        if not (time > 0.0).all():
            raise InputError("exposure is positive", field="exposure")
        terms = design.terms(lambda x, y, at: poisson(x, y, time, at), own_intercept=own_intercept)
        people = design.n, int(design.y.sum())
        return cls._expanded("poisson", terms, anchor, people, others)

    @classmethod
    def from_linear(
        cls,
        *,
        features: ArrayLike,
        responses: ArrayLike,
        residual_variance: float,
        anchor: Anchor | ArrayLike,
        own_intercept: bool = False,
        **others: Any,
    ) -> Self:
        """Of a linear regression, whose likelihood is quadratic: one packet is the whole of it.

        Parameters
        ----------
        features, anchor, own_intercept, others
            As for `from_logistic`.
        responses
            Shape (n,).
        residual_variance
            Known, or estimated before and the same at all sites; positive.

        Raises
        ------
        InputError
            As `from_logistic`, or if the variance is not positive.

        """
        variance = check_real(residual_variance, "residual_variance", 1e-30, 1e30)
        point, _ = point_of(anchor, "linear")
        design = Design.of(features, responses, "responses", point)
        if own_intercept:
            design = design.centred()
        terms = design.terms(lambda x, y, at: linear(x, y, variance, at))
        people = design.n, None
        return cls._expanded("linear", terms, anchor, people, others)

    @classmethod
    def from_cox(
        cls,
        *,
        features: ArrayLike,
        times: ArrayLike,
        events: ArrayLike,
        anchor: Anchor | ArrayLike,
        strata: ArrayLike | None = None,
        ties: Literal["efron", "breslow"] = "efron",
        **others: Any,
    ) -> Self:
        """Of a Cox regression; a site's baseline hazard is always its own.

        Parameters
        ----------
        features, anchor, others
            As for `from_logistic`; without a column of ones.
        times
            Of event or censoring, shape (n,).
        events
            1 or True for an event, 0 or False for censoring, shape (n,).
        strata
            Label of each person's stratum, shape (n,).
        ties
            Efron's or Breslow's handling of tied events.

        Raises
        ------
        InputError
            As `from_logistic`, or if events are not 0 or 1.

        """
        point, _ = point_of(anchor, "cox")
        design = Design.of(features, times, "times", point)
        happened = design.column(events, "events")
        if not np.isin(happened, (0.0, 1.0)).all():
            raise InputError("events must be 0 or 1 (or booleans)", field="events")
        if ties not in ("efron", "breslow"):
            raise InputError("ties is 'efron' or 'breslow'", field="ties", actual=ties)
        labels = np.zeros(design.n) if strata is None else np.asarray(strata)
        if labels.shape != (design.n,):
            raise InputError("strata has another length than times", field="strata")
        groups = [labels == label for label in np.unique(labels)]
        terms = design.terms(
            lambda x, t, at: cox(x, t, happened == 1.0, at, strata=groups, ties=ties)
        )
        people = design.n, int(happened.sum())
        return cls._expanded("cox", terms, anchor, people, others)


def point_of(anchor: Anchor | ArrayLike, model: str) -> tuple[tuple[float, ...], bytes]:
    """Coefficients of the anchor in float32, and the hash of their names."""
    if not isinstance(anchor, Anchor):
        return rounded(anchor), bytes(ID_SIZE)
    if anchor.model != model:
        raise InputError(
            f"the anchor is of a {anchor.model} model, not {model}",
            field="anchor",
            actual=anchor.model,
            limit=model,
        )
    return anchor.coefficients, anchor.names_hash
