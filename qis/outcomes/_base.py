"""What all outcomes have in common: the study they belong to, a cohort, and a body on the wire.

A body is a CBOR map with integer keys in ascending order. The keys below are fixed for ever
(docs/packet-format.md); a kind uses those that it needs. Reals travel as little-endian IEEE 754
in one byte string, never as CBOR floats, whose decoders disagree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field, replace
from typing import Any, ClassVar, Final, Self, TypeVar

from blake3 import blake3

from qis._canonical import encode
from qis._given import instance, real_number, shown, whole_number
from qis.errors import InputError
from qis.outcomes._data_summary import DataSummary
from qis.outcomes._text import normal_text
from qis.outcomes._words import rows_of, table_of
from qis.outcomes.moderators import MAX_MODERATORS
from qis.outcomes.study import COHORT_SIZE, QUESTION_SIZE, STUDY_ID_SIZE, Study

KEY_STUDY: Final = 0
KEY_QUESTION: Final = 1
KEY_COHORT: Final = 2
KEY_MEASURE: Final = 3
KEY_N: Final = 4
KEY_EVENTS: Final = 5
KEY_REALS: Final = 6
KEY_COUNTS: Final = 7
KEY_DETAIL: Final = 8
KEY_ROLE: Final = 9
KEY_LOG_LIKELIHOOD: Final = 10
KEY_MODERATORS: Final = 11

MAX_COUNT: Final = 2**32 - 1
"""Largest number of people or events."""

Body = dict[int, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Base of all outcomes: frozen, valid once constructed.

    Parameters
    ----------
    study
        The `Study` that the outcome belongs to; or give `question`.
    question
        Short for ``Study(question=question)``.
    cohort
        Which of the site's disjoint groups of people this is; at most 24 bytes of UTF-8.
    study_id
        The study's id where only that is known, as on the wire.
    moderators
        Of an outcome of one effect: the site's values of the study's moderators, one byte each, as
        `Study.coded` makes them; empty if the study declares none or they are not known.
    provenance
        How a table was read to make it (`from_frame`): the arms, the rows dropped. It stays here,
        is never in a packet, and does not make two outcomes differ.
    data_summary
        What disclosure control may know of the rows behind it. It is attached by what builds an
        outcome from rows, stays here like `provenance`, and is lost where an outcome is read back.

    Examples
    --------
    >>> import qis
    >>> issubclass(qis.Effect, Outcome)
    True

    """

    kind: ClassVar[int]
    takes_moderators: ClassVar[bool] = False

    study: InitVar[Study | None] = None
    question: str = ""
    cohort: str = ""
    study_id: bytes = b""
    moderators: bytes = b""
    provenance: str = field(default="", compare=False)
    data_summary: DataSummary | None = field(default=None, compare=False, repr=False)

    def __post_init__(self, study: Study | None) -> None:
        if type(self.study_id) is not bytes:
            raise InputError(
                f"study_id is {shown(self.study_id)}; it must be {STUDY_ID_SIZE} bytes",
                field="study_id",
            )
        if study is not None:
            if type(self.question) is not str or self.question or self.study_id:
                raise InputError("give a study or a question, not both", field="study")
            if not isinstance(study, Study):
                raise InputError(
                    f"study is a {type(study).__name__}; it must be a qis.Study", field="study"
                )
            object.__setattr__(self, "question", study.question)
            object.__setattr__(self, "study_id", study.id)
            measure = getattr(self, "measure", None)  # not every kind has one
            if study.measure is not None and measure is not None and measure != study.measure:
                raise InputError(
                    f"the study measures {study.measure}, this outcome {measure}",
                    field="measure",
                    actual=measure,
                    limit=study.measure,
                )
        elif self.study_id:
            if len(self.study_id) != STUDY_ID_SIZE:
                raise InputError(f"study_id must be {STUDY_ID_SIZE} bytes", field="study_id")
            object.__setattr__(
                self, "question", normal_text(self.question, "question", QUESTION_SIZE)
            )
            if not self.question:
                raise InputError("a study needs a question", field="question")
        else:
            bare = Study(question=self.question)
            object.__setattr__(self, "question", bare.question)
            object.__setattr__(self, "study_id", bare.id)
        if type(self.cohort) is not str or self.cohort:
            object.__setattr__(self, "cohort", normal_text(self.cohort, "cohort", COHORT_SIZE))
        self._check_moderators(study)
        _require_origin(self.provenance, self.data_summary)

    def _check_moderators(self, study: Study | None) -> None:
        codes: object = self.moderators
        # The type first: an array compared with bytes is an array, which is neither true nor false.
        if type(codes) is not bytes or len(codes) > MAX_MODERATORS:
            raise InputError(
                f"moderators is {shown(codes)}; it is up to {MAX_MODERATORS} bytes, as "
                "study.coded(…) gives them",
                field="moderators",
                limit=MAX_MODERATORS,
            )
        if not codes:
            return
        if not self.takes_moderators:
            raise InputError(
                f"a {type(self).__name__} has no moderators: those are of an effect",
                field="moderators",
            )
        if study is not None:
            study.decoded(codes)

    @property
    def known(self) -> DataSummary | None:
        """The summary of the rows behind these very numbers, if there is one.

        A copy with another study or cohort keeps it; one with other numbers does not.
        """
        summary = self.data_summary
        if isinstance(summary, DataSummary) and summary.binds == _digest_of_numbers(self):
            return summary
        return None

    def body(self) -> Body:
        """The body map as it travels, keys ascending. Each kind adds its own entries."""
        common: Body = {KEY_STUDY: self.study_id, KEY_QUESTION: self.question}
        if self.cohort:
            common[KEY_COHORT] = self.cohort
        return common

    def encoded(self) -> bytes:
        """The body in deterministic CBOR."""
        return encode(self.body())

    def encoded_at(self, data: bytes) -> int:
        """The size of the body in bytes if `data` begins with its one encoding, else 0.

        To be called only on an outcome that `from_body` has built from what `data` decodes to.
        """
        encoded = self.encoded()
        return len(encoded) if data.startswith(encoded) else 0

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """Build the outcome from a body map; the inverse of `body`.

        Entries that are missing, unknown or of the wrong type may pass unnoticed here or raise
        anything: the caller encodes the result again and compares (see `qis.packet`).
        """
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return table_of(rows_of(self))


