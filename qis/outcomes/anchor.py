"""Anchor: the coefficients about which sites expand a model's likelihood.

They are agreed in advance, or sent in a packet of this kind.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort):

=====  ==============  =========================================================================
key    content         meaning
=====  ==============  =========================================================================
6      bstr(8 + 4p)    hash of the coefficients' names, then p little-endian float32 coefficients
8      uint            code of the model
=====  ==============  =========================================================================
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from blake3 import blake3

from qis._given import several
from qis.errors import InputError, OutcomeTooLargeError
from qis.outcomes._base import KEY_DETAIL, KEY_REALS, Body, Outcome, check_real, common_fields
from qis.outcomes._text import normal_text
from qis.outcomes.study import Study

MODELS: Final = {"logistic": 1, "poisson": 2, "linear": 3, "cox": 4}
"""Models with their codes on the wire, which are fixed for ever."""
MODELS_BY_CODE: Final = {code: model for model, code in MODELS.items()}
MAX_COEFFICIENTS: Final = 14
ID_SIZE: Final = 8
_NAME_SIZE: Final = 1000
_LARGEST: Final = 2.0**100  # exact in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor(Outcome):
    """Coefficients of a model at which sites take score and information.

    Parameters
    ----------
    model
        "logistic", "poisson", "linear" or "cox".
    coefficients
        1 to 14 numbers within ±2¹⁰⁰; kept in float32, as they travel.
    names_hash
        8 bytes from `names_hash_of`; all zero if the names are not given.

    Raises
    ------
    InputError
        If the model is unknown or a coefficient is not finite.
    OutcomeTooLargeError
        If there are more than 14 coefficients.

    Examples
    --------
    >>> import qis
    >>> anchor = qis.Anchor(question="death | age", model="logistic", coefficients=(-2.0, 0.5))
    >>> len(anchor.anchor_id)
    8

    """

    kind: ClassVar[int] = 7

    model: str
    coefficients: tuple[float, ...]
    names_hash: bytes = bytes(ID_SIZE)

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        check_model(self.model)
        object.__setattr__(self, "coefficients", rounded(self.coefficients))
        if type(self.names_hash) is not bytes or len(self.names_hash) != ID_SIZE:
            raise InputError(f"names_hash is {ID_SIZE} bytes", field="names_hash", limit=ID_SIZE)

    @property
    def anchor_id(self) -> bytes:
        """Hash of model, coefficients and their names, 8 bytes."""
        return anchor_id_of(self.model, self.coefficients, self.names_hash)

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        packed = struct.pack(f"<{len(self.coefficients)}f", *self.coefficients)
        body[KEY_REALS] = self.names_hash + packed
        body[KEY_DETAIL] = MODELS[self.model]
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        packed = body[KEY_REALS]
        size = (len(packed) - ID_SIZE) // 4
        return cls(
            **common_fields(body),
            model=MODELS_BY_CODE[body[KEY_DETAIL]],
            coefficients=struct.unpack(f"<{size}f", packed[ID_SIZE:]),
            names_hash=packed[:ID_SIZE],
        )


def names_hash_of(names: Iterable[str]) -> bytes:
    """Hash of the coefficients' names, in order: 8 bytes, equal where all sites mean the same."""
    kept = [normal_text(name, "names", _NAME_SIZE) for name in names]
    return blake3("\n".join(kept).encode()).digest(ID_SIZE)


def anchor_id_of(model: str, coefficients: tuple[float, ...], names_hash: bytes) -> bytes:
    """Hash that identifies an anchor, 8 bytes; `coefficients` are numbers exact in float32."""
    packed = struct.pack(f"<{len(coefficients)}f", *coefficients)
    return blake3(bytes([MODELS[model]]) + names_hash + packed).digest(ID_SIZE)


def check_model(model: object) -> None:
    """Raise `InputError` unless the model is known."""
    if not isinstance(model, str) or model not in MODELS:
        raise InputError(
            f"model is {model!r:.60}; it is one of {', '.join(MODELS)}",
            field="model",
            actual=model,
            limit=tuple(MODELS),
        )


def rounded(coefficients: Any, field: str = "coefficients") -> tuple[float, ...]:
    """Round coefficients to float32; raise if there are none or too many, or one is not finite."""
    given = several(coefficients, field, "numbers")
    if not given:
        raise InputError(
            f"{field} is empty; an anchor has one coefficient or more", field=field, actual=0
        )
    if len(given) > MAX_COEFFICIENTS:
        raise OutcomeTooLargeError(
            f"{len(given)} coefficients; a packet carries at most {MAX_COEFFICIENTS}: leave some "
            "out, or give each site its own intercept",
            field=field,
            actual=len(given),
            limit=MAX_COEFFICIENTS,
        )
    checked = [check_real(c, field, -_LARGEST, _LARGEST) for c in given]
    singles = struct.unpack(f"<{len(checked)}f", struct.pack(f"<{len(checked)}f", *checked))
    return tuple(single + 0.0 for single in singles)  # adding 0.0 turns -0.0 into 0.0
