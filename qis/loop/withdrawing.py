"""Drafts retractions, even if the site has lost all knowledge of what is withdrawn.

A retraction has the routing keys of what it withdraws. After a lost disk these may be unknown; then
it travels under the id of its study alone, which is a routing key of every packet of the study.
"""

from collections.abc import Iterable
from typing import Any, Final

from qis.errors import InputError
from qis.evidence.review import study_id_of
from qis.evidence.rules import KIND_RETRACTION, Role
from qis.fingerprint import Scheme
from qis.loop.approval import Draft
from qis.loop.outbox import Own
from qis.loop.signing import Signer, fingerprint_of
from qis.outcomes import Retraction, Study
from qis.packet import Packet

_NAMES_SHOWN: Final = 5


def withdrawal(
    study: Study | bytes | str,
    cohort: str,
    reason: str,
    *,
    about: Any,
    former: Own | None,
    scheme: Scheme[Any],
    signer: Signer,
    role: Role = Role.PRIMARY,
) -> Draft:
    """Draft a retraction.

    Parameters
    ----------
    scheme
        Turns `about` into a fingerprint and routing keys.
    study, cohort, reason
        The study, its id or its question; the cohort; one of `qis.outcomes.RETRACTION_REASONS`.
    about
        The features that the outcome was published with, if the outbox was lost; else `None`.
    signer
        Knows of which epoch the former's routing keys are.
    former
        The packet that is withdrawn, if known; its routing keys may be unknown (empty).
    role
        Whether the site's own evidence is withdrawn, its synthesis, or its anchor.

    Raises
    ------
    InputError
        If the former was published with other features than `about`.

    """
    keys: tuple[bytes, ...]
    is_fixed = False
    if about is not None:
        fingerprint, keys = scheme.fingerprint(about), scheme.base_keys(about)
    elif former is not None:
        fingerprint = fingerprint_of(former.packet, scheme)
        keys, is_fixed = signer.keys_after(former)
    else:
        # Nothing is known; the study's id carries the packet.
        fingerprint, keys = fingerprint_of(None, scheme), ()
    if (
        former is not None
        and former.packet.outcome.kind != KIND_RETRACTION
        and keys  # empty means unknown, which cannot be compared
        and about is not None
        and signer.epoch_of(former.packet, keys) is None
    ):
        raise InputError(
            "a retraction travels the way of what it withdraws: give about= with the features "
            "that it was published with, or leave it out",
            field="about",
        )
    return Draft(
        outcome=Retraction(
            study_id=study_id_of(study),
            question=_question(study, former),
            cohort=cohort,
            reason=reason,
            role=role.name.lower(),
        ),
        fingerprint=fingerprint,
        base_keys=keys,
        has_fixed_keys=is_fixed,
        outlives_all=former is None,
    )


def require_something(
    study_id: bytes, cohort: str, former: Own | None, published: Iterable[Packet], *, about: Any
) -> None:
    """Refuse to withdraw what is not in force while other things are: probably a typing error.

    A site whose files contain nothing at all has lost them, and may withdraw anything.
    """
    if former is not None:
        if former.packet.outcome.kind != KIND_RETRACTION or about is not None:
            return
        known = "it was withdrawn before; to withdraw it under more routing keys give about="
    else:
        names = {
            f"{packet.outcome.question!r} cohort {packet.outcome.cohort!r}"
            for packet in published
            if packet.outcome.kind != KIND_RETRACTION
        }
        if not names or about is not None:
            return
        shown = "; ".join(sorted(names)[:_NAMES_SHOWN])
        known = (
            f"in force are: {shown}. To withdraw what this site's files have forgotten, give "
            "force=True, or about= with the features that it was published with"
        )
    raise InputError(
        f"nothing of this site is in force under study {study_id.hex()} and cohort {cohort!r}; "
        f"{known}. What waits for approval is rejected, not retracted",
        field="study",
    )


def _question(study: Study | bytes | str, former: Own | None) -> str:
    if former is not None:
        return former.packet.outcome.question
    if isinstance(study, Study):
        return study.question
    return study if isinstance(study, str) else f"study {study.hex()}"
