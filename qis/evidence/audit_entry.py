"""What a line of the audit log says, and the one form in which it is hashed and written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Self

from blake3 import blake3

from qis._gate import checked
from qis.errors import InputError
from qis.picture.html import HasTable

Event = Literal["emitted", "received", "used", "refused", "approved", "configured", "recovered"]
EVENTS: Final = (
    "emitted",  # left the site
    "received",  # came in and was kept
    "used",  # went into a synthesis
    "refused",  # was kept back here, or was not let in
    "approved",  # a person or a rule released it
    "configured",  # a rule was chosen or changed
    "recovered",  # this log was cut after an unfinished line
)
_START: Final = "0" * 64
_MAX_LINE: Final = 60_000


class AuditNote(NamedTuple):
    """The content of an entry to be recorded; the log adds number, time and hashes.

    The fields mean what those of the same name in `Entry` mean.
    """

    event: Event
    subject: tuple[str, ...] = ()
    rule: str = ""
    reason: str = ""
    details: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(HasTable):
    """One line of the log.

    Parameters
    ----------
    number
        0, 1, 2, …
    at
        Unix seconds, as the caller's clock said; in the order of writing, which need not be that
        of the clock.
    event
        One of `EVENTS`.
    subject
        What it is about: hexadecimal ids of packets, or the digest of a synthesis.
    rule
        The rule that allowed or refused it, such as ``cms`` or ``minimum_cell``.
    reason
        In words.
    details
        Whatever else should be known, as JSON holds it. No patient's data.
    previous, hash
        Hexadecimal BLAKE3-256 of the entry before (zeros before the first), and of this one.

    Examples
    --------
    >>> import tempfile
    >>> import qis
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with qis.AuditLog(f"{folder}/audit.jsonl") as log:
    ...         entry = log.record("configured", rule="cms", now=1_800_000_000)
    >>> entry.number, entry.event, entry.rule
    (0, 'configured', 'cms')

    """

    number: int
    at: float
    event: Event
    subject: tuple[str, ...] = ()
    rule: str = ""
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    previous: str
    hash: str

    def line(self) -> bytes:
        """The line as it is in the file."""
        return encoded({**content_of(self), "hash": self.hash})


@dataclass(frozen=True, slots=True)
class AuditHead(HasTable):
    """How far a log had come: keep it elsewhere, to find a cut of the end later.

    Parameters
    ----------
    count
        Number of entries.
    hash
        Hexadecimal hash of the last; zeros if there is none.

    Examples
    --------
    >>> from qis.evidence import AuditHead
    >>> AuditHead().count  # of a log that is empty
    0

    """

    count: int = 0
    hash: str = _START

    def __str__(self) -> str:
        return f"{self.count}:{self.hash}"

    @classmethod
    @checked
    def parse(cls, text: str) -> Self:
        """The inverse of `str`."""
        count, _, digest = text.strip().partition(":")
        if not count.isdecimal() or len(digest) != 64:
            raise InputError(f"text is {text!r:.90}, no head of an audit log", field="text")
        return cls(int(count), digest)


def entry_of(content: dict[str, Any]) -> Entry:
    """The entry of a line's content; raises KeyError or TypeError if it is none."""
    return Entry(
        **{
            **content,
            "subject": tuple(content["subject"]),
            "details": MappingProxyType(content["details"]),
        }
    )


def content_of(entry: Entry) -> dict[str, Any]:
    """The fields of an entry that its hash covers, as a dictionary."""
    names = ("number", "at", "event", "rule", "reason", "previous")
    content = {name: getattr(entry, name) for name in names}
    return {**content, "subject": list(entry.subject), "details": dict(entry.details)}


def encoded(content: dict[str, Any]) -> bytes:
    """Encode as JSON in the one form that is hashed and written: keys sorted, ASCII, no spaces."""
    try:
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(
            "ascii"
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"an entry is plain JSON: {error}", field="details") from error


def digest_of(content: dict[str, Any]) -> str:
    """The hash of an entry with this content."""
    return blake3(encoded(content)).hexdigest()


def chained(note: AuditNote, head: AuditHead, now: float) -> dict[str, Any]:
    """The content of the entry that comes after this head, with its hash."""
    if note.event not in EVENTS:
        raise InputError(
            f"event is {note.event!r:.40}; it is one of {', '.join(EVENTS)}",
            field="event",
            actual=note.event,
            limit=EVENTS,
        )
    content = {
        "number": head.count,
        "at": float(now),
        "event": note.event,
        "subject": list(note.subject),
        "rule": note.rule,
        "reason": note.reason,
        "details": dict(note.details),
        "previous": head.hash,
    }
    content["hash"] = digest_of(content)
    return content


def line_of(content: dict[str, Any]) -> bytes:
    """The line of bytes for this content; raises `InputError` above 60,000 bytes."""
    line = encoded(content)
    if len(line) > _MAX_LINE:
        raise InputError(
            f"an entry of {len(line)} bytes; at most {_MAX_LINE}: record it in parts",
            field="details",
            actual=len(line),
            limit=_MAX_LINE,
        )
    return line + b"\n"
