"""The only way out of the site: rules, approval, ledger and audit log, outbox, then the network.

Ledger and audit log are written before the outbox, and the outbox before anybody can see the
packet. If one of them fails, nothing leaves: the records may show more than what left, never less.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from qis.disclosure import Disclosure
from qis.disclosure.ledger import Subjects
from qis.errors import DisclosureError, InputError, StorageError
from qis.evidence import Admission, EvidenceStore
from qis.evidence.review import study_id_of
from qis.evidence.rules import KIND_RETRACTION, EvidenceKey, Role, evidence_key, role_of
from qis.fingerprint import Scheme
from qis.loop.approval import Approval, Draft, Pending, drafted, name_of, verdict_of
from qis.loop.clock_watch import ClockWatch
from qis.loop.events import Announcer, EventKind
from qis.loop.journal import Journal
from qis.loop.outbox import Outbox, Own
from qis.loop.recovery import Recovery
from qis.loop.signing import Signed, Signer
from qis.loop.withdrawing import require_something, withdrawal
from qis.outcomes import Outcome, Study
from qis.packet import Packet
from qis.transport.site_clocks import ClockState

_WITHDRAWN: Final = "what it would have replaced was withdrawn"


class ReleaseGate:
    """Signs and queues the outcomes that may leave, and keeps the others.

    Parameters
    ----------
    scheme, store, disclosure, approve
        What makes fingerprints, the site's evidence, the disclosure rules, and who approves.
    clock
        Gives Unix seconds.
    leaves_machine
        True if the transport carries packets beyond this machine.
    signer, outbox, journal, announcer, clock_watch, recovery
        The other parts of the loop.

    """

    def __init__(
        self,
        scheme: Scheme[Any],
        store: EvidenceStore,
        *,
        disclosure: Disclosure,
        approve: Approval | None,
        leaves_machine: bool,
        signer: Signer,
        outbox: Outbox,
        journal: Journal,
        announcer: Announcer,
        clock_watch: ClockWatch,
        recovery: Recovery,
        clock: Callable[[], float],
    ) -> None:
        self._scheme = scheme
        self._store = store
        self._disclosure = disclosure
        self._approve = approve
        self._leaves_machine = leaves_machine
        self._signer = signer
        self._outbox = outbox
        self._journal = journal
        self._announcer = announcer
        self._clock_watch = clock_watch
        self._recovery = recovery
        self._clock = clock

    async def publish(
        self,
        outcome: Outcome,
        about: Any,
        subjects: Subjects | None,
        people: int | None,
        *,
        is_open: Callable[[], bool],
        trust_clock: bool = False,
        reinstate: bool = False,
    ) -> Packet | Pending:
        """Sign an outcome that may leave, or keep it until it is released.

        `is_open` tells whether the loop that this gate belongs to is still open: a rule may be
        asked for long, and without its loop the gate no longer holds the lock of the key.
        """
        self._require_clock(trust_clock=trust_clock)
        draft = drafted(self._scheme, outcome, about, subjects, people, reinstates=reinstate)
        self._check_not_withdrawn(draft)
        self._check_same_subject(draft)
        self._check_about(draft)
        if self._approve is None:
            return self._emit(draft)
        return await self._submit(draft, self._approve, is_open, trust_clock=trust_clock)

    def release(self, pending_id: str, approver: str, *, trust_clock: bool = False) -> Packet:
        """Publish an outcome that waited, after checking all rules again."""
        pending = self._pending(pending_id)
        check_name(approver)
        return self._emit_approved(pending, approver, trust_clock=trust_clock)

    def _emit_approved(self, pending: Pending, approver: str, *, trust_clock: bool) -> Packet:
        """Let out what was approved, if it is still what the approver has seen."""
        self._require_clock(trust_clock=trust_clock)
        self._check_not_withdrawn(pending.draft)
        self._check_same_subject(pending.draft)
        self._check_about(pending.draft)
        preview = self._disclosure.preview(pending.outcome, subjects=pending.draft.subjects)
        # The words too: whoever can write to the outbox's file could show a person others.
        seen = pending.preview_digest, pending.preview
        if seen != (preview.digest, str(preview)) and not preview.refusal:
            self._outbox.hold(pending.with_preview(preview))
            raise DisclosureError(
                "what an outsider could learn from it has changed since it was submitted, by "
                "other releases: look at it again, then release it",
                field="preview",
                actual=preview.digest,
                limit=pending.preview_digest,
            )
        return self._emit(pending.draft, pending, approver)

    def reject(self, pending_id: str, approver: str, reason: str) -> None:
        """Drop an outcome that waited, even if it can no longer be read."""
        for draft in self._outbox.unread_waiting:
            if draft.id == pending_id:
                check_name(approver)
                self._journal.rejected_unread(draft, approver, reason)
                self._outbox.drop(draft.id)
                self._announcer.tell("rejected", pending_id=draft.id, reason=reason)
                return
        pending = self._pending(pending_id)
        check_name(approver)
        self._drop(pending, approver, reason)

    def retract(
        self,
        study: Study | bytes | str,
        cohort: str,
        reason: str,
        *,
        about: Any = None,
        force: bool = False,
    ) -> Packet:
        """Publish a retraction under the routing keys of what it withdraws, if they are known.

        It needs no approval, and drops what waits under the same study and cohort.
        """
        self._outbox.account.require_settled()
        key = EvidenceKey(study_id_of(study), self._signer.issuer.key, cohort, Role.PRIMARY)
        former = self._signer.former(key) or self._recovery.aside_under(key)
        if not force:
            aside = [each.packet for each in self._outbox.aside()]
            published = [*self._signer.newest(), *aside]
            require_something(key.study_id, cohort, former, published, about=about)
        draft = withdrawal(
            study,
            cohort,
            reason,
            about=about,
            former=former,
            scheme=self._scheme,
            signer=self._signer,
        )
        self._recovery.make_way(key)
        packet = self._emit(draft, kind="retracted")
        is_of_study = former is not None and former.packet.travels_under(())
        # Keys of a former epoch are registered by nobody once the epoch after it is over.
        has_old_keys = self._scheme.is_keyed and draft.has_fixed_keys
        if not is_of_study and (has_old_keys or not draft.base_keys):
            self._announcer.tell(
                "limit",
                packet=packet,
                subject="retraction",
                reason="the routing keys of what is withdrawn are unknown here, or only those of "
                "a former epoch or scheme, so this reaches whoever follows the study, and perhaps "
                "not who got it by similarity alone: to reach them too, retract again with about=",
                count=1,
            )
        for pending in self._outbox.waiting():
            if self._signer.key_of(pending.outcome) == key:
                self._drop(pending, "", _WITHDRAWN)
        return packet

    def republish(self, draft: Draft) -> Packet:
        """Publish a synthesis of published packets, which needs no approval."""
        self._require_clock(trust_clock=False)
        return self._emit(draft, kind="republished")

    def publish_anchor(self, draft: Draft) -> Packet:
        """Publish a point of expansion, which is no data: it needs no approval.

        The answer that it belongs to has passed the rules, with the same fingerprint.
        """
        self._require_clock(trust_clock=False)
        return self._emit(draft)

    def withdraw_derived(self, own: Own) -> Packet:
        """Publish the retraction of a derived packet of this site, which needs no approval."""
        self._outbox.account.require_settled()
        return self._emit(self._superseded(own), kind="retracted")

    def _superseded(self, own: Own) -> Draft:
        """Draft the retraction of one packet of this site, and of nothing else."""
        outcome = own.packet.outcome
        return withdrawal(
            outcome.study_id,
            outcome.cohort,
            "superseded",
            about=None,
            former=own,
            scheme=self._scheme,
            signer=self._signer,
            role=role_of(outcome),
        )

    def publish_again(self, own: Own, above: int) -> Packet:
        """Publish a former packet of this site again, with a sequence higher than `above`.

        The outcome was released already, so no rule is checked again. If it has expired since, a
        retraction is published instead.
        """
        self._outbox.account.require_settled()
        outcome = own.packet.outcome
        keys, is_fixed = self._signer.keys_after(own)
        draft = Draft(
            outcome=outcome,
            fingerprint=self._signer.about(own.packet),
            base_keys=keys,
            has_fixed_keys=is_fixed,
        )
        if own.packet.expires_at <= self._clock() and outcome.kind != KIND_RETRACTION:
            draft = self._superseded(own)  # it has expired, and the site has not renewed it
        again = self._signer.sign(draft, above=above)
        self._journal.emitted(
            again.packet, reason="over an own packet that a wrong clock had dated"
        )
        self._leave(again, None, "republished")
        return again.packet

    def _require_clock(self, *, trust_clock: bool) -> None:
        """Raise unless the account is beyond doubt and the clock is right, as far as is known."""
        self._outbox.account.require_settled()
        is_agreed = trust_clock or self._clock_watch.require().state is ClockState.AGREED
        if self._recovery.is_needed:
            if not is_agreed:
                self._recovery.refuse()
            self._recovery.recover(self.publish_again)
        self._recovery.renew(self.publish_again)

    async def _submit(
        self, draft: Draft, approve: Approval, is_open: Callable[[], bool], *, trust_clock: bool
    ) -> Packet | Pending:
        try:
            self._disclosure.check(draft.outcome, subjects=draft.subjects)
        except DisclosureError as error:
            self._withhold(draft, error)
            raise
        pending = Pending.of(
            draft,
            self._disclosure.preview(draft.outcome, subjects=draft.subjects),
            explain=self._signer.unsigned(draft).packet.explain(),
            now=self._clock(),
        )
        # Held while a rule is asked too: it may take days, in which the process may end, a person
        # may decide, or a retraction may drop it.
        self._outbox.hold(pending)
        try:
            verdict = await verdict_of(approve, pending)
        except BaseException as error:
            if is_open() and self._outbox.pending(pending.id) is not None:
                self._drop(pending, name_of(approve), f"the rule failed: {type(error).__name__}")
            raise
        if not is_open() or self._outbox.pending(pending.id) is None:
            raise DisclosureError(
                f"{pending.id} was released, rejected or withdrawn, or the loop was closed, while "
                f"the approval {name_of(approve)} was asked: look at waiting()",
                field="approval",
                actual=pending.id,
            )
        if verdict is True:
            return self._emit_approved(pending, name_of(approve), trust_clock=trust_clock)
        if verdict is False:
            self._drop(pending, name_of(approve), "the rule does not release it")
            raise DisclosureError(
                f"the approval rule {name_of(approve)} does not release it", field="approval"
            )
        self._announcer.tell("waiting", study_id=draft.outcome.study_id, pending_id=pending.id)
        return pending

    def _emit(
        self,
        draft: Draft,
        pending: Pending | None = None,
        approver: str = "",
        *,
        kind: EventKind = "published",
    ) -> Packet:
        retraction = self._retraction_of_outgrown(draft)
        above = 0 if retraction is None else retraction.packet.sequence
        signed = self._signer.sign(draft, above=above)
        packet = signed.packet
        for each in (retraction, signed):
            if each is not None:
                self._check_counts(each.packet)
        try:
            # The ledger comes last, so that it counts nothing that is refused, yet before the exit.
            self._disclosure.release(draft.outcome, now=self._clock(), subjects=draft.subjects)
        except DisclosureError as error:
            self._withhold(draft, error)
            raise
        if retraction is not None:
            self._journal.emitted(
                retraction.packet, reason="its routing keys are of a former epoch"
            )
        unsearched = self._disclosure.not_searched(draft.outcome, subjects=draft.subjects)
        if pending is None:
            self._journal.emitted(packet, not_searched=unsearched)
        else:
            self._journal.released(packet, pending, approver, not_searched=unsearched)
        self._leave(signed, pending, kind, after=retraction)
        return packet

    def _retraction_of_outgrown(self, draft: Draft) -> Signed | None:
        """Sign the retraction of a version of an older epoch, which the draft would outlive.

        It replaces that version under its own keys, until they are over; the draft begins anew.
        """
        former = self._signer.outgrown(draft)
        if former is None:
            return None
        return self._signer.sign(replace(self._superseded(former), keeps_epoch=True))

    def _leave(
        self,
        signed: Signed,
        pending: Pending | None,
        kind: EventKind,
        *,
        after: Signed | None = None,
    ) -> None:
        """Let a signed and recorded packet leave, and the retraction that goes before it.

        Both leave, or neither, whenever the process ends: the retraction alone would withdraw what
        nobody has withdrawn.
        """
        packet = signed.packet
        self._keep(signed, pending, after)
        self._signer.signed(packet, signed.routing_keys)
        if after is not None:
            self._announcer.statistics.published += 1
            self._announcer.tell("retracted", packet=after.packet)
        self._announcer.statistics.published += 1
        self._announcer.tell(kind, packet=packet, pending_id=pending.id if pending else "")
        if kind != "retracted" and packet.expires_at < signed.wished_expiry:
            days = (packet.expires_at - packet.issued_at) / 86_400
            self._announcer.tell(
                "limit",
                packet=packet,
                subject="lifetime",
                reason=f"it lives {days:.1f} days, not as long as lifetime_s says: routing keys of "
                "a scheme with a secret last until the end of the next epoch; publish it again "
                "by then",
                count=1,
            )

    def _keep(self, signed: Signed, pending: Pending | None, after: Signed | None) -> None:
        """Put what leaves into the outbox and the site's own store, or into neither."""
        packet = signed.packet
        leaving = [packet] if after is None else [after.packet, packet]
        former = self._signer.former(evidence_key(packet))
        try:
            released = self._outbox.put(
                packet,
                signed.routing_keys,
                releases=pending.id if pending else "",
                base_keys=signed.base_keys,
                after=None if after is None else Own(after.packet, after.routing_keys),
            )
        except StorageError as error:
            self._undone(leaving, error)
            raise
        try:
            self._add_to_store(leaving)
        except Exception as error:  # a third party's store may raise anything
            # If this fails too, they stay in the outbox and are sent later.
            self._outbox.take_back(
                packet,
                former,
                waits=pending if released else None,
                after=None if after is None else after.packet,
            )
            self._undone(leaving, error)
            raise

    def _undone(self, packets: list[Packet], error: Exception) -> None:
        """Record that what was recorded as emitted did not leave, if that can be written."""
        reason = type(error).__name__
        for packet in packets:
            self._announcer.tell("refused", packet=packet, reason=reason)
            with suppress(StorageError):  # the error that is about to be raised matters more
                self._journal.not_emitted(packet, reason)

    def _check_counts(self, packet: Packet) -> None:
        """Refuse what the own store would not count, before ledger, outbox or store have it."""
        admission = self._store.foreseen(packet, now=self._clock())
        if not admission.changes_evidence:
            self._announcer.tell("refused", packet=packet, reason=admission.label)
            self._journal.uncounted(packet, admission)
            raise _uncounted(admission)

    def _add_to_store(self, packets: list[Packet]) -> None:
        for admission in self._store.add_many(packets, now=self._clock()):
            if not admission.changes_evidence:
                raise _uncounted(admission)

    def _check_not_withdrawn(self, draft: Draft) -> None:
        """Keep back what a person has withdrawn, until a person says that it may leave again."""
        former = self._signer.former(self._signer.key_of(draft.outcome))
        if draft.reinstates or former is None or former.packet.outcome.kind != KIND_RETRACTION:
            return
        error = DisclosureError(
            f"{draft.outcome.question!r}, cohort {draft.outcome.cohort!r}, was withdrawn, which "
            "holds until somebody says otherwise: publish(…, reinstate=True)",
            field="withdrawn",
            actual=former.packet.issued_at,
        )
        self._withhold(draft, error)
        raise error

    def _check_same_subject(self, draft: Draft) -> None:
        former = self._signer.former(self._signer.key_of(draft.outcome))
        if former is None or former.packet.outcome.kind == KIND_RETRACTION:
            return
        epoch = self._signer.epoch_of(former.packet, draft.base_keys)
        if self._signer.about(former.packet) != draft.fingerprint or epoch is None:
            raise InputError(
                f"{draft.outcome.question!r} was published about something else, and whoever got "
                "that would not get this: retract it first, then publish anew with reinstate=True",
                field="about",
            )

    def _check_about(self, draft: Draft) -> None:
        try:
            self._disclosure.check_about(
                draft.outcome,
                self._scheme,
                people=draft.people,
                leaves_machine=self._leaves_machine,
            )
        except DisclosureError as error:
            self._withhold(draft, error)
            raise

    def _pending(self, pending_id: str) -> Pending:
        pending = self._outbox.pending(pending_id)
        if pending is None:
            unread = {draft.id: draft.reason for draft in self._outbox.unread_waiting}
            if pending_id in unread:
                raise InputError(
                    f"what waits under {pending_id} is no longer read under the rules of this "
                    f"version ({unread[pending_id]}): reject it, and submit its outcome anew",
                    field="pending_id",
                    actual=pending_id,
                )
            raise InputError(
                f"nothing waits under {pending_id!r:.40}: it was released or rejected, or never "
                "waited",
                field="pending_id",
                actual=pending_id,
            )
        return pending

    def _drop(self, pending: Pending, approver: str, reason: str) -> None:
        self._journal.rejected(pending, approver, reason)
        self._outbox.drop(pending.id)
        self._announcer.tell(
            "rejected", study_id=pending.outcome.study_id, pending_id=pending.id, reason=reason
        )

    def _withhold(self, draft: Draft, error: DisclosureError) -> None:
        rule = str(error.field)
        self._announcer.statistics.refused[rule] += 1
        self._announcer.tell("refused", study_id=draft.outcome.study_id, reason=rule)
        self._journal.withheld(draft, rule)


def _uncounted(admission: Admission) -> InputError:
    return InputError(
        f"this site's own store does not count it: {admission.sentence}",
        field="outcome",
        actual=admission.label,
    )


def check_name(approver: object) -> None:
    """Raise `InputError` unless this is the name of who decides."""
    if not isinstance(approver, str) or not approver.strip():
        raise InputError("approver is the name of who decides", field="approver", actual=approver)
