"""Expansions of regression models about an anchor, from a site's own rows."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._gate import checked
from qis.errors import InputError
from qis.outcomes._base import Outcome, check_real, knowing
from qis.outcomes._data_summary import DataSummary
from qis.outcomes._regression import (
    Design,
    Terms,
    cox,
    intercept_of,
    linear,
    logistic,
    poisson,
    poisson_constant,
)
from qis.outcomes._row_groups import levels_of, patterns_of, shares_of, smallest_groups
from qis.outcomes._strata import strata_of
from qis.outcomes.anchor import ID_SIZE, Anchor, rounded

Floats = NDArray[np.float64]


class FromModels(Outcome):
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
    @checked
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
        summary = _summary(design, design.y, own_intercept=own_intercept)
        return knowing(cls._expanded("logistic", terms, anchor, people, others), summary)

    @classmethod
    @checked
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

        Examples
        --------
        >>> import qis
        >>> model = qis.QuadraticLikelihood.from_poisson(
        ...     question="falls | ward, age",
        ...     features=[[1, 0.1], [1, 0.4], [1, 0.8], [1, 0.2]],
        ...     events=[0, 1, 3, 0],
        ...     exposure=[1.0, 0.5, 2.0, 1.0],
        ...     anchor=[0.0, 0.0],
        ... )
        >>> model.n, model.events
        (4, 4)

        """
        point, _ = point_of(anchor, "poisson")
        design = Design.of(features, events, "events", point)
        time = np.ones(design.n) if exposure is None else design.column(exposure, "exposure")
        if not ((design.y >= 0.0) & (design.y == np.rint(design.y))).all():
            raise InputError("events are whole numbers from 0", field="events")
        if not (time > 0.0).all():
            raise InputError("exposure is positive", field="exposure")
        terms = design.terms(lambda x, y, at: poisson(x, y, time, at), own_intercept=own_intercept)
        value = terms.log_likelihood + poisson_constant(design.y, time)
        terms = terms._replace(log_likelihood=value)
        people = design.n, int(design.y.sum())
        summary = _summary(design, design.y, own_intercept=own_intercept, exposure=time)
        return knowing(cls._expanded("poisson", terms, anchor, people, others), summary)

    @classmethod
    @checked
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

        Examples
        --------
        >>> import qis
        >>> model = qis.QuadraticLikelihood.from_linear(
        ...     question="blood pressure | age",
        ...     features=[[1, 0.0], [1, 1.0], [1, 2.0], [1, 3.0]],
        ...     responses=[1.0, 3.0, 5.0, 7.0],
        ...     residual_variance=1.0,
        ...     anchor=[0.0, 0.0],
        ... )
        >>> fit = qis.combine_quadratics([model], anchors={model.anchor_id: [0.0, 0.0]})
        >>> [round(float(each), 3) for each in fit.coefficients]
        [1.0, 2.0]

        """
        variance = check_real(residual_variance, "residual_variance", 1e-30, 1e30)
        point, _ = point_of(anchor, "linear")
        design = Design.of(features, responses, "responses", point)
        summary = _summary(design, design.y, own_intercept=own_intercept, weight=1.0 / variance)
        if own_intercept:
            design = design.centred()
        terms = design.terms(lambda x, y, at: linear(x, y, variance, at))
        people = design.n, None
        return knowing(cls._expanded("linear", terms, anchor, people, others), summary)

    @classmethod
    @checked
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

        Examples
        --------
        >>> import qis
        >>> model = qis.QuadraticLikelihood.from_cox(
        ...     question="drug vs none, age | death",
        ...     features=[[1, 0.3], [0, 0.1], [1, 0.9], [0, 0.5]],
        ...     times=[5.0, 3.0, 9.0, 4.0],
        ...     events=[1, 1, 0, 1],
        ...     anchor=[0.0, 0.0],
        ... )
        >>> model.model, model.n, model.events
        ('cox', 4, 3)

        """
        point, _ = point_of(anchor, "cox")
        design = Design.of(features, times, "times", point)
        happened = design.column(events, "events")
        if not np.isin(happened, (0.0, 1.0)).all():
            raise InputError("events must be 0 or 1 (or booleans)", field="events")
        if ties not in ("efron", "breslow"):
            raise InputError("ties is 'efron' or 'breslow'", field="ties", actual=ties)
        if design.y.min() < 0.0:
            row = int(design.y.argmin())
            raise InputError(
                f"times[{row}] is {design.y[row]:g}; a time since the start is not negative",
                field="times",
                actual=float(design.y[row]),
                limit=0.0,
            )
        groups = strata_of(strata, design.n)
        terms = design.terms(
            lambda x, t, at: cox(x, t, happened == 1.0, at, strata=groups, ties=ties)
        )
        people = design.n, int(happened.sum())
        summary = _summary(design, happened, own_intercept=False, strata=groups)
        return knowing(cls._expanded("cox", terms, anchor, people, others), summary)


def _summary(
    design: Design,
    label: Floats,
    *,
    own_intercept: bool,
    weight: float | None = None,
    exposure: Floats | None = None,
    strata: Sequence[NDArray[np.bool_]] = (),
) -> DataSummary:
    """Summarise the rows of a model: small groups, and the largest share of the information.

    A person's weight is p(1 - p) in a logistic model, the expected number of events in a Poisson
    one, and the relative hazard in Cox's, where it is the share of the first risk set. An own
    intercept cancels in all but the logistic one, where it is left at the fitted events.
    """
    columns = [*design.x.T, *((label,) if weight is None else _if_few(label))]
    if exposure is not None:
        columns[-1] = (label > 0.0).astype(np.float64)
    columns += [np.where(group, 1.0, 0.0) for group in strata if len(strata) > 1]
    eta = design.x @ design.at
    if weight is not None:
        contributions = np.ones(design.n)
    elif exposure is None and not strata:
        centre = intercept_of(eta, label) if own_intercept else 0.0
        contributions = 0.25 / np.cosh(np.clip((eta + centre) / 2.0, -350.0, 350.0)) ** 2
    else:
        contributions = np.exp(np.clip(eta - eta.max(), -700.0, 0.0))
        contributions *= 1.0 if exposure is None else exposure
    cell, of_three = smallest_groups(columns)
    largest, largest_two = shares_of(contributions)
    group_columns, groups = patterns_of(design.x) if own_intercept else ((), ())
    return DataSummary(
        anchor=tuple(design.at.tolist()),
        weight=weight,
        own_intercept=own_intercept,
        smallest_cell=cell,
        smallest_of_three=of_three,
        largest_share=largest,
        largest_two=largest_two,
        group_columns=group_columns,
        groups=groups,
    )


def _if_few(responses: Floats) -> tuple[Floats, ...]:
    """Responses that are a yes/no variable are a column of the table, measured ones are not."""
    return (responses,) if levels_of(responses) else ()


def point_of(anchor: Anchor | ArrayLike, model: str) -> tuple[tuple[float, ...], bytes]:
    """Coefficients of the anchor, rounded to float32, and the hash of their names."""
    if not isinstance(anchor, Anchor):
        return rounded(anchor, "anchor"), bytes(ID_SIZE)
    if anchor.model != model:
        raise InputError(
            f"the anchor is of a {anchor.model} model, not {model}",
            field="anchor",
            actual=anchor.model,
            limit=model,
        )
    return anchor.coefficients, anchor.names_hash
