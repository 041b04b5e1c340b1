"""Expansions of regression models about an anchor, from a site's own rows."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from qis.errors import InputError
from qis.outcomes._base import check_real
from qis.outcomes._regression import Design, Terms, cox, linear, logistic, poisson
from qis.outcomes.anchor import ID_SIZE, Anchor, rounded


class FromModels:
    """Constructors of a quadratic likelihood from data; each ends in the class's `_expanded`."""

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
        """Build the outcome from score and information; `people` are n and events."""
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
        """Expand the log-likelihood of a logistic regression.

        Parameters
        ----------
        features
            Shape (n, p), any real dtype. A column of ones gives a common intercept.
        labels
            0 or 1, shape (n,).
        anchor
            The coefficients to expand about: an `Anchor`, or numbers of shape (p,); zeros if
            nothing is known.
        own_intercept
            Give the site an intercept of its own, which does not travel: features and anchor then
            have no column of ones. A common intercept mixes differences between sites into the
            coefficients.
        others
            `study` or `question`, and `cohort`.

        Raises
        ------
        InputError
            If shapes differ, a number is not finite, the anchor is too far from the data, or labels
            are not 0 or 1.

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
        """Expand the log-likelihood of a Poisson regression of event counts.

        Parameters
        ----------
        features
            Shape (n, p), any real dtype. A column of ones gives a common intercept.
        events
            Whole numbers, shape (n,).
        anchor
            The coefficients to expand about: an `Anchor`, or numbers of shape (p,); zeros if
            nothing is known.
        exposure
            Person-time, shape (n,), positive; default 1.
        own_intercept
            Give the site an intercept of its own, which does not travel: then features and anchor
            have no column of ones.
        others
            `study` or `question`, and `cohort`.

        Raises
        ------
        InputError
            If shapes differ, a number is not finite, the anchor is too far from the data, or events
            are negative or exposure is not positive.

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
        """Expand the log-likelihood of a linear regression.

        It is quadratic, so that one packet holds the whole of it, wherever the anchor is.

        Parameters
        ----------
        features
            Shape (n, p), any real dtype. A column of ones gives a common intercept.
        responses
            Real numbers, shape (n,).
        residual_variance
            Known, or estimated before and the same at all sites; positive, in squared units of the
            responses.
        anchor
            The coefficients to expand about: an `Anchor`, or numbers of shape (p,); zeros if
            nothing is known.
        own_intercept
            Give the site an intercept of its own, which does not travel: then features and anchor
            have no column of ones.
        others
            `study` or `question`, and `cohort`.

        Raises
        ------
        InputError
            If shapes differ, a number is not finite, the anchor is too far from the data, or the
            variance is not positive.

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
        """Expand the log partial likelihood of a Cox regression.

        Every site, and every stratum, has a baseline hazard of its own.

        Parameters
        ----------
        features
            Shape (n, p), any real dtype, without a column of ones.
        times
            Time of event or censoring, shape (n,).
        events
            1 or True for an event, 0 or False for censoring, shape (n,).
        anchor
            The coefficients to expand about: an `Anchor`, or numbers of shape (p,); zeros if
            nothing is known.
        strata
            Label of each person's stratum, shape (n,).
        ties
            How tied event times are handled: Efron (1977) or Breslow (1974).
        others
            `study` or `question`, and `cohort`.

        Raises
        ------
        InputError
            If shapes differ, a number is not finite, the anchor is too far from the data, or events
            are not 0 or 1.

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
    """Coefficients of the anchor, rounded to float32, and the hash of their names."""
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