_O = TypeVar("_O", bound=Outcome)

_set_question, _set_cohort, _set_study_id, _set_moderators, _set_provenance, _set_data_summary = (
    getattr(Outcome, name).__set__
    for name in ("question", "cohort", "study_id", "moderators", "provenance", "data_summary")
)


def begun(cls: type[_O], body: Mapping[int, Any]) -> _O | None:
    """An outcome of which only what all kinds share is set, from a body; `None` if that is wrong.

    It sets each slot once where a frozen dataclass sets most of them twice, by name: what a
    verification leaves of the processor's caches makes that a tenth of the cost of a packet. The
    rules are the constructor's, which the caller takes where this gives `None`: it says what is
    wrong.
    """
    study_id, question, cohort = body[KEY_STUDY], body[KEY_QUESTION], body.get(KEY_COHORT, "")
    if type(study_id) is not bytes or len(study_id) != STUDY_ID_SIZE:
        return None
    if KEY_MODERATORS in body:
        return None
    question = normal_text(question, "question", QUESTION_SIZE)
    if not question:
        return None
    if type(cohort) is not str or cohort:
        cohort = normal_text(cohort, "cohort", COHORT_SIZE)
    outcome = object.__new__(cls)
    _set_question(outcome, question)
    _set_cohort(outcome, cohort)
    _set_study_id(outcome, study_id)
    _set_moderators(outcome, b"")
    _set_provenance(outcome, "")
    _set_data_summary(outcome, None)
    return outcome


def knowing(outcome: _O, summary: DataSummary) -> _O:
    """Attach a summary of the rows that an outcome was just made from."""
    own = replace(summary, binds=_digest_of_numbers(outcome))
    object.__setattr__(outcome, "data_summary", own)
    return outcome


def _digest_of_numbers(outcome: Outcome) -> bytes:
    outside = (KEY_STUDY, KEY_QUESTION, KEY_COHORT, KEY_MODERATORS)
    numbers = {key: part for key, part in outcome.body().items() if key not in outside}
    return blake3(bytes([outcome.kind]) + encode(numbers)).digest()


def _require_origin(provenance: object, summary: object) -> None:
    if not isinstance(provenance, str):
        raise InputError(
            f"provenance is {shown(provenance)}; it must be a text", field="provenance"
        )
    if summary is not None:
        instance(summary, "data_summary", DataSummary, "from_frame makes it")


def common_fields(body: Mapping[int, Any]) -> dict[str, Any]:
    """Read from a body the constructor arguments that all kinds share."""
    return {
        "study_id": body[KEY_STUDY],
        "question": body[KEY_QUESTION],
        "cohort": body.get(KEY_COHORT, ""),
    }


def check_count(value: object, field: str, low: int = 0, high: int = MAX_COUNT) -> int:
    """Return a whole number in [low, high] as an `int`, or raise `InputError`."""
    # Here, since every number of every packet passes: a call less for each.
    if type(value) is int and low <= value <= high:
        return value
    return whole_number(value, field, low, high)


def set_counts(
    outcome: Outcome,
    fields: Iterable[str],
    low: int = 0,
    high: int = MAX_COUNT,
    *,
    optional: bool = False,
) -> None:
    """Check counts of an outcome, `None` only if `optional`, and keep them as `int`.

    A number of numpy's would be equal, and would not travel.
    """
    for name in fields:
        value = getattr(outcome, name)
        if value is not None or not optional:
            object.__setattr__(outcome, name, check_count(value, name, low, high))


def check_real(value: object, field: str, low: float = -1e300, high: float = 1e300) -> float:
    """Return `value` as a finite float in [low, high], or raise `InputError`; -0.0 becomes 0.0."""
    if type(value) is float and low <= value <= high:
        return value or 0.0  # also for -0.0: equal values must have one encoding
    return real_number(value, field, low, high)
