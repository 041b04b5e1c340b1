"""Sums of quadratic likelihoods, for who chooses the anchors; `qis.models` knows whether they fit.

A quadratic about anchor a with score s and information H is, up to a constant, that with natural
parameters H and h = s + H a. Those add, also between anchors, and the sum is largest at H⁻¹ h: a
step of Newton's method (Jordan, Lee & Yang 2019, who call it a surrogate likelihood).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._gate import checked
from qis.errors import IncompatibleEvidenceError, InputError, NoEstimateError
from qis.outcomes import Anchor, QuadraticLikelihood
from qis.outcomes.anchor import rounded
from qis.picture.html import HasTable
from qis.synthesis._sites import check_scale
from qis.synthesis.natural import solved, summed

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CombinedQuadratics(HasTable):
    """Pooled coefficients and their covariance. Unpacks into (coefficients, covariance).

    Parameters
    ----------
    model
        "logistic", "poisson", "linear" or "cox".
    coefficients
        Shape (p,).
    covariance
        Inverse of the summed information (with the ridge, if any), shape (p, p).
    information, natural
        Sums of H and of s + H a, without the ridge, shapes (p, p) and (p,).
    is_about_zero
        True if every anchor was zero.
    n, events
        People and events of all sites; events `None` where a site has none to count.
    sites
        Number of outcomes.

    Examples
    --------
    >>> import qis
    >>> point, x, y = [0.0, 0.0], [[1, 0.1], [1, 0.4], [1, 0.8], [1, 0.2]], [0, 1, 1, 0]
    >>> anchor = qis.Anchor(question="death | age", model="logistic", coefficients=tuple(point))
    >>> model = qis.QuadraticLikelihood.from_logistic(
    ...     question="death | age", features=x, labels=y, anchor=point
    ... )
    >>> qis.combine_quadratics([model], anchors={model.anchor_id: point}).coefficients.shape
    (2,)

    """

    model: str
    coefficients: Floats
    covariance: Floats
    information: Floats
    natural: Floats
    is_about_zero: bool
    n: int
    events: int | None
    sites: int

    def __iter__(self) -> Iterator[Floats]:
        return iter((self.coefficients, self.covariance))

    @property
    def standard_errors(self) -> Floats:
        """Standard errors of the coefficients, shape (p,)."""
        errors: Floats = np.sqrt(self.covariance.diagonal())
        return errors


@checked
def combine_quadratics(
    outcomes: Sequence[QuadraticLikelihood],
    *,
    anchors: Mapping[bytes, ArrayLike] | Iterable[Anchor],
    ridge: float = 0.0,
) -> CombinedQuadratics:
    """Add up sites' quadratic likelihoods and solve for the coefficients.

    Parameters
    ----------
    outcomes
        One or more of one study, one from each group of people; their anchors may differ. Their
        order changes no bit.
    anchors
        The anchors that they name: vectors by anchor id, or each an `Anchor`.
    ridge
        Added once to the diagonal of the summed information: precision of a normal prior about
        zero on every coefficient, in its own units.

    Raises
    ------
    InputError
        If there is no outcome, an anchor is missing, or the ridge is negative.
    IncompatibleEvidenceError
        If studies, models or numbers of coefficients differ.
    NoEstimateError
        If the data of all sites together do not determine the coefficients and there is no ridge.

    Examples
    --------
    >>> import qis
    >>> point, x, y = [0.0, 0.0], [[1, 0.1], [1, 0.4], [1, 0.8], [1, 0.2]], [0, 1, 1, 0]
    >>> anchor = qis.Anchor(question="death | age", model="logistic", coefficients=tuple(point))
    >>> model = qis.QuadraticLikelihood.from_logistic(
    ...     question="death | age", features=x, labels=y, anchor=point
    ... )
    >>> combined = qis.combine_quadratics([model], anchors={model.anchor_id: point})
    >>> combined.coefficients.shape, combined.covariance.shape
    ((2,), (2, 2))

    """
    _check_alike(outcomes)
    if ridge:
        check_scale(ridge, "ridge")
    vectors = _vectors_by_id(anchors)
    ordered = sorted(outcomes, key=lambda outcome: outcome.encoded())
    informations, naturals = [], []
    for outcome in ordered:
        anchor = vectors.get(outcome.anchor_id)
        if anchor is None:
            raise InputError(
                f"anchor {outcome.anchor_id.hex()} is not among those given; pass the Anchor that "
                "the site used",
                field="anchors",
                actual=outcome.anchor_id.hex(),
                limit=sorted(key.hex() for key in vectors),
            )
        if anchor.shape != outcome.score.shape:
            raise InputError(
                f"anchor {outcome.anchor_id.hex()} has {anchor.size} coefficients, the outcome "
                f"{outcome.score.size}",
                field="anchors",
            )
        information = outcome.information
        informations.append(information)
        naturals.append(outcome.score + information @ anchor)
    information, natural = summed(informations), summed(naturals)
    covariance, coefficients = solved(information + ridge * np.eye(len(natural)), natural)
    events = [outcome.events for outcome in ordered]
    return CombinedQuadratics(
        model=ordered[0].model,
        coefficients=coefficients,
        covariance=covariance,
        information=information,
        natural=natural,
        is_about_zero=not any(vectors[outcome.anchor_id].any() for outcome in ordered),
        n=sum(outcome.n for outcome in ordered),
        events=None if None in events else sum(e for e in events if e is not None),
        sites=len(ordered),
    )


@checked
def next_anchor(
    combined: CombinedQuadratics,
    *,
    intercept: int | None = None,
    question: str = "",
    names_hash: bytes = bytes(8),
    study_id: bytes = b"",
) -> Anchor:
    """The anchor for everybody's next packet.

    It is the combined coefficients. With `intercept`, for a logistic model that was expanded about
    zero, it is Fisher's linear discriminant, which follows from the same sums. On data whose
    features are not rare it is often nearer to the fit than Newton's step; with a yes/no feature of
    a few per thousand it can be far off, and further rounds diverge. Nothing here says whether the
    fit is reached: `qis.fit_model` and `loop.join` do (docs/models.md).

    Parameters
    ----------
    combined
        From `combine_quadratics`.
    intercept
        Position of the column of ones, if there is a common intercept.
    question, study_id, names_hash
        The study's question and id and the hash of its features' names: those of the outcomes
        that were combined.

    Raises
    ------
    InputError
        If there is no coefficient at `intercept`.

    Examples
    --------
    >>> import qis
    >>> point, x, y = [0.0, 0.0], [[1, 0.1], [1, 0.4], [1, 0.8], [1, 0.2]], [0, 1, 1, 0]
    >>> anchor = qis.Anchor(question="death | age", model="logistic", coefficients=tuple(point))
    >>> model = qis.QuadraticLikelihood.from_logistic(
    ...     question="death | age", features=x, labels=y, anchor=point
    ... )
    >>> combined = qis.combine_quadratics([model], anchors={model.anchor_id: point})
    >>> len(qis.next_anchor(combined, question="death | age").coefficients)
    2

    """
    coefficients = combined.coefficients
    if intercept is not None:
        if not 0 <= intercept < len(coefficients):
            raise InputError(
                f"intercept is {intercept!r}; it is a position among {len(coefficients)}",
                field="intercept",
                actual=intercept,
                limit=len(coefficients) - 1,
            )
        if combined.model == "logistic" and combined.is_about_zero:
            coefficients = _discriminant(combined, intercept)
    return Anchor(
        question=question,
        study_id=study_id,
        model=combined.model,
        coefficients=tuple(coefficients.tolist()),
        names_hash=names_hash,
    )


def _discriminant(combined: CombinedQuadratics, intercept: int) -> Floats:
    """Fisher's linear discriminant, as log odds; the combined coefficients where it has none.

    At zero every fitted probability is 1/2: the information is a quarter of the cross products of
    the features, and the score is the sum of the features of the cases less half of all sums.
    """
    products = 4.0 * combined.information
    n = products[intercept, intercept]
    cases = combined.natural + 0.5 * products[intercept]
    n_cases = cases[intercept]
    others = np.arange(len(cases)) != intercept
    sums = products[intercept, others]
    if not 0.0 < n_cases < n:
        return combined.coefficients
    if not others.any():  # an intercept alone is the log odds of everybody
        return np.array([math.log(n_cases / (n - n_cases))])
    mean_cases = cases[others] / n_cases
    mean_rest = (sums - cases[others]) / (n - n_cases)
    within = products[np.ix_(others, others)]
    within = within - n_cases * np.outer(mean_cases, mean_cases)
    within = within - (n - n_cases) * np.outer(mean_rest, mean_rest)
    try:
        _, slopes = solved(within / n, mean_cases - mean_rest)
    except NoEstimateError:
        return combined.coefficients
    found = np.empty(len(cases))
    found[others] = slopes
    middle = 0.5 * float((mean_cases + mean_rest) @ slopes)
    found[intercept] = math.log(n_cases / (n - n_cases)) - middle
    return found


def _check_alike(outcomes: Sequence[QuadraticLikelihood]) -> None:
    if not outcomes:
        raise InputError("there is nothing to combine", field="outcomes", actual=0, limit=1)
    for outcome in outcomes:
        if not isinstance(outcome, QuadraticLikelihood):
            raise InputError(
                f"a {type(outcome).__name__} is no QuadraticLikelihood", field="outcomes"
            )
    for field in ("study_id", "model"):
        found = {getattr(outcome, field) for outcome in outcomes}
        if len(found) > 1:
            raise IncompatibleEvidenceError(
                f"the outcomes differ in {field}; only those of one study and model add up",
                field=field,
                actual=tuple(sorted(found)),
            )
    if len({len(outcome.diagonal) for outcome in outcomes}) > 1:
        raise IncompatibleEvidenceError(
            "the outcomes have different numbers of coefficients", field="diagonal"
        )


def _vectors_by_id(anchors: Mapping[bytes, ArrayLike] | Iterable[Anchor]) -> dict[bytes, Floats]:
    if isinstance(anchors, Mapping):
        # What a site calls its anchor covers float32 numbers: so does what is solved with.
        return {key: np.array(rounded(vector)) for key, vector in anchors.items()}
    return {anchor.anchor_id: np.array(anchor.coefficients) for anchor in anchors}
