"""Builds the parts of an open loop and connects them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from qis._guard import LAST_PAUSE_S, Backoff, is_stray
from qis.account import AccountFinding
from qis.disclosure import Disclosure
from qis.disclosure.ledger import Subjects
from qis.errors import StorageError
from qis.evidence import AuditLog, EvidenceStore
from qis.fingerprint import Scheme
from qis.health import Condition
from qis.identity import Identity
from qis.loop._unread import tell_unread
from qis.loop.accounting import Accounting, Verdict
from qis.loop.approval import Approval, drafted, name_of
from qis.loop.clock_watch import ClockWatch
from qis.loop.dry_run import DryRun, dry_run
from qis.loop.events import Announcer
from qis.loop.intake import Intake
from qis.loop.journal import Journal
from qis.loop.modelling import Models
from qis.loop.outbox import Outbox
from qis.loop.own_data import OwnData
from qis.loop.own_packets import OwnPackets
from qis.loop.recovery import Recovery
from qis.loop.release_gate import ReleaseGate
from qis.loop.republishing import Republisher
from qis.loop.sender import Sender
from qis.loop.signing import Signer
from qis.loop.syntheses import Syntheses
from qis.outcomes import Outcome, Study
from qis.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of a `qis.SynthesisLoop`, completed by defaults."""

    identity: Identity
    transport: Transport
    scheme: Scheme[Any]
    store: EvidenceStore
    studies: Mapping[bytes, Study]
    disclosure: Disclosure
    audit: AuditLog | None
    approve: Approval | None
    republish: bool
    republish_interval_s: float
    count_derived: bool
    monitor: bool
    model: Literal["fixed", "random"]
    lifetime_s: int
    debounce_s: float
    answer_after_s: float
    clock: Callable[[], float]


