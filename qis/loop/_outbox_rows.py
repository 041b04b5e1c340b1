"""How an outcome that waits for approval becomes a row of the account, and comes back."""

import json
import struct
from typing import Any

from qis import _canonical
from qis.about import ROUTING_KEY_SIZE, Fingerprint
from qis.disclosure.ledger import Subjects
from qis.errors import InputError, QISError
from qis.loop.approval import Draft, Pending, is_named_by, pending_id_of_parts, rest_of
from qis.outcomes import outcome_from_body


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
        b"".join(draft.base_keys),
        _text_of(draft.subjects),
        draft.people,
        pending.preview,
        pending.preview_digest,
        pending.explain,
        draft.reinstates,
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
    preview, digest, explain, reinstates = seen
    draft = Draft(
        outcome=outcome_from_body(kind, _canonical.decode(body)),
        fingerprint=Fingerprint(sketch, scheme),
        base_keys=keys_of(keys),
        subjects=_subjects_of(subjects),
        people=people,
        reinstates=bool(reinstates),
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
    (
        name,
        created_at,
        kind,
        body,
        sketch,
        scheme,
        keys,
        subjects,
        people,
        *_,
        explain,
        reinstates,
    ) = row
    try:
        pending_of(row)
    except (QISError, LookupError, ValueError, TypeError, struct.error) as error:
        reason = str(error)
    else:
        return None
    try:
        about = (sketch, scheme, *keys_of(keys))
        rest = rest_of(_subjects_of(subjects), people, explain, reinstates=bool(reinstates))
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
