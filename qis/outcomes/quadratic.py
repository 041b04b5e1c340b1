"""Score and information of a model at an anchor: natural parameters, which add between sites.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort):

=====  =================  ======================================================================
key    content            meaning
=====  =================  ======================================================================
4      uint               number of people
5      uint               number of events; absent for linear models
6      bstr(8 + 6p +      anchor id; score in units of its standard deviation, p float16;
       p(p - 1))          diagonal of the information, p float32; correlations in units of
                          1/32767, int16, the lower triangle by rows. All little-endian
8      uint               code of the model
=====  =================  ======================================================================
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis.errors import InputError
from qis.outcomes._base import (
    KEY_DETAIL,
    KEY_EVENTS,
    KEY_N,
    KEY_REALS,
    Body,
    Outcome,
    check_count,
    check_real,
    common_fields,
)
from qis.outcomes._expansions import FromModels, place_of
from qis.outcomes._quadratic_coding import (
    FLOOR,
    MOST_DRAWN,
    UNIT,
    coded,
    coefficients_in,
    unpacked,
)
from qis.outcomes._regression import Terms
from qis.outcomes.anchor import (
    ID_SIZE,
    MAX_COEFFICIENTS,
    MODELS,
    MODELS_BY_CODE,
    Anchor,
    anchor_id_of,
    check_model,
)
from qis.outcomes.study import Study

Floats = NDArray[np.float64]

_LARGEST: Final = 2.0**100  # exact in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadraticLikelihood(FromModels, Outcome):
    """A model's log-likelihood to second order about an anchor. Build one with a `from_…`.

    The fields are exactly what travels; `score` and `information` are what they stand for.

    Parameters
    ----------
    model
        "logistic", "poisson", "linear" or "cox".
    anchor_id
        8 bytes that name the anchor.
    scaled_score
        Score in units of its standard deviation, float16 numbers, shape (p,), 1 ≤ p ≤ 14. A
        packet has room for 14 with a question of at most 10 bytes, for 12 with any.
    diagonal
        Of the information, float32 numbers, not negative. Zero: this site says nothing of that
        coefficient, and its score and correlations are zero.
    correlations
        Of the information, integers within ±32767, lower triangle by rows, shape (p(p − 1)/2,).
    n
        Number of people.
    events
        Number of events; `None` in linear models.

    Raises
    ------
    InputError
        If numbers are out of range or the information is not positive definite (apart from
        coefficients of which nothing is said).

    """

    kind: ClassVar[int] = 5

    model: str
    anchor_id: bytes
    scaled_score: tuple[float, ...]
    diagonal: tuple[float, ...]
    correlations: tuple[int, ...]
    n: int
    events: int | None = None

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        check_model(self.model)
        if type(self.anchor_id) is not bytes or len(self.anchor_id) != ID_SIZE:
            raise InputError(f"anchor_id is {ID_SIZE} bytes", field="anchor_id", limit=ID_SIZE)
        check_count(self.n, "n", 1)
        if self.events is not None:
            check_count(self.events, "events")
        size = len(self.diagonal)
        if not 1 <= size <= MAX_COEFFICIENTS or len(self.scaled_score) != size:
            raise InputError(
                f"{len(self.scaled_score)} scores and {size} diagonal elements; give one of each "
                f"for 1 to {MAX_COEFFICIENTS} coefficients",
                field="diagonal",
                actual=size,
                limit=MAX_COEFFICIENTS,
            )
        if len(self.correlations) != size * (size - 1) // 2:
            raise InputError(
                f"{len(self.correlations)} correlations for {size} coefficients",
                field="correlations",
                actual=len(self.correlations),
                limit=size * (size - 1) // 2,
            )
        scores = [check_real(u, "scaled_score", -65_504, 65_504) for u in self.scaled_score]
        halves = struct.unpack(f"<{size}e", struct.pack(f"<{size}e", *scores))
        object.__setattr__(self, "scaled_score", tuple(u + 0.0 for u in halves))
        sizes = [check_real(d, "diagonal", 0.0, _LARGEST) for d in self.diagonal]
        singles = struct.unpack(f"<{size}f", struct.pack(f"<{size}f", *sizes))
        object.__setattr__(self, "diagonal", singles)
        for correlation in self.correlations:
            check_count(correlation, "correlations", -UNIT, UNIT)
        object.__setattr__(self, "correlations", tuple(self.correlations))
        self._check_definite()

    def _check_definite(self) -> None:
        said = np.array(self.diagonal) > 0.0
        full = unpacked(self.correlations, len(self.diagonal))
        silent = ~said
        rest = full[silent] - np.eye(len(self.diagonal))[silent]
        if rest.any() or any(np.array(self.scaled_score)[silent]):
            raise InputError(
                "a coefficient without information has a score or a correlation", field="diagonal"
            )
        part = full[np.ix_(said, said)]
        if part.size and float(np.linalg.eigvalsh(part)[0]) < FLOOR / 2.0:
            raise InputError(
                "the information is not positive definite; features that are sums of others "
                "must be left out",
                field="correlations",
            )

    @property
    def score(self) -> Floats:
        """First derivative of the log-likelihood at the anchor, float64 of shape (p,)."""
        score: Floats = np.array(self.scaled_score) * np.sqrt(np.array(self.diagonal))
        return score

    @property
    def information(self) -> Floats:
        """Minus the second derivative, float64 of shape (p, p), symmetric."""
        scale = np.sqrt(np.array(self.diagonal))
        correlations = unpacked(self.correlations, len(self.diagonal))
        information: Floats = correlations * np.outer(scale, scale)
        return information

    @property
    def loss_bound(self) -> float:
        """How far 16-bit numbers may have moved this site's own maximum, in standard errors.

        A bound on the distance in the metric of the information, from what travels alone: of
        float16 scores (relative 2⁻¹¹) and of correlations rounded to 1/32767 and, where they were
        nearly singular, drawn towards zero by at most 1e-3.
        """
        said = np.array(self.diagonal) > 0.0
        part = unpacked(self.correlations, len(self.diagonal))[np.ix_(said, said)]
        if not part.size:
            return 0.0
        u = np.array(self.scaled_score)[said]
        smallest = float(np.linalg.eigvalsh(part)[0])
        step = np.linalg.solve(part, u)
        of_scores = float(np.linalg.norm(2.0**-11 * np.abs(u) + 2.0**-25))
        drawn = MOST_DRAWN if smallest < 2.0 * MOST_DRAWN else 0.0
        of_correlations = (len(u) * 0.5 / UNIT + drawn) * float(np.linalg.norm(step))
        return (of_scores + of_correlations) / math.sqrt(smallest)

    @classmethod
    def from_terms(
        cls,
        *,
        model: str,
        score: ArrayLike,
        information: ArrayLike,
        anchor: Anchor | ArrayLike,
        n: int,
        events: int | None = None,
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """From any model's score and information at an anchor.

        Parameters
        ----------
        model
            As for the class.
        score, information
            Shapes (p,) and (p, p); symmetric, positive semidefinite.
        anchor
            The point they were taken at: an `Anchor`, or coefficients of shape (p,). What counts
            is its float32 value.
        n, events, study, question, cohort
            As for the class.

        Raises
        ------
        InputError
            If shapes differ, a number is not finite, or the score is more than 65,000 standard
            deviations from zero (the anchor is too far from what the data say).

        """
        check_model(model)
        place, names_hash = place_of(anchor, model)
        size = len(place)
        first = np.asarray(score, dtype=np.float64)
        second = np.asarray(information, dtype=np.float64)
        if first.shape != (size,) or second.shape != (size, size):
            raise InputError(
                f"score has shape {first.shape} and information {second.shape}; the anchor has "
                f"{size} coefficients",
                field="score",
                actual=first.shape,
                limit=(size,),
            )
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise InputError("score or information is not finite", field="score")
        scaled, diagonal, correlations = coded(first, second)
        return cls(
            study=study,
            question=question,
            cohort=cohort,
            model=model,
            anchor_id=anchor_id_of(model, place, names_hash),
            scaled_score=scaled,
            diagonal=diagonal,
            correlations=correlations,
            n=n,
            events=events,
        )

    @classmethod
    def _expanded(
        cls,
        model: str,
        terms: Terms,
        anchor: Anchor | ArrayLike,
        people: tuple[int, int | None],
        others: dict[str, Any],
    ) -> Self:
        return cls.from_terms(
            model=model,
            score=terms[0],
            information=terms[1],
            anchor=anchor,
            n=people[0],
            events=people[1],
            **others,
        )

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        body[KEY_N] = self.n
        if self.events is not None:
            body[KEY_EVENTS] = self.events
        size = len(self.diagonal)
        body[KEY_REALS] = self.anchor_id + struct.pack(
            f"<{size}e{size}f{len(self.correlations)}h",
            *self.scaled_score,
            *self.diagonal,
            *self.correlations,
        )
        body[KEY_DETAIL] = MODELS[self.model]
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        packed = body[KEY_REALS]
        size = coefficients_in(len(packed) - ID_SIZE)
        pairs = size * (size - 1) // 2
        numbers = struct.unpack(f"<{size}e{size}f{pairs}h", packed[ID_SIZE:])
        return cls(
            **common_fields(body),
            model=MODELS_BY_CODE[body[KEY_DETAIL]],
            anchor_id=packed[:ID_SIZE],
            scaled_score=numbers[:size],
            diagonal=numbers[size : 2 * size],
            correlations=numbers[2 * size :],
            n=body[KEY_N],
            events=body.get(KEY_EVENTS),
        )
