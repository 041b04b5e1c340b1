"""What counts for a study, and what does not and why: judged when read, never when received.

Trust, overlap and validity change with the roster and the clock, while the packets stay. So a store
keeps packets, and this turns those under one study into evidence.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final, NamedTuple, overload

from qis._data_frame import data_frame
from qis._gate import checked
from qis.errors import InputError
from qis.evidence.roster import Roster
from qis.evidence.rules import (
    KIND_RETRACTION,
    KIND_SUPPRESSED,
    MAX_COHORTS,
    Role,
    role_of,
)
from qis.outcomes import Study
from qis.outcomes.study import STUDY_ID_SIZE
from qis.packet import Packet
from qis.packet.columns import packet_columns
from qis.picture.html import with_table


class Reason(Enum):
    """Why a packet is no evidence. `sentence` says it in words.

    Examples
    --------
    >>> from qis.evidence import Reason
    >>> Reason.UNTRUSTED.sentence
    '...'

    """

    UNTRUSTED = ("untrusted", "The roster does not list its issuer.")
    REVOKED = ("revoked", "The roster has revoked its issuer.")
    KEY_NOT_VALID = ("key not valid", "It was issued outside the validity of its key.")
    SEQUENCE_AHEAD = (
        "sequence ahead",
        "Its sequence is further ahead of its own issue time than clocks may differ.",
    )
    SET_ASIDE = (
        "set aside",
        "This site has set it aside: it was dated while the site's clock was wrong.",
    )
    NOT_ENROLLED = ("not enrolled", "Its site is not enrolled in the study.")
    EQUIVOCATION = ("equivocation", "Its issuer signed two packets under one sequence.")
    REPLACED = (
        "replaced",
        "A packet of its site under another of the site's keys decides: that of the key valid "
        "from a later time, of two such keys the newer packet.",
    )
    RETRACTED = ("retracted", "The site has withdrawn what it had published.")
    SIDE_RETRACTED = (
        "retracted synthesis or anchor",
        "The site has withdrawn its synthesis of others' packets, or its anchor; its own evidence "
        "is not concerned.",
    )
    SUPPRESSED = ("suppressed", "The site has data that its disclosure rules keep back.")
    NOT_STARTED = ("not started", "The study's validity has not begun.")
    ENDED = ("ended", "The study's validity has ended.")
    ISSUED_EARLY = ("issued early", "It was issued before the study's validity began.")
    ISSUED_LATE = ("issued late", "It was issued after the study's validity had ended.")
    TOO_MANY_COHORTS = ("too many cohorts", f"Its site has more than {MAX_COHORTS} cohorts.")
    OVERLAPPING = ("overlapping", "Its site shares patients with a site that counts.")
    DERIVED = ("derived", "A synthesis of other packets, which would count them twice.")
    INCOMPLETE = ("incomplete", "A synthesis that does not list all that it was made from.")
    LEAF_UNKNOWN = ("unknown leaf", "A synthesis of an issuer that the roster does not accept.")
    LEAF_WITHDRAWN = ("withdrawn leaf", "A synthesis of something that was since withdrawn.")
    LEAF_COUNTED = ("counted leaf", "A synthesis of a site that counts already.")
    LEAF_EXPIRED = ("expired leaf", "A synthesis whose validity has ended.")

    def __init__(self, label: str, sentence: str) -> None:
        self.label = label
        self.sentence = sentence

    def __str__(self) -> str:
        return self.label


@with_table
class Excluded(NamedTuple):
    """A packet that does not count, and why.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> stranger = qis.Identity.from_seed(bytes(range(32))).issuer
    >>> store = qis.MemoryStore(roster=qis.Roster.open())
    >>> _ = store.add(packet, now=1_800_000_100)
    >>> store.roster = qis.Roster((qis.Site.of("Ulm", stranger),))
    >>> review = store.evidence("a vs b | c", now=1_800_000_100)
    >>> [left_out.reason.name for left_out in review.excluded]
    ['UNTRUSTED']

    """

    packet: Packet
    reason: Reason
    site: str | None
    """Name of its site; `None` if the roster has none for it."""


class Head(NamedTuple):
    """A packet that may speak for its evidence key (`qis.evidence.trust`)."""

    packet: Packet
    equivocal: bool
    """True if another packet has the same issuer and sequence."""
    refusal: Reason | None = None
    """Why it has no say, so that an older one of the same key may have one; `None` if it has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Review(Sequence[Packet]):
    """The evidence of one study, beside everything that a reader of it must see.

    A sequence of the packets that count; it equals a list or tuple of these, and another review of
    the same content. Given to `qis.synthesise` it keeps the sites' names and what is left out,
    which a list of its packets would lose.

    Packets are in the order of their ids, so that all nodes with the same packets and roster sum
    in the same order.

    Parameters
    ----------
    study_id
        8 bytes.
    evidence
        The packets that count.
    anchors
        Points of expansion, for quadratic likelihoods.
    excluded
        Packets that do not count, with the reason.
    site_names
        Packet id → name of its site, of evidence and anchors.
    enrolled
        Names of the sites enrolled in the study, in the roster's order (none if it is open).
    roster_digest
        Names the roster by which this was judged.
    now
        Unix seconds: when it was judged.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> store = qis.MemoryStore(roster=qis.Roster((qis.Site.of("Ulm", key.issuer),)))
    >>> _ = store.add(packet, now=1_800_000_100)
    >>> review = store.evidence("a vs b | c", now=1_800_000_100)
    >>> len(review), review[0] == packet, review.excluded, review.enrolled
    (1, True, (), ('Ulm',))

    """

    study_id: bytes
    evidence: tuple[Packet, ...]
    anchors: tuple[Packet, ...]
    excluded: tuple[Excluded, ...]
    site_names: Mapping[bytes, str]
    enrolled: tuple[str, ...]
    roster_digest: bytes
    now: float

    @overload
    def __getitem__(self, index: int) -> Packet: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Packet, ...]: ...

    def __getitem__(self, index: int | slice) -> Packet | tuple[Packet, ...]:
        return self.evidence[index]

    def __len__(self) -> int:
        return len(self.evidence)

    def __iter__(self) -> Iterator[Packet]:
        return iter(self.evidence)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, tuple)):
            return list(self.evidence) == list(other)
        if not isinstance(other, Review):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    __hash__ = None  # type: ignore[assignment]  # it equals lists, which have none

    def __repr__(self) -> str:
        return (
            f"<Review of study {self.study_id.hex()}: {len(self.evidence)} packets of "
            f"{len(self.sites)} sites count, {len(self.excluded)} do not>"
        )

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites that count, sorted."""
        return tuple(sorted({self.site_names[packet.id] for packet in self.evidence}))

    @property
    def silent(self) -> tuple[str, ...]:
        """Names of the enrolled sites of which there is nothing at all."""
        heard = {*self.site_names.values(), *(left.site for left in self.excluded)}
        return tuple(name for name in self.enrolled if name not in heard)

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns, one row a packet: site, `counts`, `why_not`, and those of `packets_to_frame`."""
        anchors = [(packet, self.site_names[packet.id], "anchor") for packet in self.anchors]
        counting = [(packet, self.site_names[packet.id], "") for packet in self.evidence]
        left = [(left.packet, left.site, left.reason.label) for left in self.excluded]
        rows = [*counting, *anchors, *left]
        return {
            "site": [site for _, site, _ in rows],
            "counts": [not reason for _, _, reason in rows],
            "why_not": [reason for _, _, reason in rows],
            **packet_columns([packet for packet, _, _ in rows]),
        }

    @checked
    def to_frame(self, *, backend: str = "pandas") -> Any:
        """The columns of `to_dict` as a data frame: all packets, those that do not count too.

        Parameters
        ----------
        backend
            "pandas", "polars" or "pyarrow".

        Raises
        ------
        InputError
            If the backend is another.
        MissingExtraError
            If the backend is not installed.

        """
        return data_frame(self.to_dict(), backend)

    @checked
    def excluded_for(self, reason: Reason) -> tuple[Packet, ...]:
        """The packets that are left out for one reason."""
        return tuple(left.packet for left in self.excluded if left.reason is reason)

    def _repr_html_(self) -> str:
        from qis.picture.html import grid_of  # noqa: PLC0415  for people only

        columns = self.to_dict()
        shown = ("site", "counts", "why_not", "kind", "cohort", "measure", "n", "issued_at", "id")
        return grid_of({name: columns[name] for name in shown}, repr(self)[1:-1])


