"""Trust before head: which packet speaks for a key, of those that the roster accepts now.

Were the newest packet chosen first and judged afterwards, one that nobody believes (signed after
its key had ended, say) would displace all the good ones before it.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from qis import _layout
from qis.evidence.review import Head, Reason
from qis.evidence.roster import Roster
from qis.evidence.rules import EvidenceKey, evidence_key
from qis.identity import issuer_of
from qis.packet import Packet, is_numbered_ahead, issuer_key

_OF_THE_PACKET: Final = frozenset({Reason.SEQUENCE_AHEAD, Reason.KEY_NOT_VALID, Reason.SET_ASIDE})
"""Reasons that may hold for one packet and not for an older one under the same key."""


class Versions(Protocol):
    """What has to be known of a store: all versions under each evidence key."""

    def heads(self, study_id: bytes) -> list[Head]:
        """The newest packet under each key of a study, whoever believes it."""

    def head(self, key: EvidenceKey) -> Packet | None:
        """The newest packet under a key, whoever believes it."""

    def newest_of(
        self, keys: Collection[EvidenceKey], accepts: Callable[[bytes], bool]
    ) -> list[Packet]:
        """The newest packet under each of some keys of one issuer that is accepted, if one is."""

    def at(self, issuer: bytes, sequence: int) -> list[Packet]:
        """All packets under (issuer, sequence)."""

    def refusal(self, data: bytes) -> Reason | None:
        """Why a packet has no say now; `None` if it has."""

    def refusals(self, packets: Sequence[Packet]) -> list[Reason | None]:
        """The same of each of many packets, at less cost."""


def distrust(data: bytes, roster: Roster) -> Reason | None:
    """Why a packet of these bytes has no say under a roster; `None` if it has."""
    issued_at = int.from_bytes(data[_layout.ISSUED_AT], "big")
    if is_numbered_ahead(int.from_bytes(data[_layout.SEQUENCE], "big"), issued_at):
        return Reason.SEQUENCE_AHEAD  # admitted by a version of qis that did not look at it
    if roster.is_open:
        return None
    issuer = issuer_of(issuer_key(data))
    key, site = roster.key_of(issuer), roster.site_of(issuer)
    if site is None or key is None:
        return Reason.UNTRUSTED
    if key.revoked:
        return Reason.REVOKED
    if site.studies is not None and not site.enrolled_in(data[_layout.STUDY_ID]):
        return Reason.NOT_ENROLLED
    is_always_valid = key.valid_from is None and key.valid_until is None
    return None if is_always_valid or key.covers(issued_at) else Reason.KEY_NOT_VALID


def candidates(held: Versions, study_id: bytes) -> list[Head]:
    """For each key of a study: the newest packet that has a say, and a newer one that has none."""
    found: list[Head] = []
    beneath: dict[bytes, list[EvidenceKey]] = {}
    heads = held.heads(study_id)
    for head, reason in zip(heads, held.refusals([h.packet for h in heads]), strict=True):
        if reason is None:
            if head.equivocal:
                head = head._replace(equivocal=_is_refuted(held, head.packet))  # noqa: PLW2901
            found.append(head)
            continue
        found.append(Head(head.packet, equivocal=False, refusal=reason))
        if reason in _OF_THE_PACKET:
            key = evidence_key(head.packet)
            beneath.setdefault(key.issuer, []).append(key)
    for keys in beneath.values():
        found += [
            Head(packet, equivocal=_is_refuted(held, packet))
            for packet in held.newest_of(keys, _has_a_say(held))
        ]
    return found


def decides(held: Versions, packet: Packet) -> bool:
    """True if a packet, held or not, is the newest under its key that has a say."""
    if held.refusal(bytes(packet)) is not None:
        return False
    key = evidence_key(packet)
    head = held.head(key)
    if head is not None and held.refusal(bytes(head)) is not None:
        head = next(iter(held.newest_of([key], _has_a_say(held))), None)
    return head is None or (-packet.sequence, packet.id) <= (-head.sequence, head.id)


def _has_a_say(held: Versions) -> Callable[[bytes], bool]:
    return lambda data: held.refusal(data) is None


def _is_refuted(held: Versions, packet: Packet) -> bool:
    """True if its issuer signed another packet under the same sequence that has a say too."""
    twins = held.at(issuer_key(bytes(packet)), packet.sequence)
    return sum([held.refusal(bytes(twin)) is None for twin in twins]) > 1
