"""Outcomes that wait at the site until a person or a rule approves them."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from blake3 import blake3

from qis.about import Fingerprint
from qis.disclosure import Preview
from qis.disclosure.ledger import Subjects
from qis.errors import InputError
from qis.fingerprint import Scheme
from qis.outcomes import Outcome
from qis.picture.html import HasLines


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An outcome that is to be signed, with everything else that goes into its packet.

    Parameters
    ----------
    outcome, fingerprint
        The packet's content.
    base_keys
        What its routing keys follow from (`Scheme.base_keys`). Of which epoch they are is decided
        when it is signed.
    subjects
        Keyed hashes of the people that the outcome is made from; they never leave the site.
    people
        Number of people whose features the fingerprint is made from, if known; it never leaves.
    leaves
        Of a derived outcome: the packets that it was made from.
    has_fixed_keys
        True if `base_keys` are the routing keys themselves, those of a former version.
    keeps_epoch
        True if the former version's epoch is kept even if it ends sooner than wished.
    expires_at
        Unix seconds; `None`: the loop's `lifetime_s` from the signature on.
    outlives_all
        True if it lives as long as a packet may, since what it replaces is not known.
    reinstates
        True if a person has said that it may leave although its study and cohort were withdrawn.

    """

    outcome: Outcome
    fingerprint: Fingerprint
    base_keys: tuple[bytes, ...]
    subjects: Subjects | None = field(default=None, repr=False)
    people: int | None = None
    leaves: tuple[bytes, ...] = ()
    has_fixed_keys: bool = False
    keeps_epoch: bool = False
    expires_at: int | None = None
    outlives_all: bool = False
    reinstates: bool = False


def drafted(
    scheme: Scheme[Any],
    outcome: Outcome,
    about: Any,
    subjects: Subjects | None,
    people: int | None,
    *,
    reinstates: bool = False,
) -> Draft:
    """Draft an outcome about `about`, which are features of the scheme's kind."""
    return Draft(
        outcome=outcome,
        fingerprint=scheme.fingerprint(about),
        base_keys=scheme.base_keys(about),
        subjects=subjects,
        people=people,
        reinstates=reinstates,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending(HasLines):
    """An outcome that waits for approval, with what a person needs to decide.

    Features are not in it: what would leave is `outcome`, `fingerprint` and routing keys.

    Parameters
    ----------
    id
        16 hexadecimal digits that follow from the draft, `explain` and the time of submission, so
        that nobody approves one thing and releases another: it is checked when the outbox is read.
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

    Examples
    --------
    >>> import qis
    >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=2)
    >>> transport = qis.MemoryTransport(qis.MemoryNetwork(), key)
    >>> loop = qis.SynthesisLoop(key, transport, scheme, interest=scheme.interest([1.0, 2.0]))
    >>> import asyncio
    >>> async def main() -> tuple[qis.Pending, ...]:
    ...     async with loop:
    ...         return loop.waiting()
    >>> asyncio.run(main())
    ()

    """

    id: str
    draft: Draft
    created_at: float
    preview: str
    preview_digest: bytes
    explain: str

    @classmethod
    def of(cls, draft: Draft, preview: Preview, *, explain: str, now: float) -> Self:
        """Make the pending outcome of a draft, submitted now (Unix seconds), with its id."""
        return cls(
            id=pending_id_of(draft, explain, now),
            draft=draft,
            created_at=now,
            preview=str(preview),
            preview_digest=preview.digest,
            explain=explain,
        )

    def with_preview(self, preview: Preview) -> Self:
        """Return a copy with a newer preview of what an outsider could learn."""
        return replace(self, preview=str(preview), preview_digest=preview.digest)

    @property
    def outcome(self) -> Outcome:
        """The outcome of the draft."""
        return self.draft.outcome

    def __str__(self) -> str:
        return f"{self.id}\n{self.explain}\n\n{self.preview}"


def pending_id_of(draft: Draft, explain: str, now: float) -> str:
    """Id of what is submitted at a time in Unix seconds."""
    return pending_id_of_parts(
        draft.outcome.kind,
        draft.outcome.encoded(),
        (draft.fingerprint.sketch, draft.fingerprint.scheme_id, *draft.base_keys),
        now,
        rest=rest_of(draft.subjects, draft.people, explain, reinstates=draft.reinstates),
    )


def pending_id_of_parts(
    kind: int,
    body: bytes,
    about: tuple[bytes, ...],
    now: float,
    *,
    rest: tuple[bytes, ...] = (),
) -> str:
    """Id from the parts as they are stored, also where this version no longer reads the body.

    Former versions named an outcome by the first four parts alone: their ids have no `rest`.
    """
    parts = (bytes((kind,)), body, *about, repr(float(now)).encode(), *rest)
    named = blake3(b"".join(len(part).to_bytes(4, "big") + part for part in parts))
    return named.hexdigest(8)


def rest_of(
    subjects: Subjects | None, people: int | None, explain: str, *, reinstates: bool
) -> tuple[bytes, ...]:
    """What an id covers beside what would be signed: what the rules and a person look at."""
    told = sorted(subjects.items()) if subjects is not None else []
    pairs = b"".join(len(who).to_bytes(4, "big") + who + what for who, what in told)
    digest = b"" if subjects is None else blake3(pairs).digest()
    parts = digest, repr(people).encode(), explain.encode()
    return (*parts, b"reinstates") if reinstates else parts


def is_named_by(name: str, draft: Draft, explain: str, now: float) -> bool:
    """True if an id is that of this content, so that nothing was changed since it was submitted."""
    about = (draft.fingerprint.sketch, draft.fingerprint.scheme_id, *draft.base_keys)
    former = pending_id_of_parts(draft.outcome.kind, draft.outcome.encoded(), about, now)
    return name == pending_id_of(draft, explain, now) or (name == former and not draft.reinstates)


Verdict = bool | None
"""`True` releases, `False` refuses, `None` leaves it to a person."""

Approval = Literal["manual"] | Callable[[Pending], Verdict | Awaitable[Verdict]]
"""Who releases: a person, or a rule, plain or `async`, that gives a `Verdict`."""


async def verdict_of(approve: Approval, pending: Pending) -> Verdict:
    """Ask who releases.

    Raises
    ------
    InputError
        If a rule answers with anything but `True`, `False` and `None`. A text such as "no" is true
        in Python, so no other value may count as a yes.

    """
    if not callable(approve):
        return None
    answer: object = approve(pending)
    if inspect.isawaitable(answer):
        answer = await answer
    if answer is True or answer is False or answer is None:
        return answer
    raise InputError(
        f"the approval rule {name_of(approve)} gave a {type(answer).__name__}; only True, False "
        "and None are answers, so nothing was released",
        field="approve",
        actual=answer,
        limit=(True, False, None),
    )


def name_of(approve: Approval | None) -> str:
    """Return who approves, in words, for the audit log."""
    if approve is None or isinstance(approve, str):
        return approve or "none"
    return f"rule {getattr(approve, '__qualname__', type(approve).__name__)}"
