"""Moderators: what may change an effect, declared in the study before anybody has looked.

With free choice of what makes sites alike, and how it is coded, some choice always seems to show
something: of eight codings of the BCG trials the best had a Bayes factor of 14. So names, limits,
categories and weights are the study's, and part of its id.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from qis._gate import checked
from qis._given import real_number, shown
from qis.errors import InputError
from qis.outcomes._text import normal_text

MAX_MODERATORS: Final = 16
"""Most moderators of a study: one byte each in a packet."""
MAX_CATEGORIES: Final = 64
STEPS: Final = 254
"""A number travels as one of 255 equally spaced values between its limits."""
MISSING: Final = 255
"""The code of a value that is not known."""
_NAME_SIZE: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderator:
    """One declared moderator: a number between two limits, or one of some categories.

    Parameters
    ----------
    name
        At most 48 bytes of UTF-8.
    low, high
        Limits of a number, ``low < high``; values outside are refused.
    categories
        Instead of limits, 2-64 names.
    weight
        How much it counts in how alike two sites are, 0-1000; 0: not at all.
    slope
        True if the effect may also change in proportion to it (with the number, or by category).

    Raises
    ------
    InputError
        If it has neither limits nor categories, or both, or one is out of range.

    Examples
    --------
    >>> import qis
    >>> latitude = qis.Moderator(name="latitude", low=0.0, high=60.0)
    >>> latitude.code(30.0), latitude.decoded(127)
    (127, 30.0)

    """

    name: str
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    weight: float = 1.0
    slope: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", normal_text(self.name, "name", _NAME_SIZE))
        if not self.name:
            raise InputError("a moderator needs a name", field="name")
        object.__setattr__(self, "weight", real_number(self.weight, "weight", 0.0, 1000.0))
        if type(self.slope) is not bool:
            raise InputError(f"slope is {shown(self.slope)}; it is True or False", field="slope")
        given: object = self.categories
        if not isinstance(given, (tuple, list)):
            raise InputError(
                f"categories is {shown(self.categories)}; it is a list of texts", field="categories"
            )
        names = tuple(normal_text(each, "categories", _NAME_SIZE) for each in self.categories)
        object.__setattr__(self, "categories", names)
        if names:
            self._check_categories(names)
        elif self.low is None or self.high is None:
            raise InputError(
                f"the moderator {self.name!r} needs limits (low and high), or categories",
                field="low",
            )
        else:
            low, high = (
                real_number(getattr(self, end), end, -1e15, 1e15) for end in ("low", "high")
            )
            object.__setattr__(self, "low", low)
            object.__setattr__(self, "high", high)
            if not low < high:
                raise InputError(
                    f"low ({low}) is not below high ({high})", field="low", actual=low, limit=high
                )

    def _check_categories(self, names: tuple[str, ...]) -> None:
        if self.low is not None or self.high is not None:
            raise InputError("give limits or categories, not both", field="categories")
        if not 2 <= len(names) <= MAX_CATEGORIES or len(set(names)) < len(names) or "" in names:
            raise InputError(
                f"categories are 2 to {MAX_CATEGORIES} different names, not empty",
                field="categories",
                actual=names,
                limit=(2, MAX_CATEGORIES),
            )

    @property
    def is_number(self) -> bool:
        """True if it has limits, false if it has categories."""
        return not self.categories

    @property
    def number_of_codes(self) -> int:
        """Codes of values that are known run from 0 to one less than this."""
        return STEPS + 1 if self.is_number else len(self.categories)

    def code(self, value: Any) -> int:
        """The code of a value, 0-254; 255 for `None`.

        Raises
        ------
        InputError
            If it is outside the limits, or no category.

        """
        if value is None:
            return MISSING
        try:
            return self._code(value, f"value of {self.name}")
        except InputError as error:
            error.field = "value"  # the parameter, where the message names the moderator too
            raise

    def _code(self, value: Any, what: str) -> int:
        if self.is_number:
            low, high = self._limits
            number = real_number(value, what, low, high)
            return math.floor((number - low) / (high - low) * STEPS + 0.5)
        name = normal_text(value, what, _NAME_SIZE) if isinstance(value, str) else None
        if name not in self.categories:
            raise InputError(
                f"{what} is {shown(value)}; it must be one of {', '.join(self.categories)}",
                field=what,
                actual=value,
                limit=self.categories,
            )
        return self.categories.index(name)

    @checked
    def decoded(self, code: int) -> float | str | None:
        """The value of a code: the number to one 255th of its range, a category, or `None`."""
        if code == MISSING:
            return None
        if not 0 <= code < self.number_of_codes:
            raise InputError(
                f"code {code} is none of {self.name}: those go to {self.number_of_codes - 1}",
                field="code",
                actual=code,
                limit=self.number_of_codes - 1,
            )
        if self.categories:
            return self.categories[code]
        low, high = self._limits
        return low + (high - low) * code / STEPS

    @property
    def _limits(self) -> tuple[float, float]:
        assert self.low is not None  # noqa: S101  checked when it was made
        assert self.high is not None  # noqa: S101
        return self.low, self.high

    def declared(self) -> list[Any]:
        """What enters the study's id."""
        kind: list[Any] = [list(self.categories)] if self.categories else list(self._limits)
        return [self.name, kind, self.weight, self.slope]
