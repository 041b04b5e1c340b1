"""What withdraws a publication, also where nothing is left that knows of it.

A retraction travels the way of what it withdraws. After a lost disk that way may be unknown; then
it travels under the id of its study alone, which is a routing key of every packet of the study.
"""

from collections.abc import Iterable
from typing import Any, Final

from qis.about import SKETCH_SIZE, Fingerprint
from qis.errors import InputError
from qis.evidence.review import study_id_of
from qis.evidence.rules import KIND_RETRACTION
from qis.fingerprint import Scheme
from qis.loop.approval import Draft
from qis.loop.outbox import Own
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
) -> Draft:
    """The draft of a retraction.

    Parameters
    ----------
    study, cohort, reason, about
        As for `qis.SynthesisLoop.retract`.
    former
        What is known of what it withdraws, whose routing keys may be unknown.

    Raises
    ------
    InputError
        If `about` is not what the former was published with.

    """
    if about is not None:
        fingerprint, keys = scheme.fingerprint(about), scheme.routing_keys(about)
    elif former is not None:
        fingerprint, keys = former.packet.fingerprint, former.routing_keys
    else:
        fingerprint, keys = Fingerprint(bytes(SKETCH_SIZE), scheme.id), ()  # near to nothing
    if (
        former is not None
        and former.packet.outcome.kind != KIND_RETRACTION
        and keys  # unknown ones are none
        and not former.packet.travels_under(keys)
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
        ),
        fingerprint=fingerprint,
        routing_keys=keys,
        outlives_all=former is None,
    )


def require_something(
    study_id: bytes, cohort: str, former: Own | None, published: Iterable[Packet], *, about: Any
) -> None:
    """Refuse to withdraw what this site knows it has not in force: perhaps a slip of the pen.

    A site that knows of nothing at all has lost its memory, and is believed.
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
