"""The tables of an outbox, and how an outcome that waits becomes a row and comes back."""

import json
import struct
from typing import Any, Final

from qis import _canonical
from qis._database import Schema
from qis.about import ROUTING_KEY_SIZE, Fingerprint
from qis.disclosure.ledger import Subjects
from qis.errors import InputError, QISError
from qis.loop.approval import Draft, Pending, is_named_by, pending_id_of_parts, rest_of
from qis.outcomes import outcome_from_body

SCHEMA: Final = Schema(
    name="outbox",
    application_id=0x7169736F,  # ASCII "qiso"
    rescue=(
        "or begin with another: sequences move on with the clock, but what waited in this one must "
        "be published again"
    ),
    migrations=(
        """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE unsent (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        packet BLOB NOT NULL CHECK (length(packet) = 512),
        keys BLOB NOT NULL
    );
    CREATE TABLE looks (
        study BLOB PRIMARY KEY,
        state BLOB NOT NULL,
        number INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE own (
        study BLOB NOT NULL,
        issuer BLOB NOT NULL,
        cohort TEXT NOT NULL,
        role INTEGER NOT NULL,
        packet BLOB NOT NULL CHECK (length(packet) = 512),
        keys BLOB NOT NULL,
        PRIMARY KEY (study, issuer, cohort, role)
    ) WITHOUT ROWID;
    CREATE TABLE waiting (
        id TEXT PRIMARY KEY,
        created_at REAL NOT NULL,
        kind INTEGER NOT NULL,
        body BLOB NOT NULL,
        sketch BLOB NOT NULL,
        scheme BLOB NOT NULL,
        keys BLOB NOT NULL,
        subjects TEXT,
        people INTEGER,
        preview TEXT NOT NULL,
        preview_digest BLOB NOT NULL,
        explain TEXT NOT NULL
    );
    """,
        """
    ALTER TABLE unsent ADD COLUMN since REAL;
    """,
        """
    CREATE TABLE numbers (sequence BLOB PRIMARY KEY, aside INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO numbers SELECT value, 0 FROM facts WHERE name = 'sequence';
    CREATE TABLE aside (
        packet BLOB PRIMARY KEY CHECK (length(packet) = 512),
        keys BLOB NOT NULL,
        is_answered INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
        """
    CREATE TABLE made (
        packet BLOB PRIMARY KEY CHECK (length(packet) = 32),
        sequence BLOB NOT NULL,
        is_foreign INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX made_by_sequence ON made (sequence);
    INSERT INTO facts SELECT 'unknown before', coalesce(max(sequence), x'0000000000000000')
        FROM numbers;
    """,
        # Packets that a stricter rule no longer reads.
        """
    CREATE TABLE unread (packet BLOB PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
    """,
        # And outcomes that wait, which are then looked at once more.
        """
    CREATE TABLE unread_waiting (
        id TEXT PRIMARY KEY,
        created_at REAL NOT NULL,
        kind INTEGER NOT NULL,
        body BLOB NOT NULL,
        explain TEXT NOT NULL,
        reason TEXT NOT NULL
    ) WITHOUT ROWID;
    DELETE FROM facts WHERE name = 'rules';
    """,
    ),
)


def keys_of(joined: bytes) -> tuple[bytes, ...]:
    """Split routing keys that were stored end to end."""
    starts = range(0, len(joined), ROUTING_KEY_SIZE)
    return tuple(joined[at : at + ROUTING_KEY_SIZE] for at in starts)


def row_of(pending: Pending) -> tuple[Any, ...]:
    """Return the columns of table `waiting` for an outcome that waits."""
    draft = pending.draft
    return (
        pending.id,
        pending.created_at,
        draft.outcome.kind,
        draft.outcome.encoded(),
        draft.fingerprint.sketch,
        draft.fingerprint.scheme_id,
        b"".join(draft.routing_keys),
        _text_of(draft.subjects),
        draft.people,
        pending.preview,
        pending.preview_digest,
        pending.explain,
    )


def pending_of(row: tuple[Any, ...]) -> Pending:
    """The inverse of `row_of`.

    Raises
    ------
    InputError
        If the id is not that of the content: somebody or something has changed it since it was
        submitted, and what a person approved by its id would not be what leaves.

    """
    name, created_at, kind, body, sketch, scheme, keys, subjects, people, *seen = row
    preview, digest, explain = seen
    draft = Draft(
        outcome=outcome_from_body(kind, _canonical.decode(body)),
        fingerprint=Fingerprint(sketch, scheme),
        routing_keys=keys_of(keys),
        subjects=_subjects_of(subjects),
        people=people,
    )
    if not is_named_by(name, draft, explain, created_at):
        raise InputError(
            f"what waits under {name} is not what was submitted: it was changed in the file",
            field="waiting",
            actual=name,
        )
    return Pending(
        id=name,
        draft=draft,
        created_at=created_at,
        preview=preview,
        preview_digest=digest,
        explain=explain,
    )


def reason_not_read(row: tuple[Any, ...]) -> str | None:
    """Tell why a row of table `waiting` is refused by the rules of this version.

    `None` if it can be read. Also `None` if it was damaged, which shows because its id is a hash of
    the rest: damage is reported when the outcome is read.
    """
    name, created_at, kind, body, sketch, scheme, keys, subjects, people, *_, explain = row
    try:
        pending_of(row)
    except (QISError, LookupError, ValueError, TypeError, struct.error) as error:
        reason = str(error)
    else:
        return None
    try:
        about = (sketch, scheme, *keys_of(keys))
        rest = rest_of(_subjects_of(subjects), people, explain)
        names = (
            pending_id_of_parts(kind, body, about, created_at, rest=rest),
            pending_id_of_parts(kind, body, about, created_at),
        )
        is_whole = name in names
    except (QISError, ValueError, TypeError):
        return None
    return reason if is_whole else None


def _text_of(subjects: Subjects | None) -> str | None:
    if subjects is None:
        return None
    return json.dumps({who.hex(): what.hex() for who, what in subjects.items()})


def _subjects_of(text: str | None) -> Subjects | None:
    if text is None:
        return None
    return {bytes.fromhex(who): bytes.fromhex(what) for who, what in json.loads(text).items()}
