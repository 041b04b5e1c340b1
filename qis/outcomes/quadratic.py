"""Score and information of a model at an anchor, which sites' sums are made from.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort):

=====  =================  ======================================================================
key    content            meaning
=====  =================  ======================================================================
4      uint               number of people
5      uint               number of events; absent for linear models
6      bstr(10 + 6p +     anchor id; uint8 code of the model; int8 exponent and p int16: whitened
       p(p - 1))          score; p times four bytes: int8 exponent of the row, upper three bytes
                          of the float32 on the diagonal; int16 below the diagonal, by rows. All
                          little-endian
10     bstr(8)            log-likelihood at the anchor, float64; absent if it is not told
=====  =================  ======================================================================
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import matrix, vector
from qis._layout import BODY_ROOM
from qis.errors import InputError
from qis.outcomes._base import (
    KEY_EVENTS,
    KEY_LOG_LIKELIHOOD,
    KEY_N,
    KEY_REALS,
    Body,
    Outcome,
    check_real,
    common_fields,
    knowing,
    set_counts,
)
from qis.outcomes._data_summary import DataSummary
from qis.outcomes._expansions import FromModels, point_of
from qis.outcomes._quadratic_coding import (
    UNIT,
    Coded,
    check_scaled,
    coded,
    pack,
    unpack,
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
class QuadraticLikelihood(FromModels):
    """A model's log-likelihood to second order about an anchor. Build one with a `from_…`.

    The fields are exactly what travels; `score` and `information` are what they stand for: with
    the lower triangular factor L, L z and L Lᵀ.

    Parameters
    ----------
    model
        "logistic", "poisson", "linear" or "cox".
    anchor_id
        8 bytes that name the anchor.
    score_exponent, whitened
        z in units of 2**exponent / 32767, integers of shape (p,), 1 ≤ p ≤ 14; the largest is at
        least 16384 unless all are zero. A packet has room for 14 with a question of at most 10
        bytes, for 12 with any.
    diagonal
        Of L: float32 numbers of 16 significant bits, not negative, shape (p,). Zero: given the
        coefficients before it, this site says nothing of that one, and z is zero there.
    exponents
        Powers of two that scale the rows of L below the diagonal, in [-126, 126], shape (p,).
    factors
        L below the diagonal by rows, integers within ±32767 in units of 2**exponent / 32767, the
        largest of a row at least 16384 unless all are zero, shape (p(p − 1)/2,).
    n
        Number of people.
    events
        Number of events; `None` in linear models.
    log_likelihood
        At the anchor, all constants included (a partial likelihood in Cox's model); `None` in
        packets of former versions and where there was no room: it takes 10 bytes, so that it goes
        with 13 coefficients and a question of at most 28 bytes, and as a rule not with 14.

    Raises
    ------
    InputError
        If numbers are out of range or not in the one form that travels.

    Examples
    --------
    >>> import qis
    >>> model = qis.QuadraticLikelihood.from_logistic(
    ...     question="death | age",
    ...     features=[[1, 0.1], [1, 0.4], [1, 0.8], [1, 0.2]],
    ...     labels=[0, 0, 1, 1],
    ...     anchor=[0.0, 0.0],
    ... )
    >>> model.n, model.information.shape
    (4, (2, 2))

    """

    kind: ClassVar[int] = 5

    model: str
    anchor_id: bytes
    score_exponent: int
    whitened: tuple[int, ...]
    diagonal: tuple[float, ...]
    exponents: tuple[int, ...]
    factors: tuple[int, ...]
    n: int
    events: int | None = None
    log_likelihood: float | None = None

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        check_model(self.model)
        if type(self.anchor_id) is not bytes or len(self.anchor_id) != ID_SIZE:
            raise InputError(f"anchor_id is {ID_SIZE} bytes", field="anchor_id", limit=ID_SIZE)
        set_counts(self, ("n",), 1)
        set_counts(self, ("events",), optional=True)
        size = len(self.diagonal)
        if not 1 <= size <= MAX_COEFFICIENTS:
            raise InputError(
                f"{size} coefficients; from 1 to {MAX_COEFFICIENTS} fit",
                field="diagonal",
                actual=size,
                limit=MAX_COEFFICIENTS,
            )
        for field, count in (
            ("whitened", size),
            ("exponents", size),
            ("factors", size * (size - 1) // 2),
        ):
            if len(getattr(self, field)) != count:
                raise InputError(
                    f"{len(getattr(self, field))} {field} for {size} coefficients; give {count}",
                    field=field,
                    actual=len(getattr(self, field)),
                    limit=count,
                )
        if self.log_likelihood is not None:
            told = check_real(self.log_likelihood, "log_likelihood", -_LARGEST, _LARGEST)
            object.__setattr__(self, "log_likelihood", told)
        self._check_numbers()

    def _check_numbers(self) -> None:
        diagonal = tuple(check_real(entry, "diagonal", 0.0, _LARGEST) for entry in self.diagonal)
        object.__setattr__(self, "diagonal", diagonal)
        for entry, z in zip(diagonal, self.whitened, strict=True):
            packed = struct.pack("<f", entry)
            if packed[0] or struct.unpack("<f", packed) != (entry,):
                raise InputError("the diagonal has more than 16 bits", field="diagonal")
            if z and not entry:
                raise InputError("z is not 0 where there is no information", field="whitened")
        check_scaled(self.score_exponent, self.whitened, "whitened")
        start = 0
        for row, exponent in enumerate(self.exponents):
            check_scaled(exponent, self.factors[start : start + row], "factors")
            start += row

    @property
    def factor(self) -> Floats:
        """The lower triangular L, float64 of shape (p, p)."""
        return unpacked(self.diagonal, self.exponents, self.factors)

    @property
    def score(self) -> Floats:
        """First derivative of the log-likelihood at the anchor, float64 of shape (p,)."""
        score: Floats = self.factor @ self.z
        return score

    @property
    def z(self) -> Floats:
        """The whitened score, in standard errors, float64 of shape (p,)."""
        z: Floats = np.array(self.whitened, dtype=np.float64) * (2.0**self.score_exponent / UNIT)
        return z

    @property
    def information(self) -> Floats:
        """Minus the second derivative, positive semidefinite, float64 of shape (p, p)."""
        factor = self.factor
        information: Floats = factor @ factor.T
        return information

    @property
    def loss_bound(self) -> float:
        """How far 16-bit numbers may have moved this site's own maximum, in standard errors.

        A bound to first order, computed from the fields: z, L below the diagonal and L on the
        diagonal are each off by at most half a unit of their last place. The score itself is off by
        the rounding of z only, so that repeated packets still converge to the pooled fit.
        """
        if not any(self.whitened):
            return 0.0
        z, factor = self.z, self.factor
        inverse = np.linalg.pinv(factor)
        half_units = np.exp2(np.array(self.exponents, dtype=np.float64)) * 0.5 / UNIT
        errors = np.tril(np.repeat(half_units[:, np.newaxis], len(z), axis=1), -1)
        np.fill_diagonal(errors, np.exp2(np.frexp(np.array(self.diagonal))[1] - 17.0))
        of_score = math.sqrt(len(z)) * 2.0**self.score_exponent * 0.5 / UNIT
        of_factor = errors.T @ np.abs(inverse.T @ z), np.abs(inverse) @ errors @ np.abs(z)
        return of_score + sum(float(np.linalg.norm(part)) for part in of_factor)

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
        log_likelihood: float | None = None,
        study: Study | None = None,
        question: str = "",
        cohort: str = "",
    ) -> Self:
        """Build it from any model's score and information at an anchor.

        Parameters
        ----------
        model
            "logistic", "poisson", "linear" or "cox".
        score, information
            Shapes (p,) and (p, p); symmetric, positive semidefinite.
        anchor
            The coefficients at which they were taken: an `Anchor`, or numbers of shape (p,). They
            count as rounded to float32.
        n, events
            Number of people, and of events; `None` in linear models.
        log_likelihood
            At the anchor; left out if that does not fit into the packet beside the rest.
        study, question
            What the outcome belongs to: a `Study`, or a question only.
        cohort
            Which of the site's disjoint groups of people this is.

        Raises
        ------
        InputError
            If shapes differ, a number is not finite, the information is not positive semidefinite,
            or the score is not zero where there is no information (the anchor is too far from what
            the data say).

        """
        check_model(model)
        point, names_hash = point_of(anchor, model)
        size = len(point)
        first = vector(score, "score")
        second = matrix(information, "information")
        if first.shape != (size,) or second.shape != (size, size):
            raise InputError(
                f"score has shape {first.shape} and information {second.shape}; the anchor has "
                f"{size} coefficients",
                field="score",
                actual=first.shape,
                limit=(size,),
            )
        parts = coded(first, second)
        outcome = cls(
            study=study,
            question=question,
            cohort=cohort,
            model=model,
            anchor_id=anchor_id_of(model, point, names_hash),
            score_exponent=parts.score_exponent,
            whitened=parts.whitened,
            diagonal=parts.diagonal,
            exponents=parts.exponents,
            factors=parts.factors,
            n=n,
            events=events,
        )
        if log_likelihood is not None:
            told = replace(outcome, study_id=outcome.study_id, log_likelihood=log_likelihood)
            outcome = told if len(told.encoded()) <= BODY_ROOM else outcome
        return knowing(outcome, DataSummary(anchor=point))

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
            score=terms.score,
            information=terms.information,
            log_likelihood=terms.log_likelihood,
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
        body[KEY_REALS] = (
            self.anchor_id
            + bytes([MODELS[self.model]])
            + pack(
                Coded(
                    score_exponent=self.score_exponent,
                    whitened=self.whitened,
                    diagonal=self.diagonal,
                    exponents=self.exponents,
                    factors=self.factors,
                )
            )
        )
        if self.log_likelihood is not None:
            body[KEY_LOG_LIKELIHOOD] = struct.pack("<d", self.log_likelihood)
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        packed = body[KEY_REALS]
        parts = unpack(packed[ID_SIZE + 1 :])
        told = body.get(KEY_LOG_LIKELIHOOD)
        return cls(
            **common_fields(body),
            model=MODELS_BY_CODE[packed[ID_SIZE]],
            anchor_id=packed[:ID_SIZE],
            score_exponent=parts.score_exponent,
            whitened=parts.whitened,
            diagonal=parts.diagonal,
            exponents=parts.exponents,
            factors=parts.factors,
            n=body[KEY_N],
            events=body.get(KEY_EVENTS),
            log_likelihood=None if told is None else struct.unpack("<d", told)[0],
        )
