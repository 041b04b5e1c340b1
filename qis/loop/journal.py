"""The audit log's entries about a loop: before anything leaves, after anything came or was used.

No entry holds a patient's data, nor the small number for which a rule refused something, since the
log may be shown to others. If the log cannot be written, nothing leaves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from blake3 import blake3

from qis.evidence import Admission, AuditLog
from qis.evidence.audit_entry import AuditNote
from qis.loop._outbox_file import UnreadDraft
from qis.loop.approval import Draft, Pending
from qis.models import FittedModel
from qis.outcomes import Outcome
from qis.packet import Packet
from qis.synthesis import Synthesis

_IDS_IN_ONE: Final = 500
"""Packet ids in one entry, which may have 60,000 bytes."""


class Journal:
    """Writes a loop's entries. Without an audit log it writes nothing.

    Parameters
    ----------
    audit
        The log, or `None`.
    rules
        Name of the disclosure preset.
    clock
        Gives Unix seconds.
    account
        Gives the account's name and its number of changes, which an older copy does not have.

    """

    def __init__(
        self,
        audit: AuditLog | None,
        rules: str,
        clock: Callable[[], float],
        *,
        account: Callable[[], tuple[str, int]] = lambda: ("", 0),
    ) -> None:
        self._audit = audit
        self._rules = rules
        self._clock = clock
        self._used: dict[bytes, tuple[str, frozenset[str]]] = {}
        self._account = account

    def configured(self, settings: Mapping[str, Any]) -> None:
        """Record that the loop was opened with these settings."""
        self._write(AuditNote("configured", rule=self._rules, details=settings))

    def emitted(
        self, packet: Packet, *, reason: str = "", not_searched: Sequence[str] = ()
    ) -> None:
        """Record that a packet may leave, and what the rules have not searched in it."""
        self._write(self._emission(packet, reason, not_searched))

    def released(
        self, packet: Packet, pending: Pending, approver: str, *, not_searched: Sequence[str] = ()
    ) -> None:
        """Record that a person or a rule approved a packet, which may leave from now on."""
        approved = AuditNote(
            "approved",
            (packet.id.hex(),),
            rule="approval",
            details={
                **_about(packet.outcome),
                "outcome": _digest(packet.outcome),
                "approver": approver,
                "pending": pending.id,
                "preview": pending.preview_digest.hex(),
            },
        )
        self._write(approved, self._emission(packet, "", not_searched))

    def settled(self, verdict: str, approver: str, codes: list[str]) -> None:
        """Record what a person has said of findings about the account."""
        details = {"approver": approver, "findings": codes}
        self._write(AuditNote("configured", (), "account", verdict, details))

    def sent_again(self, packets: Iterable[Packet]) -> None:
        """Record packets that were signed before the loop was opened and are still to be sent."""
        self._write(*(self._emission(packet, "was waiting for the network") for packet in packets))

    def handed_again(self, packets: Iterable[Packet]) -> None:
        """Record packets that are in force and are handed to the network again."""
        ids = [packet.id.hex() for packet in packets]
        self._write(
            *(
                AuditNote("emitted", part, self._rules, "in force; handed to the network again")
                for part in _parts(ids)
            )
        )

    def withheld(self, draft: Draft, rule: str) -> None:
        """Record that a disclosure rule keeps an outcome at the site."""
        reason = "a disclosure rule keeps it at the site"
        self._write(self._refusal(draft.outcome, f"{self._rules}/{rule}", reason))

    def rejected(self, pending: Pending, approver: str, reason: str) -> None:
        """Record that a person or a rule rejected an outcome that waited."""
        details = {"approver": approver, "pending": pending.id}
        note = self._refusal(pending.outcome, "approval", reason)
        self._write(note._replace(details={**note.details, **details}))

    def rejected_unread(self, draft: UnreadDraft, approver: str, reason: str) -> None:
        """Record that a person rejected what waited and could no longer be read."""
        said = f"{reason}; no longer read: {draft.reason}" if reason else draft.reason
        details = {"approver": approver, "pending": draft.id}
        self._write(AuditNote("refused", (), "approval", said, details))

    def not_emitted(self, packet: Packet, reason: str) -> None:
        """Record that a packet which was recorded as emitted did not leave after all."""
        note = self._refusal(packet.outcome, "not emitted", reason)
        self._write(note._replace(subject=(packet.id.hex(),)))

    def let_go(self, packets: Iterable[Packet], reason: str) -> None:
        """Record packets that were recorded as emitted but not handed over by this process."""
        said = f"{reason}; not handed to the network since the loop was opened"
        notes = ((self._refusal(each.outcome, "not emitted", said), each) for each in packets)
        self._write(*(note._replace(subject=(each.id.hex(),)) for note, each in notes))

    def uncounted(self, packet: Packet, admission: Admission) -> None:
        """Record that a packet does not leave since the site's own store would not count it."""
        reason = "the site's own store does not count it"
        self._write(self._refusal(packet.outcome, f"store/{admission.label}", reason))

    def set_aside(self, packets: Iterable[Packet]) -> None:
        """Record packets that a wrong clock dated and that no longer supersede others."""
        ids = [packet.id.hex() for packet in packets]
        reason = "dated by a wrong clock; set aside"
        self._write(*(AuditNote("refused", part, "clock", reason) for part in _parts(ids)))

    def received(self, arrivals: Iterable[tuple[Packet, Admission]]) -> None:
        """Record packets that came in, with the store's verdicts; duplicates are left out."""
        if self._audit is None:  # spares building entries for what may be many packets
            return
        self._write(
            *(
                AuditNote(
                    "received" if admission.kept else "refused",
                    (packet.id.hex(),),
                    rule=admission.label,
                    details={"issuer": str(packet.issuer), **_about(packet.outcome)},
                )
                for packet, admission in arrivals
                if admission is not Admission.DUPLICATE
            )
        )

    def arrived_before(self, packets: Iterable[Packet]) -> None:
        """Record packets that an earlier process has stored and could not record."""
        reason = "stored before, and recorded when the loop was opened again"
        self._write(
            *(
                AuditNote(
                    "received",
                    (packet.id.hex(),),
                    "stored",
                    reason,
                    {"issuer": str(packet.issuer), **_about(packet.outcome)},
                )
                for packet in packets
            )
        )

    def used(self, synthesis: Synthesis) -> None:
        """Record a synthesis and the packets that it was made of.

        The first of a study since the loop was opened lists them all; a later one those that were
        added and removed since the one named by `since`, which is all that a large study's log can
        hold night after night.
        """
        packets = (packet for site in synthesis.sites for packet in site.packets)
        self._note_used(
            synthesis.study_id,
            synthesis.digest,
            packets,
            rule=synthesis.model,
            look=synthesis.looks,
        )

    def modelled(self, model: FittedModel) -> None:
        """Record a model and the packets that it was fitted from, as a synthesis is recorded."""
        packets = (each.packet for each in model.expansions if each.packet is not None)
        self._note_used(model.study.id, model.digest, packets, rule=model.study.purpose, look=0)

    def _note_used(
        self, study_id: bytes, name: bytes, packets: Iterable[Packet], *, rule: str, look: int
    ) -> None:
        if self._audit is None:
            return
        ids = frozenset(packet.id.hex() for packet in packets)
        since, before = self._used.get(study_id, ("", frozenset()))
        changes = [("added", part) for part in _parts(sorted(ids - before))]
        changes += [("removed", part) for part in _parts(sorted(before - ids))]
        parts = changes or [("added", ())]
        digest = name.hex()
        self._write(
            *(
                AuditNote(
                    "used",
                    (digest,),
                    rule=rule,
                    details={
                        "study": study_id.hex(),
                        "look": look,
                        "packets": len(ids),
                        "since": since,
                        what: list(part),
                        "part": [number, len(parts)],
                    },
                )
                for number, (what, part) in enumerate(parts, start=1)
            )
        )
        self._used[study_id] = digest, ids

    def _emission(self, packet: Packet, reason: str, not_searched: Sequence[str] = ()) -> AuditNote:
        details: dict[str, Any] = {
            **_about(packet.outcome),
            "outcome": _digest(packet.outcome),
            "sequence": packet.sequence,
            "account": list(self._account()),
        }
        if not_searched:
            details["not_searched"] = list(not_searched)
        return AuditNote("emitted", (packet.id.hex(),), self._rules, reason, details)

    def _refusal(self, outcome: Outcome, rule: str, reason: str) -> AuditNote:
        return AuditNote("refused", (), rule, reason, _about(outcome))

    def _write(self, *notes: AuditNote) -> None:
        if self._audit is not None and notes:
            self._audit.record_many(notes, now=self._clock())


def _parts(ids: list[str]) -> list[tuple[str, ...]]:
    return [tuple(ids[at : at + _IDS_IN_ONE]) for at in range(0, len(ids), _IDS_IN_ONE)]


def _digest(outcome: Outcome) -> str:
    """BLAKE3-256 of what left. Never of what was refused: small counts can be guessed from it."""
    return blake3(outcome.encoded()).hexdigest()


def _about(outcome: Outcome) -> dict[str, Any]:
    return {
        "kind": type(outcome).__name__,
        "study": outcome.study_id.hex(),
        "question": outcome.question,
        "cohort": outcome.cohort,
    }
