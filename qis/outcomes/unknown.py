"""An outcome of a kind that this version does not know: kept and passed on, and not read.

A network is never of one version. What a newer one publishes is signed like all else, and its study
and sequence stand where they always do; so it is verified, stored, forwarded and superseded here
too, and only its numbers are for those who know the kind (docs/packet-format.md, "Versions").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from qis._given import shown
from qis.errors import InputError
from qis.outcomes._base import KEY_COHORT, Body, Outcome, common_fields
from qis.outcomes._text import check_normal

LAST_KIND: Final = 23
"""The highest number that fits where a packet has its kind."""
_LAST_KEY: Final = 23
_VALUES: Final = (int, str, bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOutcome(Outcome):
    """An outcome of a kind that a newer version of the library knows.

    It never counts here, and takes the place of whatever its site had published before under the
    same study and cohort.

    Parameters
    ----------
    kind
        The number of the kind.
    entries
        What its body has beyond study, question and cohort, unread: pairs of a key and a whole
        number, text, bytes or tuple of these.

    Raises
    ------
    InputError
        If the kind is known or no kind, or the entries are not in their one form.

    Examples
    --------
    >>> from qis.outcomes import UnknownOutcome
    >>> UnknownOutcome(question="a vs b | death", kind=23, entries=((6, b"..."),)).kind
    23

    """

    kind: int  # type: ignore[misc]  # every other class has one kind
    entries: tuple[tuple[int, Any], ...] = ()

    def __post_init__(self, study: Any) -> None:
        Outcome.__post_init__(self, study)
        # Those below are known; the first of them is not known before this module is.
        if type(self.kind) is not int or not 11 <= self.kind <= LAST_KIND:
            raise InputError(
                f"kind is {self.kind!r:.20}; kinds that may come are 11 to {LAST_KIND}",
                field="kind",
                limit=(11, LAST_KIND),
            )
        last, texts = KEY_COHORT, []
        if type(self.entries) is not tuple or not all(map(_is_pair, self.entries)):
            raise InputError(
                f"entries is {shown(self.entries)}; it must be a tuple of pairs: key and value",
                field="entries",
                actual=self.entries,
            )
        for key, value in self.entries:
            if type(key) is not int or not last < key <= _LAST_KEY:
                raise InputError(
                    f"the keys of entries are whole numbers up to {_LAST_KEY} that ascend",
                    field="entries",
                    limit=_LAST_KEY,
                )
            parts = value if type(value) is tuple else (value,)
            if any(type(part) not in _VALUES for part in parts):
                raise InputError(
                    "entries hold whole numbers, texts, bytes and tuples of these", field="entries"
                )
            texts += [part for part in parts if type(part) is str]
            last = key
        if texts:
            check_normal(texts, "entries")

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        for key, value in self.entries:
            body[key] = list(value) if type(value) is tuple else value
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """Not known without the kind: see `of_kind`."""
        raise NotImplementedError

    @classmethod
    def of_kind(cls, kind: int, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        entries = tuple(
            (key, tuple(value) if type(value) is list else value)
            for key, value in body.items()
            if type(key) is not int or not 0 <= key <= KEY_COHORT
        )
        return cls(**common_fields(body), kind=kind, entries=entries)


def _is_pair(entry: Any) -> bool:
    return type(entry) is tuple and len(entry) == 2