_FIELDS: Final = tuple(field.name for field in fields(Review))


def study_id_of(study: Study | bytes | str) -> bytes:
    """The id of a study given as a `Study`, an id of 8 bytes, or a bare question."""
    if isinstance(study, Study):
        return study.id
    if isinstance(study, str):
        try:
            return Study(question=study).id
        except InputError as error:
            error.field = "study"
            raise
    if type(study) is not bytes or len(study) != STUDY_ID_SIZE:
        raise InputError(
            f"give a Study, its id ({STUDY_ID_SIZE} bytes) or a question, not {study!r:.60}",
            field="study",
        )
    return study


def judge(
    heads: Iterable[Head], *, study: Study | bytes | str, roster: Roster, now: float
) -> Review:
    """Turn the heads of one study into evidence and the rest.

    Parameters
    ----------
    heads
        For each evidence key of the study: the newest packet that has a say, and newer ones that
        have none.
    study
        The study; its validity is judged only if it is given whole, since an id says nothing of it.
    roster
        Who is believed.
    now
        Unix seconds.

    """
    excluded: list[Excluded] = []
    deciding: dict[tuple[str, str, int], tuple[str, Role, Head]] = {}
    is_open = roster.is_open
    for head in heads:
        packet, _, refusal = head
        issuer, outcome = packet.issuer, packet.outcome
        name = issuer.key.hex() if is_open else roster.name_of(issuer)
        if name is None or refusal is not None:
            excluded.append(Excluded(packet, refusal or Reason.UNTRUSTED, name))
            continue
        role = role_of(outcome)
        cohort_key, found = (name, outcome.cohort, role), (name, role, head)
        if (former := deciding.get(cohort_key)) is not None:
            lesser, found = sorted(
                (former, found), key=lambda each: _precedence(each[2].packet, roster)
            )
            excluded.append(Excluded(lesser[2].packet, Reason.REPLACED, name))
        deciding[cohort_key] = found
    evidence: list[tuple[str, Packet]] = []
    anchors: list[tuple[str, Packet]] = []
    is_dated = isinstance(study, Study)
    for name, role, head in deciding.values():
        reason = _withheld(head, role)
        if reason is None and is_dated:
            reason = _outside_validity(study, head.packet.issued_at, now)
        if reason is not None:
            excluded.append(Excluded(head.packet, reason, name))
        else:
            (anchors if role is Role.ANCHOR else evidence).append((name, head.packet))
    evidence = _limit_cohorts(evidence, excluded)
    evidence = _drop_overlaps(evidence, roster, excluded)
    study_id = study_id_of(study)
    by_id = {packet.id: packet for _, packet in evidence}
    anchor_by_id = {packet.id: packet for _, packet in anchors}
    return Review(
        study_id=study_id,
        evidence=tuple([by_id[packet_id] for packet_id in sorted(by_id)]),
        anchors=tuple([anchor_by_id[packet_id] for packet_id in sorted(anchor_by_id)]),
        excluded=tuple(sorted(excluded, key=lambda left: left.packet.id)),
        site_names={packet.id: name for name, packet in (*evidence, *anchors)},
        enrolled=tuple(site.name for site in roster.enrolled(study_id)),
        roster_digest=roster.digest,
        now=now,
    )


