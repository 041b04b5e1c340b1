"""Which packets enter a model, and why the others do not."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from qis._given import instance
from qis.errors import IncompatibleEvidenceError, InputError
from qis.evidence import Review
from qis.models.expansion import Expansion, Floats
from qis.models.impossible import why_impossible
from qis.outcomes import Anchor, Outcome, QuadraticLikelihood, Study
from qis.outcomes.anchor import anchor_id_of, names_hash_of
from qis.packet import Packet
from qis.synthesis import LeftOut
from qis.synthesis.gathering import not_as_declared, question_of, sentence_of

_UNKNOWN_ANCHOR: Final = (
    "unknown anchor",
    "The anchor at which it was taken has not come: its site sends it in a packet of its own, "
    "which may be on its way.",
)


class ModelEvidence(NamedTuple):
    """What counts in a model and what does not."""

    expansions: tuple[Expansion, ...]
    """Sorted by their bytes, so that all nodes sum in the same order."""
    left_out: tuple[LeftOut, ...]
    """Sorted by packet id."""
    silent: tuple[str, ...]
    roster_digest: bytes
    is_signed: bool


def gathered(review: Review, study: Study) -> ModelEvidence:
    """Sort the packets of a review into expansions and the rest.

    Raises
    ------
    IncompatibleEvidenceError
        If the review is of another study.

    """
    if review.study_id != study.id:
        raise IncompatibleEvidenceError(
            f"the evidence is of study {review.study_id.hex()}, not of {study.question!r}",
            field="study",
            actual=review.study_id,
            limit=study.id,
        )
    anchors = _vectors(study, (packet.outcome for packet in review.anchors))
    question = question_of(review, study)
    expansions: list[Expansion] = []
    left_out = [
        LeftOut(left.packet, left.site, left.reason.label, sentence_of(left))
        for left in review.excluded
    ]
    for packet in review.evidence:
        name = review.site_names[packet.id]
        why = not_as_declared(packet, question, study)
        if why is None:
            found = _expansion(packet.outcome, name, study, anchors, packet)
            if isinstance(found, Expansion):
                expansions.append(found)
                continue
            why = found
        left_out.append(LeftOut(packet, name, *why))
    return ModelEvidence(
        expansions=_in_order(expansions),
        left_out=tuple(sorted(left_out, key=lambda left: left.packet.id)),
        silent=review.silent,
        roster_digest=review.roster_digest,
        is_signed=True,
    )


def gathered_outcomes(
    outcomes: Mapping[str, QuadraticLikelihood], study: Study, anchors: Iterable[Anchor]
) -> ModelEvidence:
    """Take plain expansions by name of site; what does not belong together raises."""
    vectors = _vectors(study, anchors)
    expansions = []
    for name, outcome in outcomes.items():
        instance(outcome, "evidence", QuadraticLikelihood, "rows.for_study(study).answer(…)")
        if outcome.study_id != study.id:
            raise IncompatibleEvidenceError(
                f"{name!r:.60} answers another study than {study.question!r}", field="study"
            )
        found = _expansion(outcome, name, study, vectors, None)
        if not isinstance(found, Expansion):
            raise InputError(f"{name!r:.60}: {found[1]}", field="evidence")
        expansions.append(found)
    return ModelEvidence(_in_order(expansions), (), (), b"", is_signed=False)


def _in_order(expansions: list[Expansion]) -> tuple[Expansion, ...]:
    return tuple(sorted(expansions, key=lambda each: (each.outcome.encoded(), each.site)))


def _vectors(study: Study, anchors: Iterable[Outcome]) -> dict[bytes, Floats]:
    """Coefficients by anchor id. Zero is known to everybody, with the names' hash or without."""
    size, names = len(study.coefficients), names_hash_of(study.coefficients)
    zero = (0.0,) * size
    found = {anchor_id_of(study.family, zero, own): np.zeros(size) for own in (names, bytes(8))}
    for anchor in anchors:
        if isinstance(anchor, Anchor) and anchor.model == study.family:
            found[anchor.anchor_id] = np.array(anchor.coefficients)
    return found


def _expansion(
    outcome: Outcome,
    name: str,
    study: Study,
    anchors: Mapping[bytes, Floats],
    packet: Packet | None,
) -> Expansion | tuple[str, str]:
    """The expansion, or why it does not count in one or two words and in a sentence."""
    if not isinstance(outcome, QuadraticLikelihood):
        return "no expansion", f"It is a {type(outcome).__name__}, and no expansion of a model."
    size = len(study.coefficients)
    if outcome.model != study.family or len(outcome.diagonal) != size:
        return "another model", (
            f"It is of a {outcome.model} model of {len(outcome.diagonal)} coefficients; the study "
            f"declares a {study.family} model of {size}."
        )
    anchor = anchors.get(outcome.anchor_id)
    if anchor is None or len(anchor) != size:
        return _UNKNOWN_ANCHOR
    expansion = Expansion(site=name, outcome=outcome, anchor=anchor, packet=packet)
    why = why_impossible(expansion, study)
    if why:
        return "impossible", f"No people can have these numbers: {why}. Ask its site about it."
    return expansion
