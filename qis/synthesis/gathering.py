"""Which packets enter a synthesis, a site at a time, and why the others do not."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from qis.errors import IncompatibleEvidenceError, InputError
from qis.evidence import MemoryStore, Reason, Review, Roster
from qis.evidence.review import Excluded, study_id_of
from qis.outcomes import (
    MEASURES,
    Anchor,
    Counts,
    Derived,
    Effect,
    LikelihoodProfile,
    Moments,
    Outcome,
    QuadraticLikelihood,
    Record,
    Retraction,
    Study,
    UnknownOutcome,
)
from qis.outcomes.moments import NO_LIKELIHOOD
from qis.packet import Packet
from qis.picture.html import with_table
from qis.synthesis.currency import Poolable, events_of, is_poolable, measure_of

_UNPOOLABLE: Final = "not poolable"
_UNKNOWN_KIND: Final = "unknown kind"
_REMEDIES: Final[dict[type[Outcome], str]] = {
    QuadraticLikelihood: "It is a model's likelihood, not that of one effect: "
    "qis.combine_quadratics pools those of one study.",
    Anchor: "It is the point at which models are expanded, and no evidence: "
    "qis.combine_quadratics takes it as anchors=.",
    Record: "It is a record of the application's own, and no evidence of one effect: read it from "
    "loop.matches() or from the store.",
}
_OF_A_COMMON_EFFECT: Final = (
    Reason.DERIVED.label,
    "It is a synthesis, which says nothing of how sites differ: it counts under the fixed model "
    "only.",
)


_AS_IS: Final = (Effect, LikelihoodProfile, Counts)
"""Kinds that always have a log-likelihood of one effect."""


@with_table
class LeftOut(NamedTuple):
    """A packet that is not in the synthesis.

    Examples
    --------
    >>> import qis
    >>> table = {"site": ["Ulm", "Bern"], "estimate": [-0.7, -0.2], "standard_error": [0.3, 0.4]}
    >>> study = qis.Study(question="drug vs none | death", measure="OR", model="fixed")
    >>> synthesis = qis.synthesise(table, study=study)
    >>> synthesis.excluded
    ()

    """

    packet: Packet
    site: str | None
    """Name of its site; `None` if the roster has none for it."""
    reason: str
    """The reason in one or two words."""
    sentence: str
    """The reason in a whole sentence."""

    @property
    def is_withdrawn(self) -> bool:
        """True if the site took back what it had published."""
        return self.reason == Reason.RETRACTED.label


class SiteEvidence(NamedTuple):
    """The evidence of one site that counts: its cohorts, in the order of their packets' ids.

    For a derived packet it is the one estimate of several sites, none of which counts otherwise.
    """

    name: str
    packets: tuple[Packet, ...]
    outcomes: tuple[Poolable, ...]
    number: int = 1
    """How many sites these are: more than one behind a derived packet."""

    @property
    def n(self) -> int | None:
        """People, if every cohort's number is known."""
        return _sum_known([outcome.n for outcome in self.outcomes])

    @property
    def events(self) -> int | None:
        """Events, if every cohort's number is known."""
        return _sum_known([events_of(outcome) for outcome in self.outcomes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The evidence of one study and measure.

    Parameters
    ----------
    study_id, question
        Id and question of the study.
    measure
        What is pooled; `None` if nothing is.
    sites
        Sites that count, sorted by name.
    left_out
        Packets that do not count, sorted by packet id.
    silent
        Names of enrolled sites of which nothing came.
    enrolled
        Number of enrolled sites; `None` if the roster is open.
    roster_digest
        32 bytes that identify the roster by its content.
    now
        Unix seconds: when it was judged.
    is_signed
        False if it is of outcomes that came without packets.

    """

    study_id: bytes
    question: str
    measure: str | None
    sites: tuple[SiteEvidence, ...]
    left_out: tuple[LeftOut, ...]
    silent: tuple[str, ...]
    enrolled: int | None
    roster_digest: bytes
    now: float
    is_signed: bool = True

    @property
    def number(self) -> int:
        """How many sites count, those behind derived packets too."""
        return sum(site.number for site in self.sites)

    @property
    def something_withdrawn(self) -> bool:
        """True if a site took back what may have been seen; a confidence sequence is void then."""
        return any(left.is_withdrawn for left in self.left_out)


def gather(
    packets: Iterable[Packet] | Review,
    study: Study | None,
    now: float | None = None,
    *,
    model: Literal["fixed", "random"] = "fixed",
    roster: Roster | None = None,
) -> Gathered:
    """Sort what may be pooled from what may not.

    Plain packets pass the same rules as in a store with this roster (default: an open one): of one
    issuer, study and cohort the packet of the highest sequence counts, once. A derived packet that
    a review lets count (`qis.evidence.with_derived`) enters a fixed-effect synthesis as the
    estimate in it.

    Raises
    ------
    InputError
        If there is no packet and no study.
    IncompatibleEvidenceError
        If packets of several studies come without saying which one is meant, or a review is not of
        the study given.

    """
    if not isinstance(packets, Review):
        review = _review(list(packets), study, now, roster or Roster.open())
    else:
        review = packets
        if study is not None and study.id != review.study_id:
            raise IncompatibleEvidenceError(
                f"the evidence is of study {review.study_id.hex()}, not of {study.question!r} "
                f"({study.id.hex()}): ask the store for that one's",
                field="study",
                actual=review.study_id,
                limit=study.id,
            )
    left_out = [
        LeftOut(left.packet, left.site, left.reason.label, sentence_of(left))
        for left in review.excluded
    ]
    question = question_of(review, study)
    poolable: list[tuple[Packet, Poolable]] = []
    takes_any_scheme = study is None or not study.scheme
    for packet in review.evidence:
        found: Any = packet.outcome
        # Nearly all packets are taken without a call, since a study may have thousands.
        if not (isinstance(found, _AS_IS) and found.question == question and takes_any_scheme):
            found = _pooled_of(packet, question, study, model)
        if isinstance(found, tuple):
            left_out.append(LeftOut(packet, review.site_names[packet.id], *found))
        else:
            poolable.append((packet, found))
    measure = _prevailing(study, [outcome for _, outcome in poolable])
    sites: dict[str, list[tuple[Packet, Poolable]]] = {}
    names = review.site_names
    for pair in poolable:
        packet, outcome = pair
        name = names[packet.id]
        if outcome.measure == measure:
            if name in sites:
                sites[name].append(pair)
            else:
                sites[name] = [pair]
        else:
            left_out.append(LeftOut(packet, name, *_of_another_measure(outcome, measure)))
    return Gathered(
        study_id=review.study_id,
        question=question,
        measure=measure,
        sites=tuple([_site(name, sites[name]) for name in sorted(sites)]),
        left_out=tuple(sorted(left_out, key=lambda left: left.packet.id)),
        silent=review.silent,
        enrolled=len(review.enrolled) or None,
        roster_digest=review.roster_digest,
        now=review.now,
    )


def _pooled_of(
    packet: Packet, question: str, study: Study | None, model: Literal["fixed", "random"]
) -> Poolable | tuple[str, str]:
    """What of a packet is pooled, or why nothing is: the reason, and it in a sentence."""
    outcome = packet.outcome
    if (why := not_as_declared(packet, question, study)) is not None:
        return why
    if is_poolable(outcome) and not _lacks_likelihood(outcome):
        return outcome
    if isinstance(outcome, Derived):
        return _estimate_of(outcome) if model == "fixed" else _OF_A_COMMON_EFFECT
    return _unpoolable(outcome)


def _site(name: str, found: list[tuple[Packet, Poolable]]) -> SiteEvidence:
    if len(found) == 1:
        packet, outcome = found[0]
        if packet.outcome is outcome:  # else it is the estimate in a derived packet
            return SiteEvidence(name, (packet,), (outcome,))
    packets, outcomes = zip(*found, strict=True)
    return SiteEvidence(name, packets, outcomes, max(_sites_behind(p.outcome) for p in packets))


def _lacks_likelihood(outcome: Outcome) -> bool:
    return isinstance(outcome, Moments) and not outcome.is_informative


def _remedy(outcome: Outcome) -> str:
    """Why an outcome has no log-likelihood of one effect, and what to do with it."""
    if isinstance(outcome, Moments):
        return f"{NO_LIKELIHOOD[:1].upper()}{NO_LIKELIHOOD[1:]}."
    return _REMEDIES.get(
        type(outcome), f"A {type(outcome).__name__} has no log-likelihood of one effect."
    )


def _unpoolable(outcome: Outcome) -> tuple[str, str]:
    if not isinstance(outcome, UnknownOutcome):
        return _UNPOOLABLE, _remedy(outcome)
    return _UNKNOWN_KIND, (
        f"It is of kind {outcome.kind}, which a newer version of the library knows and this one "
        "does not: update the library, or ask the site for a kind that all versions read."
    )


def _sites_behind(outcome: Outcome) -> int:
    return outcome.sites if isinstance(outcome, Derived) else 1


def _estimate_of(derived: Derived) -> Effect:
    """A synthesis of the common effect as a normal likelihood of it."""
    return Effect(
        study_id=derived.study_id,
        question=derived.question,
        measure=derived.measure,
        estimate=derived.estimate,
        standard_error=derived.standard_error,
    )


def _review(
    packets: list[Packet], study: Study | None, now: float | None, roster: Roster
) -> Review:
    ids = {packet.outcome.study_id for packet in packets}
    if study is not None:
        ids.add(study.id)
    if not ids:
        raise InputError("there is nothing to synthesise: no packet and no study", field="packets")
    if len(ids) > 1:
        questions = sorted({packet.outcome.question for packet in packets})
        raise IncompatibleEvidenceError(
            f"the packets belong to {len(ids)} studies ({', '.join(map(repr, questions[:5]))}"
            f"{', …' if len(questions) > 5 else ''}); synthesise those of one at a time",
            field="study_id",
            actual=tuple(sorted(ids)),
            limit=1,
        )
    store = MemoryStore(roster=roster, capacity=max(len(packets), 1))
    for packet in packets:
        store.add(packet, now=packet.issued_at)
    if now is None:
        now = max((packet.issued_at for packet in packets), default=0)
    return store.review(study if study is not None else ids.pop(), now=now)


def sentence_of(left: Excluded) -> str:
    """Why a store leaves a packet out, and a site's own reason where it gave one."""
    outcome = left.packet.outcome
    own = f" Its reason: {outcome.reason}." if isinstance(outcome, Retraction) else ""
    return left.reason.sentence + own


def question_of(review: Review, study: Study | None) -> str:
    """The study's question; if only the id is known, the one that has this id or most packets."""
    if study is not None:
        return study.question
    found = Counter([packet.outcome.question for packet in review.evidence])
    found.update(left.packet.outcome.question for left in review.excluded if not found)
    for question in sorted(found):
        if question and study_id_of(question) == review.study_id:
            return question
    return min(found, key=lambda question: (-found[question], question), default="")


def _of_another_question(outcome: Outcome, question: str) -> tuple[str, str]:
    return (
        "another question",
        f"It carries this study's id but asks {outcome.question!r}; this synthesis is of "
        f"{question!r}. They are never pooled: agree on one Study, whose id fixes its question.",
    )


def not_as_declared(packet: Packet, question: str, study: Study | None) -> tuple[str, str] | None:
    """Why a packet under the study's id is not of that study, if it is not."""
    if packet.outcome.question != question:
        return _of_another_question(packet.outcome, question)
    if study is None or not study.scheme:
        return None
    scheme = packet.fingerprint.scheme_id.hex()
    if study.scheme == scheme:
        return None
    return (
        "another scheme",
        f"Its fingerprint is of the scheme {scheme}; the study declares {study.scheme}. Its site "
        "works with other features, parameters or another secret: it reached, and was reached "
        "by, other sites than the study says.",
    )


def _prevailing(study: Study | None, outcomes: list[Poolable]) -> str | None:
    """The study's measure; if it fixes none, what most packets have, of equals the lowest code."""
    if study is not None and study.measure is not None:
        return study.measure
    found = Counter([outcome.measure for outcome in outcomes])
    return min(found, key=lambda name: (-found[name], MEASURES[name].code), default=None)


def _of_another_measure(outcome: Poolable, measure: str | None) -> tuple[str, str]:
    return (
        "another measure",
        f"It is of {measure_of(outcome)}; this synthesis is of {measure}. They are never pooled: "
        "declare the measure in the study, or publish it under a question of its own.",
    )


def _sum_known(numbers: list[int | None]) -> int | None:
    return None if None in numbers else sum(number or 0 for number in numbers)