_KIND_REASONS: Final = {KIND_RETRACTION: Reason.RETRACTED, KIND_SUPPRESSED: Reason.SUPPRESSED}


def _precedence(packet: Packet, roster: Roster) -> tuple[float, int, bytes]:
    """Sort key of heads: a site's key that is valid from later decides, then the higher sequence.

    The sequences of two keys say nothing about each other: the clock of the former may have been
    wrong.
    """
    if roster.is_open:
        return -math.inf, packet.sequence, packet.id
    key = roster.key_of(packet.issuer)
    valid_from = -math.inf if key is None or key.valid_from is None else key.valid_from
    return valid_from, packet.sequence, packet.id


def _withheld(head: Head, role: Role) -> Reason | None:
    """Why a deciding packet is itself no evidence; `None` if it is."""
    if head.equivocal:
        return Reason.EQUIVOCATION
    kind = head.packet.outcome.kind
    if role is Role.PRIMARY:
        return _KIND_REASONS.get(kind)
    if kind == KIND_RETRACTION:
        return Reason.SIDE_RETRACTED
    return Reason.DERIVED if role is Role.DERIVED else _KIND_REASONS.get(kind)


def _outside_validity(study: Study | bytes | str, issued_at: int, now: float) -> Reason | None:
    """Why the study's validity excludes a packet; `None` if it does not."""
    if not isinstance(study, Study):
        return None
    start = -math.inf if study.valid_from is None else study.valid_from
    end = math.inf if study.valid_until is None else study.valid_until
    if now < start:
        return Reason.NOT_STARTED
    if now >= end:
        return Reason.ENDED
    if issued_at < start:
        return Reason.ISSUED_EARLY
    return Reason.ISSUED_LATE if issued_at >= end else None


def _limit_cohorts(
    evidence: list[tuple[str, Packet]], excluded: list[Excluded]
) -> list[tuple[str, Packet]]:
    """Exclude all but the first `MAX_COHORTS` cohorts of each site, in the order of their names."""
    count = Counter([name for name, _ in evidence])
    if not evidence or max(count.values()) <= MAX_COHORTS:
        return evidence
    kept: list[tuple[str, Packet]] = []
    count.clear()
    for name, packet in sorted(evidence, key=lambda item: (item[0], item[1].outcome.cohort)):
        count[name] += 1
        if count[name] > MAX_COHORTS:
            excluded.append(Excluded(packet, Reason.TOO_MANY_COHORTS, name))
        else:
            kept.append((name, packet))
    return kept


def _drop_overlaps(
    evidence: list[tuple[str, Packet]], roster: Roster, excluded: list[Excluded]
) -> list[tuple[str, Packet]]:
    """Exclude sites that share patients with one listed before them in the roster."""
    if not any(site.shares_patients_with for site in roster.sites):
        return evidence
    kept: list[tuple[str, Packet]] = []
    counting: set[str] = set()
    for name, packet in sorted(evidence, key=lambda item: roster.rank_of(item[1].issuer)):
        if counting.isdisjoint(roster.overlaps_of(name)):
            counting.add(name)
            kept.append((name, packet))
        else:
            excluded.append(Excluded(packet, Reason.OVERLAPPING, name))
    return kept