class Parts:
    """All parts of one loop; made when it opens, after it has claimed its outbox."""

    def __init__(
        self, options: Options, outbox: Outbox, announcer: Announcer, condition: Condition
    ) -> None:
        clock, store = options.clock, options.store
        self._options = options
        self._condition = condition
        self._guard = announcer.guard
        self.outbox = outbox
        self.journal = Journal(
            options.audit,
            options.disclosure.rules.name,
            clock,
            account=lambda: (outbox.account.name, outbox.account.counter),
        )
        self.accounting = Accounting(
            outbox,
            options.audit,
            journal=self.journal,
            announcer=announcer,
            condition=condition,
            clock=clock,
        )
        self.signer = Signer(
            options.identity,
            outbox,
            scheme=options.scheme,
            announcer=announcer,
            lifetime_s=options.lifetime_s,
            clock=clock,
        )
        self.clock_watch = ClockWatch(
            options.transport,
            store,
            options.identity.issuer,
            announcer=announcer,
            condition=condition,
            clock=clock,
        )
        self.sender = Sender(
            outbox,
            options.transport,
            announcer,
            journal=self.journal,
            condition=condition,
            clock=clock,
            certain=self.clock_watch.certain,
        )
        self.recovery = Recovery(
            outbox,
            self.signer,
            store,
            self.sender,
            options.transport,
            journal=self.journal,
            announcer=announcer,
            clock=clock,
        )
        self.own_packets = OwnPackets(
            options.transport,
            options.identity.issuer,
            self.signer.notice,
            guard=announcer.guard,
        )
        self.publisher = ReleaseGate(
            options.scheme,
            store,
            disclosure=options.disclosure,
            approve=options.approve,
            leaves_machine=options.transport.leaves_machine,
            signer=self.signer,
            outbox=outbox,
            journal=self.journal,
            announcer=announcer,
            clock_watch=self.clock_watch,
            recovery=self.recovery,
            clock=clock,
        )
        self.own_data = OwnData(options.scheme, options.identity.issuer)
        self.syntheses = Syntheses(
            store,
            options.studies,
            model=options.model,
            count_derived=options.count_derived,
            monitor=options.monitor,
            debounce_s=options.debounce_s,
            outbox=outbox,
            journal=self.journal,
            announcer=announcer,
            clock=clock,
            own_data=self.own_data,
        )
        self.models = Models(
            store,
            options.studies,
            disclosure=options.disclosure,
            scheme=options.scheme,
            needs_approval=options.approve is not None,
            monitor=options.monitor,
            publisher=self.publisher,
            signer=self.signer,
            outbox=outbox,
            journal=self.journal,
            announcer=announcer,
            debounce_s=options.debounce_s,
            answer_after_s=options.answer_after_s,
            clock=clock,
        )
        self.models.sent = self.sender.wake
        self.intake = Intake(
            options.transport,
            store,
            journal=self.journal,
            announcer=announcer,
            arrived=self.signer.notice,
            arriving=self.accounting.arriving,
            changed=self.mark,
            condition=condition,
            clock=clock,
        )
        self._republisher = Republisher(
            self.publisher,
            self.signer,
            self.sender,
            guard=announcer.guard,
            interval_s=options.republish_interval_s,
            publishes=options.republish,
            clock=clock,
        )
        self.syntheses.listener = self._republisher.offer

    def begin(self) -> None:
        """Make store and outbox consistent again, however the last process ended.

        Packets of this site that only one of them has are given to the other.
        """
        options = self._options
        self.accounting.begin()
        self.accounting.record_arrived(options.store)
        self.journal.configured(
            {
                "approval": name_of(options.approve),
                "issuer": str(self.signer.issuer),
                "monitor": options.monitor,
                "republish": options.republish,
                "roster": options.store.roster.digest.hex(),
                "transport": type(options.transport).__name__,
            }
        )
        mine = options.store.packets_of(self.signer.issuer)
        aside = self.recovery.begin(mine)
        stored = [packet for packet in mine if packet.id not in aside]
        if stored:  # the highest first: then `notice` writes no sequence for the others
            self.outbox.raise_sequence(stored[-1].sequence)
        for packet in stored:
            self.signer.notice(packet)
        missing = [packet for packet in self.signer.newest() if packet.id not in options.store]
        if missing:
            options.store.add_many(missing, now=options.clock())
        self.accounting.look()
        tell_unread(options.store, self.outbox, self._condition, options.clock)
        self.mark(*options.store.studies())

    def mark(self, *study_ids: bytes) -> None:
        """Note that the evidence of these studies may have changed."""
        models = {key for key in study_ids if self.models.knows(key)}
        self.models.mark(*models)
        self.syntheses.mark(*(key for key in study_ids if key not in models))

    def resume(self) -> None:
        """Record in the audit log what was signed before and is sent now, then let it be sent.

        Not while the account is in doubt: a restored one may have in force what was withdrawn.
        """
        self.signer.doubted = self.accounting.look
        if self.outbox.findings():
            return
        after = 0
        while batch := self.outbox.queued(after=after):
            self.journal.sent_again(unsent.packet for unsent in batch)
            after = batch[-1].number
        self.clock_watch.set_back = self._set_back
        self._set_back()

    def _set_back(self) -> None:
        """Hand what is in force to the network anew, as at each opening.

        While the date was too late, outbox and transport may have dropped it as expired.
        """
        self.journal.handed_again(self.outbox.queue_again(now=self._options.clock()))
        self.sender.hand_all_again()

    async def ask(self, *studies: bytes) -> None:
        """Ask the network for own packets of these studies, before anything is signed.

        The first time also of all studies that are declared, or that were published. An outbox in
        memory has forgotten what it knew, and judges nothing that is older.
        """
        if self.outbox.path is None:
            return
        known: set[bytes] = set()
        if not self.own_packets.has_asked:
            released = self._options.disclosure.ledger
            known.update(packet.outcome.study_id for packet in self.signer.newest())
            known.update(emission.study_id for emission in released)
            known.update(self._options.studies)
        await self.own_packets.ask({*studies, *known})

    def settle(self, verdict: Verdict, approver: str) -> tuple[AccountFinding, ...]:
        """Take a person's word for what is wrong with the account; returns what is left."""
        left = self.accounting.settle(verdict, approver)
        if not left:
            self.signer.read_again()
            self.begin()
            self.resume()
        return left

    async def run(self) -> None:
        """Run all tasks of the open loop; ends only by cancellation or a failure."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._kept_going("loop.intake", self.intake.run))
            tasks.create_task(self._kept_going("loop.renewal", self.intake.keep_renewing))
            tasks.create_task(self._kept_going("loop.syntheses", self.syntheses.run))
            tasks.create_task(self._kept_going("loop.models", self.models.run))
            if self._options.audit is not None:
                run = self.accounting.run
                tasks.create_task(self._kept_going("loop.accounting", run))
            watch = self.clock_watch.run
            tasks.create_task(self._kept_going("loop.clock_watch", watch))
            recover = partial(self.recovery.run, self.publisher.publish_again)
            tasks.create_task(self._kept_going("loop.recovery", recover))
            # What goes out fails closed: an outbox or audit log that fails there ends the loop.
            for seam, part in (
                ("loop.handing_over", self.sender.hand_over),
                ("loop.confirming", self.sender.confirm),
            ):
                tasks.create_task(self._kept_going(seam, part, passing=StorageError))
            run = self._republisher.run
            tasks.create_task(self._kept_going("loop.republishing", run))

    async def _kept_going(
        self,
        seam: str,
        run: Callable[[], Awaitable[None]],
        *,
        passing: type[Exception] | tuple[()] = (),
    ) -> None:
        """Restart a part that fails, with growing pauses; errors in `passing` end the loop."""
        backoff, now_s = Backoff(), asyncio.get_running_loop().time
        while True:
            began_s = now_s()
            try:
                await run()
            except passing:
                raise
            except asyncio.CancelledError as error:
                if not is_stray():
                    raise
                self._guard.contained(seam, error)
            except Exception as error:  # noqa: BLE001  contained, and told
                self._guard.contained(seam, error)
            if now_s() - began_s >= LAST_PAUSE_S:  # it ran well for long, so pause briefly again
                backoff.succeeded()
            await asyncio.sleep(backoff.failed())

    def dry_run(
        self, outcome: Outcome, about: Any, subjects: Subjects | None, people: int | None
    ) -> DryRun:
        """Build the packet that `publish` would make now; see `qis.SynthesisLoop.dry_run`."""
        options = self._options
        return dry_run(
            drafted(options.scheme, outcome, about, subjects, people),
            scheme=options.scheme,
            disclosure=options.disclosure,
            signer=self.signer,
            leaves_machine=options.transport.leaves_machine,
        )
