"""Approval: what waits at the site until a person or a rule lets it leave."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from blake3 import blake3

from qis.about import Fingerprint
from qis.disclosure import Preview
from qis.disclosure.ledger import Subjects
from qis.fingerprint import Scheme
from qis.outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be signed.

    Parameters
    ----------
    outcome, fingerprint, routing_keys
        As of a packet.
    subjects
        Whom the outcome is made from; stays here.
    people
        How many people's features the fingerprint is made from, if told; stays here.
    leaves
        Of a derived outcome.
    expires_at
        Unix seconds; `None`: the loop's `lifetime_s` from the signature on.
    outlives_all
        Whether it lives as long as any packet may, since what it replaces is not known.

    """

    outcome: Outcome
    fingerprint: Fingerprint
    routing_keys: tuple[bytes, ...]
    subjects: Subjects | None = field(default=None, repr=False)
    people: int | None = None
    leaves: tuple[bytes, ...] = ()
    expires_at: int | None = None
    outlives_all: bool = False


def drafted(
    scheme: Scheme[Any],
    outcome: Outcome,
    about: Any,
    subjects: Subjects | None,
    people: int | None,
) -> Draft:
    """The draft of an outcome about features of the scheme's kind."""
    return Draft(
        outcome=outcome,
        fingerprint=scheme.fingerprint(about),
        routing_keys=scheme.routing_keys(about),
        subjects=subjects,
        people=people,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An outcome that waits for its release, with what a person needs to decide.

    Features are not in it: what would leave is `outcome`, `fingerprint` and `routing_keys`.

    Parameters
    ----------
    id
        16 hexadecimal digits that follow from what would be signed and when it was submitted, so
        that nobody approves one thing and releases another.
    draft
        What would be signed.
    created_at
        Unix seconds.
    preview
        What an outsider could learn from it, in words (`qis.disclosure.Preview`).
    preview_digest
        32 bytes; goes into the audit log with the approver's name.
    explain
        The packet as it would have left when it was submitted, every field in words. Times and
        sequence are set anew at the release.

    """

    id: str
    draft: Draft
    created_at: float
    preview: str
    preview_digest: bytes
    explain: str

    @classmethod
    def of(cls, draft: Draft, preview: Preview, *, explain: str, now: float) -> Self:
        """What waits from now on, under an id of its own."""
        name = pending_id_of(
            draft.outcome.kind,
            draft.outcome.encoded(),
            draft.fingerprint,
            draft.routing_keys,
            now,
        )
        return cls(
            id=name,
            draft=draft,
            created_at=now,
            preview=str(preview),
            preview_digest=preview.digest,
            explain=explain,
        )

    def with_preview(self, preview: Preview) -> Self:
        """The same, with what an outsider could learn by now."""
        return replace(self, preview=str(preview), preview_digest=preview.digest)

    @property
    def outcome(self) -> Outcome:
        """What was found."""
        return self.draft.outcome

    def __str__(self) -> str:
        return f"{self.id}\n{self.explain}\n\n{self.preview}"


def pending_id_of(
    kind: int, body: bytes, fingerprint: Fingerprint, routing_keys: Iterable[bytes], now: float
) -> str:
    """The id of what was submitted then; on disk it also shows that a row is what was written."""
    parts = (
        bytes((kind,)),
        body,
        fingerprint.sketch,
        fingerprint.scheme_id,
        *routing_keys,
        repr(float(now)).encode(),
    )
    named = blake3(b"".join(len(part).to_bytes(4, "big") + part for part in parts))
    return named.hexdigest(8)


Approval = Literal["manual"] | Callable[[Pending], bool | None]
"""Who releases: a person, or a rule that says yes, no, or `None` to leave it to a person."""


def name_of(approve: Approval | None) -> str:
    """Who releases, in words, for the audit log."""
    if approve is None or isinstance(approve, str):
        return approve or "none"
    return f"rule {getattr(approve, '__qualname__', type(approve).__name__)}"
