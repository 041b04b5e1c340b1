"""A site's part in outcome routing, joined from the rooms beside this one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

from qis.about import Interest
from qis.disclosure import Disclosure
from qis.disclosure.ledger import Subjects
from qis.errors import InputError
from qis.evidence import AuditLog, EvidenceStore, MemoryStore, Roster
from qis.evidence.review import study_id_of
from qis.fingerprint import Scheme
from qis.identity import Identity
from qis.loop._lifecycle import Lifecycle
from qis.loop._parts import Options, Parts
from qis.loop.approval import Approval, Pending
from qis.loop.dry_run import DryRun
from qis.loop.events import Announcer, Event, LoopStatistics
from qis.loop.outbox import Outbox
from qis.loop.republishing import INTERVAL_S
from qis.loop.sender import Undelivered
from qis.outcomes import Outcome, Study
from qis.packet import Packet
from qis.synthesis import Synthesis
from qis.transport import Transport


class SynthesisLoop(Lifecycle):
    """A site's part in outcome routing. An async context manager and an async iterator.

    Iterating gives the newest synthesis of a study each time its evidence has changed: to every
    iterator separately, beginning with what there is already. A slow reader misses intermediate
    syntheses, never the newest.

    What no other site holds when the loop closes is sent when its outbox is opened again, or lost
    if that is in memory: `flush` first.

    Store, outbox and audit log that are given stay open when the loop closes: they belong to the
    caller. Should one of them fail while something goes out, nothing leaves and the call raises;
    where no call waits for it, the loop ends, and every call raises what it ended with. Should one
    fail while something comes in, that waits and is tried again, ever later, and the loop tells it
    (the event ``"fault"``, `health`).

    Parameters
    ----------
    identity
        The site's key; one loop at a time may use it.
    transport
        Opened and closed with the loop, unless it is open already.
    scheme
        Turns what an outcome is about into a fingerprint and routing keys.
    interest
        What to receive, one or several. All that belongs to `studies` is received besides.
    interest_people
        How many people's features the interests are made from, 0 if they describe a study or a
        disease; to be said where the transport leaves the machine (`Disclosure.check_interest`).
    studies
        The studies whose evidence is wanted whole and whose declared model is used.
    store
        Where evidence is kept; default: a `MemoryStore` with the `roster`.
    roster
        Whom to believe, for the default store; default: `Roster.open()`.
    disclosure
        What may leave the site; default: the preset "cms" (no cell of 1 to 10 people), with a
        ledger that forgets when the process ends. To publish what is public already, say
        ``Disclosure.preset("none")``.
    outbox
        Where packets are kept, on disk before `publish` returns, until another site holds them;
        default: in memory, so that what was not sent is lost with the process.
    audit
        Where everything that left, came in, was used or was refused is recorded. If it cannot be
        written, nothing leaves.
    approve
        Who releases an outcome: `None`, nobody, it leaves when the rules allow it; ``"manual"``, a
        person (`waiting`, `release`, `reject`); or a rule, which is called with the `Pending` (and
        awaited, if it is `async`) and says `True`, `False`, or `None` to leave it to a person. Any
        other answer, and an error in the rule, releases nothing. Retractions need no approval, nor
        do syntheses of what was published.
    republish
        Whether syntheses under the fixed-effect model are published as derived packets.
    count_derived
        Whether derived packets of others count in fixed-effect syntheses, each that adds only sites
        that do not count yet (`qis.evidence.with_derived`); needs a roster.
    republish_interval_s
        Least seconds between two rounds of derived packets.
    on_event
        Called with every `qis.loop.Event`; what it raises is contained, counted and told as an
        event ``"fault"``.
    monitor
        Whether this is a monitoring role, which a study's embargo does not bind.
    model
        Model of the studies that declare none.
    lifetime_s
        Validity of the packets published here, in seconds.
    distil
        For `observe`: turns a record into an outcome and what it is about, or into `None`.
    debounce_s
        Least time between two rounds of synthesis, in seconds.
    clock
        Gives Unix seconds.

    Raises
    ------
    InputError
        If an argument is wrong, or the store has another roster than the one given.
    DisclosureError
        On opening, if an interest may not be registered elsewhere, or the disclosure rules rest on
        an agreement and the roster is open.

    """

    def __init__(
        self,
        identity: Identity,
        transport: Transport,
        scheme: Scheme[Any],
        *,
        interest: Interest | Iterable[Interest],
        interest_people: int | None = None,
        studies: Iterable[Study] = (),
        store: EvidenceStore | None = None,
        roster: Roster | None = None,
        disclosure: Disclosure | None = None,
        outbox: Outbox | None = None,
        audit: AuditLog | None = None,
        approve: Approval | None = None,
        republish: bool = False,
        republish_interval_s: float = INTERVAL_S,
        count_derived: bool = False,
        on_event: Callable[[Event], object] | None = None,
        monitor: bool = False,
        model: Literal["fixed", "random"] = "random",
        lifetime_s: int = 30 * 86_400,
        distil: Callable[[Any], tuple[Outcome, Any] | None] | None = None,
        debounce_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if store is not None and roster is not None and store.roster is not roster:
            raise InputError("the store has its own roster: give one or the other", field="roster")
        if store is None:  # an empty store is false
            store = MemoryStore(roster=Roster.open() if roster is None else roster)
        if approve is not None and approve != "manual" and not callable(approve):
            raise InputError(
                "approve is None, 'manual' or a rule to call", field="approve", actual=approve
            )
        self._studies = {study.id: study for study in studies}
        self._distil = distil
        options = Options(
            identity=identity,
            transport=transport,
            scheme=scheme,
            store=store,
            studies=self._studies,
            disclosure=Disclosure.preset("cms") if disclosure is None else disclosure,
            audit=audit,
            approve=approve,
            republish_interval_s=republish_interval_s if republish else None,
            count_derived=count_derived,
            monitor=monitor,
            model=model,
            lifetime_s=lifetime_s,
            debounce_s=debounce_s,
            clock=clock,
        )
        super().__init__(
            options,
            interests=tuple(map(self._completed, _interests(interest))),
            interest_people=interest_people,
            outbox=outbox,
            announcer=Announcer(clock, on_event),
        )

    @property
    def statistics(self) -> LoopStatistics:
        """Counters since the loop was made."""
        return self._announcer.statistics

    async def publish(
        self,
        outcome: Outcome,
        *,
        about: Any,
        subjects: Subjects | None = None,
        people: int | None = None,
        trust_clock: bool = False,
    ) -> Packet | Pending:
        """Sign an outcome, keep it as this site's own evidence, and hand it to the network.

        A further outcome of the same study and cohort replaces the one before.

        Parameters
        ----------
        outcome
            What was found.
        about
            Features of the scheme's kind.
        subjects
            Whom the outcome is made from (`qis.disclosure.subject_hashes`); stays here, to see a
            few people added, removed or changed since the last release.
        people
            How many people's features `about` is made from; default: those of the outcome. 0: it
            describes the study or a disease, and nobody.
        trust_clock
            Publish although the sites heard doubt this machine's date: a person says that it is
            right.

        Returns
        -------
        Packet | Pending
            What is on disk, if the loop has an outbox there, and will be sent (`flush` waits until
            it was); or what waits for its release, in a loop with `approve`.

        Raises
        ------
        InputError
            If the loop is not open, the features are wrong, or the packet that this one replaces
            was about something else (retract that one first, so that its readers learn of it).
        DisclosureError
            If a rule keeps the outcome or its fingerprint at the site; the error names the rule
            and the ways out.
        OutcomeTooLargeError
            If the outcome does not fit a packet.
        ClockError
            If the sites heard doubt this machine's date (docs/loop.md); then nothing leaves.
        StorageError
            If ledger, audit log, outbox or store cannot be written; then nothing leaves.

        """
        await self._require_open().clock_watch.hear()
        parts = await self._with_room()
        published = await parts.publisher.publish(
            outcome,
            about,
            subjects,
            people,
            is_open=lambda: self._parts is parts and self._running is not None,
            trust_clock=trust_clock,
        )
        return self._sending(parts, published)

    async def observe(self, record: Any) -> Packet | Pending | None:
        """Distil a record and publish what comes of it; `None` if nothing does."""
        if self._distil is None:
            raise InputError("observe needs a loop made with distil=", field="distil")
        distilled = self._distil(record)
        if distilled is None:
            return None
        outcome, about = distilled
        return await self.publish(outcome, about=about)

    def waiting(self) -> tuple[Pending, ...]:
        """The outcomes that wait for approval, oldest first."""
        return self._require_open().outbox.waiting()

    async def release(self, pending_id: str, *, approver: str, trust_clock: bool = False) -> Packet:
        """Let an outcome leave that waited. The disclosure rules are checked again.

        Parameters
        ----------
        pending_id
            As `waiting` shows it.
        approver
            Who decides; goes into the audit log with the hash of the preview.
        trust_clock
            As for `publish`.

        Raises
        ------
        InputError
            If nothing waits under that id, or nobody approves.
        DisclosureError
            If a rule keeps it back by now, or what it would reveal has changed since it was
            submitted; then `waiting` shows the new preview.
        ClockError, StorageError
            As for `publish`.

        """
        await self._require_open().clock_watch.hear()
        parts = await self._with_room()
        packet = parts.publisher.release(pending_id, approver, trust_clock=trust_clock)
        self._sending(parts, packet)
        return packet

    async def reject(self, pending_id: str, *, approver: str, reason: str = "") -> None:
        """Drop an outcome that waited. Parameters and errors as for `release`."""
        self._require_open().publisher.reject(pending_id, approver, reason)

    def dry_run(
        self,
        outcome: Outcome,
        *,
        about: Any,
        subjects: Subjects | None = None,
        people: int | None = None,
    ) -> DryRun:
        """The packet that `publish` would make now, and what an outsider could learn from it.

        Nothing is signed, kept or sent, and no sequence is used.
        """
        return self._require_open().dry_run(outcome, about, subjects, people)

    async def retract(
        self,
        study: Study | bytes | str,
        cohort: str = "",
        *,
        reason: str = "withdrawn",
        about: Any = None,
        force: bool = False,
    ) -> Packet:
        """Withdraw what this site has published under a study and cohort, at everybody who got it.

        What waits for approval under them is dropped. Where the routing keys of what is withdrawn
        are known neither from the outbox nor from `about`, as after a lost disk, the retraction
        travels under the study's id alone: it reaches everybody who follows the study, and not who
        received the outcome only because it was similar.

        Parameters
        ----------
        study
            The study, its id or its question.
        cohort
            As published.
        reason
            One of `qis.outcomes.RETRACTION_REASONS`.
        about
            The features it was published with, where the outbox has forgotten them.
        force
            Withdraw although this site's files say that nothing is in force there. Not needed
            where they know of nothing at all.

        Raises
        ------
        InputError
            If nothing is in force under this study and cohort while other things are (the error
            names some), or `about` is another than it was published with.

        """
        parts = await self._with_room()
        packet = parts.publisher.retract(study, cohort, reason, about=about, force=force)
        self._sending(parts, packet)
        return packet

    async def recover_clock(self, *, trust_clock: bool = False) -> tuple[Packet, ...]:
        """Say that this machine's date is right, and that of this site's last packets was wrong.

        Where the clock was ahead for a while, what was signed then stands above all that is signed
        now, until its date comes: `publish` raises `ClockError`. This sets those packets aside:
        they count no longer here, are sent no more, and their files in a shared folder are deleted.
        The sequence goes on from now; no number is used twice. Publish anew what is still true.
        Others may hold such a packet: when its date comes, the newest of its study and cohort is
        published over it at once; if nothing was, its own content under the right date; if that
        newest has expired by then, a retraction.

        Parameters
        ----------
        trust_clock
            Even though the sites heard doubt the present date.

        Returns
        -------
        tuple[Packet, ...]
            What was set aside; empty where nothing is dated ahead.

        Raises
        ------
        ClockError
            If the sites heard doubt the present date: set it first.
        StorageError
            If store, outbox or audit log cannot be written. Calling again finishes it.

        """
        parts = self._require_open()
        if not trust_clock:
            parts.clock_watch.require()
        packets = parts.recovery.recover()
        parts.syntheses.mark(*{packet.outcome.study_id for packet in packets})
        return packets

    async def watch(self, interest: Interest, *, people: int | None = None) -> None:
        """Receive what matches another interest too; registered when this returns.

        `people` as `interest_people` of the loop.
        """
        (checked,) = _interests(interest)
        self._check_interest(checked, people)
        await self._require_open().intake.watch(self._completed(checked))

    async def unwatch(self, interest: Interest) -> None:
        """Receive no longer what matches an interest; what came stays."""
        await self._require_open().intake.unwatch(self._completed(interest))

    def believe(self, roster: Roster) -> None:
        """Judge all evidence by another roster from now on, and synthesise again.

        The transport admits by it too. What it has refused before comes when it is published again.
        """
        parts = self._require_open()
        self._options.disclosure.check_roster(roster)
        self.store.roster = roster
        self._options.transport.believe(roster)
        parts.begin()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was published is held; whether it is, in time.

        Held is what at least one other site has under each of its routing keys, as far as the
        transport can know (`qis.Holding`); what is replaced or expires meanwhile is not waited for.
        `undelivered` says what is missing, and why. With what is left of the time, the transport
        goes on to bring what is held to further holders.
        """
        parts = self._require_open()
        try:
            async with asyncio.timeout(timeout_s):
                await self._while_running(parts.sender.flush())
                await self._while_running(parts.sender.spread())
        except TimeoutError:
            return not parts.outbox.unsent
        return True

    def undelivered(self) -> tuple[Undelivered, ...]:
        """What no other site is known to hold: since when, why, and held by how many.

        Oldest first; as many as the outbox takes at most. A packet leaves when it is held ("sent"),
        replaced by a newer version ("replaced") or expired ("expired"), with that event. An outbox
        on disk keeps the packets and since when, so the list outlives the process.

        Another site's word is taken for it: one that says "held" and drops the packet is met by the
        transport's repetitions, not seen here.
        """
        return self._require_open().sender.undelivered()

    def latest(self, study: Study | bytes | str) -> Synthesis | None:
        """The newest synthesis of a study (given as such, by id or by question), if there is.

        Raises what the loop has ended with, if it has: nothing newer would ever come.
        """
        if self._running is None:
            return None
        return self._require_open().syntheses.latest(study_id_of(study))

    async def __aiter__(self) -> AsyncIterator[Synthesis]:
        seen, parts = 0, self._parts
        while parts is not None:
            fresh = parts.syntheses.since(seen)
            for version, synthesis in fresh:
                seen = version
                yield synthesis
            if fresh:
                continue
            if self._running is None:
                return
            self._require_open()
            await parts.syntheses.changed()

    def _sending(self, parts: Parts, published: Packet | Pending) -> Packet | Pending:
        if isinstance(published, Packet):
            parts.sender.wake()
            parts.syntheses.mark(published.outcome.study_id)
        return published

    def _completed(self, interest: Interest) -> Interest:
        return replace(interest, studies=(*interest.studies, *self._studies))


def _interests(given: Interest | Iterable[Interest]) -> tuple[Interest, ...]:
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    if not found or not all(isinstance(one, Interest) for one in found):
        raise InputError(
            "interest is a qis.Interest, or several: scheme.interest(features)", field="interest"
        )
    return found
