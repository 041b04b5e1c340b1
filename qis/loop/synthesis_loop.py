"""The public class of the loop: it checks its arguments and passes each call to a part."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

from qis._declared import require_declared
from qis._gate import checked
from qis._given import instance, several
from qis.about import Interest
from qis.account import AccountFinding
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
from qis.loop.matches import Match
from qis.loop.modelling import Joined
from qis.loop.newest import Followed, Item
from qis.loop.outbox import Outbox
from qis.loop.release_gate import check_name
from qis.loop.republishing import INTERVAL_S
from qis.loop.sender import Undelivered
from qis.models import FittedModel, ModelRows
from qis.outcomes import Outcome, Study
from qis.packet import Packet
from qis.synthesis import Synthesis
from qis.transport import Transport


class SynthesisLoop(Lifecycle):
    """A site's part in outcome routing. An async context manager and an async iterator.

    Iterating gives the newest synthesis of a study each time its evidence has changed. Each
    iterator begins with the syntheses that exist already. A slow reader misses intermediate
    syntheses, but never the newest.

    Packets that no other site holds when the loop closes are sent when its outbox is opened again.
    An outbox in memory (of a key that is in no file) loses them, so call `flush` first.

    Store, outbox and audit log that are passed in belong to the caller and stay open when the loop
    closes. If one of them fails while something goes out, nothing leaves and the call raises; if no
    call waits for it, the loop ends, and every later call raises the same error. If one fails while
    something comes in, the loop tells it (the event ``"fault"``, `health`) and tries again, with
    growing pauses.

    Parameters
    ----------
    identity
        The site's key; one loop at a time may use it.
    transport
        Opened and closed with the loop, unless it is open already.
    scheme
        Turns what an outcome is about into a fingerprint and routing keys.
    interest
        What to receive: one interest or several. Packets of `studies` are received in any case.
    interest_people
        How many people's features the interests are made from, 0 if they describe a study or a
        disease; to be said where the transport leaves the machine (`Disclosure.check_interest`).
    studies
        The studies whose evidence is received completely and whose declared model is used.
    store
        Where evidence is kept; default: a `MemoryStore` with the `roster`.
    roster
        The trusted sites, for the default store; default: `Roster.open()`, everybody.
    disclosure
        What may leave the site; default: the preset "cms" (no cell of 1 to 10 people). Its ledger
        and budget are taken over into the account of the key, which the outbox is a part of; with
        an outbox in memory they stay where they are. To publish what is public already, say
        ``Disclosure.preset("none")``.
    outbox
        Where packets are kept, on disk before `publish` returns, until another site holds them;
        default: the account beside the key's file; for a key in no file, in memory, so that what
        was not sent is lost with the process, and what was released is forgotten.
    audit
        The log of everything that left, came in, was used or was refused. If it cannot be written,
        nothing leaves.
    approve
        Who releases an outcome: `None`, nobody, it leaves when the rules allow it; ``"manual"``, a
        person (`waiting`, `release`, `reject`); or a rule, which is called with the `Pending` (and
        awaited, if it is `async`) and says `True`, `False`, or `None` to leave it to a person. Any
        other answer, and an error in the rule, releases nothing. Retractions need no approval, nor
        do syntheses of what was published.
    republish
        True to publish syntheses under the fixed-effect model as derived packets.
    count_derived
        True if derived packets of others count in fixed-effect syntheses, but only those whose
        sites do not count yet (`qis.evidence.with_derived`). It needs a roster.
    republish_interval_s
        Least seconds between two rounds of derived packets.
    on_event
        Called with every `qis.loop.Event`; what it raises is contained, counted and told as an
        event ``"fault"``.
    monitor
        True for a monitoring role, which a study's embargo does not bind.
    model
        Model of the studies that declare none.
    lifetime_s
        Validity of the packets published here, in seconds.
    distil
        For `observe`: turns a record into an outcome and what it is about, or into `None`.
    debounce_s
        Least time between two rounds of synthesis, in seconds.
    answer_after_s
        Seconds for which the evidence of a model study has to be quiet before this site answers
        again (`join`): answers are few, and each is worth more the more has arrived.
    clock
        Gives Unix seconds.

    Raises
    ------
    InputError
        If an argument is wrong, or the store has another roster than the one given.
    DisclosureError
        On opening, if an interest may not be registered elsewhere, or the disclosure rules rest on
        an agreement and the roster is open.

    Examples
    --------
    >>> import qis
    >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=2)
    >>> transport = qis.MemoryTransport(qis.MemoryNetwork(), key)
    >>> loop = qis.SynthesisLoop(key, transport, scheme, interest=scheme.interest([1.0, 2.0]))
    >>> loop  # opened by ``async with``
    <SynthesisLoop of 3b6a27bcceb6a42d, closed, 1 interests, <MemoryStore of 0 packets>>

    """

    @checked
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
        answer_after_s: float = 1.0,
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
        declared = several(studies, "studies", "qis.Study")
        for study in declared:
            instance(study, "studies", Study, "Study(question=…), or Study.load(path)")
        self._studies = {study.id: study for study in declared}
        instance(identity, "identity", Identity, "Identity.load(path)")
        instance(transport, "transport", Transport, "UDPTransport(…), DirectoryTransport(…) …")
        instance(scheme, "scheme", Scheme, "VectorScheme(…), TermScheme(…), SetScheme(…)")
        interests = tuple(map(self._completed, _interests(interest)))
        for study in declared:
            _require_declared(study, scheme, interests)
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
            republish=republish,
            republish_interval_s=republish_interval_s,
            count_derived=count_derived,
            monitor=monitor,
            model=model,
            lifetime_s=lifetime_s,
            debounce_s=debounce_s,
            answer_after_s=answer_after_s,
            clock=clock,
        )
        super().__init__(
            options,
            interests=interests,
            interest_people=interest_people,
            outbox=outbox,
            announcer=Announcer(clock, on_event),
        )

    @property
    def statistics(self) -> LoopStatistics:
        """Counters since the loop was made."""
        return self._announcer.statistics

    @checked
    async def publish(
        self,
        outcome: Outcome,
        *,
        about: Any,
        subjects: Subjects | None = None,
        people: int | None = None,
        trust_clock: bool = False,
        reinstate: bool = False,
    ) -> Packet | Pending:
        """Sign an outcome, keep it as this site's own evidence, and hand it to the network.

        A later outcome of the same study and cohort replaces the earlier one.

        Parameters
        ----------
        outcome
            The outcome to publish.
        about
            Features of the kind that the scheme takes.
        subjects
            Keyed hashes of the people that the outcome is made from
            (`qis.disclosure.subject_hashes`). They never leave, and show whether few people were
            added, removed or changed since the last release.
        people
            Number of people whose features `about` is made from; default: those of the outcome. 0
            if it describes a study or a disease, and no person.
        trust_clock
            Publish although other sites' clocks contradict this machine's date, because a person
            has checked that it is right.
        reinstate
            Publish although this study and cohort were withdrawn (`retract`), because somebody has
            decided that it may leave again.

        Returns
        -------
        Packet | Pending
            The packet, which is in the outbox and will be sent (`flush` waits for that); or, in a
            loop with `approve`, the outcome that waits for approval.

        Raises
        ------
        InputError
            If the loop is not open, the features are wrong, or the packet that this one replaces
            was about something else (retract that one first, so that its readers learn of it).
        DisclosureError
            If a rule keeps the outcome or its fingerprint at the site; the error names the rule
            and the ways out.
        AccountError
            If the account of what has left is in doubt (`check`); then nothing leaves.
        OutcomeTooLargeError
            If the outcome does not fit a packet.
        ClockError
            If other sites' clocks contradict this machine's (docs/loop.md); then nothing leaves.
        StorageError
            If ledger, audit log, outbox or store cannot be written; then nothing leaves.

        """
        await self._require_open().clock_watch.hear()
        parts = await self._with_room()
        await parts.ask(outcome.study_id)
        published = await parts.publisher.publish(
            outcome,
            about,
            subjects,
            people,
            is_open=lambda: self._parts is parts and self._running is not None,
            trust_clock=trust_clock,
            reinstate=reinstate,
        )
        return self._sending(parts, published)

    @checked
    async def observe(self, record: Any) -> Packet | Pending | None:
        """Distil a record and publish what comes of it; `None` if nothing does.

        Examples
        --------
        >>> import asyncio
        >>> import qis
        >>> async def main():
        ...     key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=1)
        ...     loop = qis.SynthesisLoop(
        ...         key,
        ...         qis.MemoryTransport(qis.MemoryNetwork(), key),
        ...         scheme,
        ...         interest=scheme.interest([1.0]),
        ...         model="fixed",
        ...         disclosure=qis.Disclosure.preset("none"),
        ...         distil=lambda arms: (qis.Counts(question="a vs b | c", **arms), [1.0]),
        ...     )
        ...     async with loop:
        ...         arms = {"events": 30, "total": 90, "control_events": 40, "control_total": 80}
        ...         packet = await loop.observe(arms)
        ...         await loop.publish(packet.outcome, about=[1.0])  # once more, as its new version
        ...         async for synthesis in loop:
        ...             break
        ...         print(packet.outcome.events, loop.latest("a vs b | c") is synthesis)
        ...         retraction = await loop.retract("a vs b | c")
        ...         print(retraction.outcome.reason, await loop.flush(1.0), loop.undelivered())
        >>> asyncio.run(main())
        30 True
        withdrawn True ()

        """
        if self._distil is None:
            raise InputError("observe needs a loop made with distil=", field="distil")
        distilled = self._distil(record)
        if distilled is None:
            return None
        outcome, about = distilled
        return await self.publish(outcome, about=about)

    @checked
    async def join(
        self,
        study: Study,
        rows: ModelRows | Callable[[], ModelRows],
        *,
        about: Any,
        cohort: str = "",
        subjects: Subjects | None = None,
        people: int | None = None,
        reinstate: bool = False,
    ) -> Packet | Pending | None:
        """Take part in a model study with rows of this site, which never leave.

        The first answer (score and information at an anchor, as sums over people) is published at
        once. From then on this site answers again where its anchor is too far from its own pooled
        point: at most a small step from the last, within the answers that the study allows, each of
        them after all disclosure rules. After a restart call it again with the same rows: answers
        that have left are known from the account.

        Parameters
        ----------
        study
            A study of kind "model", one of the loop's `studies`.
        rows
            The rows; or a function that gives them, called for each answer.
        about, people
            What `publish` takes.
        cohort
            Which of this site's disjoint groups of people they are.
        subjects
            Keyed hashes of the people (`qis.disclosure.subject_hashes`). Default: each row stands
            for a person and is known by its content, so that few rows that were added, removed or
            changed between two answers are seen.
        reinstate
            Answer although this study and cohort were withdrawn (`retract`).

        Returns
        -------
        Packet | Pending | None
            The first answer, or that it waits for approval; `None` if these rows have answered.

        Raises
        ------
        InputError
            If the loop is not open, the study is none of its model studies, or the rows do not fit.
        DisclosureError
            If a rule keeps the answer at the site; the error names the rule and the ways out.

        """
        instance(study, "study", Study, "Study(question=…, kind='model', …)")
        await self._require_open().clock_watch.hear()
        parts = await self._with_room()
        await parts.ask(study.id)
        joined = Joined(
            study=study, cohort=cohort, rows=rows, about=about, subjects=subjects, people=people
        )
        return await parts.models.join(joined, reinstate=reinstate)

    def waiting(self) -> tuple[Pending, ...]:
        """Return the outcomes that wait for approval, oldest first."""
        return self._require_open().outbox.waiting()

    @checked
    async def release(self, pending_id: str, *, approver: str, trust_clock: bool = False) -> Packet:
        """Publish an outcome that waited. The disclosure rules are checked again.

        Parameters
        ----------
        pending_id
            The `id` of one of `waiting`.
        approver
            Name of the person who decides; it goes into the audit log with the preview's hash.
        trust_clock
            Publish although other sites' clocks contradict this machine's date.

        Raises
        ------
        InputError
            If nothing waits under that id, or nobody approves.
        DisclosureError
            If a rule keeps it back by now, or what it would reveal has changed since it was
            submitted; then `waiting` shows the new preview.
        ClockError
            If other sites' clocks contradict this machine's; then nothing leaves.
        StorageError
            If ledger, audit log, outbox or store cannot be written; then nothing leaves.

        """
        await self._require_open().clock_watch.hear()
        parts = await self._with_room()
        await parts.ask()
        packet = parts.publisher.release(pending_id, approver, trust_clock=trust_clock)
        self._sending(parts, packet)
        return packet

    @checked
    async def reject(self, pending_id: str, *, approver: str, reason: str = "") -> None:
        """Drop an outcome that waited, so that it never leaves.

        `InputError` and `StorageError` are raised as by `release`. The audit log gets the `reason`.
        """
        self._require_open().publisher.reject(pending_id, approver, reason)

    @checked
    def dry_run(
        self,
        outcome: Outcome,
        *,
        about: Any,
        subjects: Subjects | None = None,
        people: int | None = None,
    ) -> DryRun:
        """Return the packet that `publish` would make now, and what an outsider could learn.

        Nothing is signed, stored or sent, and no sequence is used. The parameters are those of
        `publish`.
        """
        return self._require_open().dry_run(outcome, about, subjects, people)

    @checked
    def keep(self, outcome: Outcome, *, about: Any) -> None:
        """Use an outcome in the answer for this site, `Synthesis.here`, and nowhere else.

        It is never signed, stored, logged or sent, and no rule of disclosure applies. It stays in
        memory until the loop closes: keep it again when the loop is opened. Of one study and cohort
        the last one counts, instead of what was published of that cohort.

        What the site publishes afterwards about the same people is checked as if nothing had been
        kept; but the answer rests on what is kept, so whoever shows it outside shows something of
        it (docs/disclosure.md).

        Parameters
        ----------
        outcome
            An outcome that has a log-likelihood of one effect.
        about
            Features of the kind that the scheme takes.

        Raises
        ------
        InputError
            If the loop is not open, the outcome is of another kind, the features are wrong, or
            1,000 outcomes are kept already.

        """
        parts = self._require_open()
        parts.own_data.keep(outcome, about)
        parts.syntheses.mark(outcome.study_id)

    @checked
    def forget(self, study: Study | bytes | str, cohort: str = "") -> bool:
        """No longer use what is kept under a study (or its id or question) and cohort.

        Returns
        -------
        bool
            False if nothing was kept there.

        """
        parts, study_id = self._require_open(), study_id_of(study)
        found = parts.own_data.forget(study_id, cohort)
        parts.syntheses.mark(study_id)
        return found

    @checked
    async def retract(
        self,
        study: Study | bytes | str,
        cohort: str = "",
        *,
        reason: str = "withdrawn",
        about: Any = None,
        force: bool = False,
    ) -> Packet:
        """Withdraw what this site has published under a study and cohort.

        What waits for approval under them is dropped. The retraction reaches everybody who received
        the outcome. If its routing keys are known neither from the outbox nor from `about`, as
        after a lost disk, the retraction travels under the study's id alone: it reaches everybody
        who follows the study, but not those who received the outcome because it was similar.

        Parameters
        ----------
        study
            The study, its id or its question.
        cohort
            The cohort, as it was published.
        reason
            One of `qis.outcomes.RETRACTION_REASONS`.
        about
            The features that it was published with, if the outbox was lost.
        force
            Withdraw although this site's files say that nothing is in force there. Not needed if
            they contain nothing at all.

        Raises
        ------
        InputError
            If nothing is in force under this study and cohort but something is under others (the
            error names some), or if it was published with other features than `about`.

        """
        parts = await self._with_room()
        await parts.ask(study_id_of(study))
        packet = parts.publisher.retract(study, cohort, reason, about=about, force=force)
        self._sending(parts, packet)
        return packet

    @checked
    async def recover_clock(self, *, trust_clock: bool = False) -> tuple[Packet, ...]:
        """Confirm that this machine's date is right, and that of this site's last packets wrong.

        If the clock was ahead for a while, the packets signed then supersede all that is signed
        now, until their date comes, so `publish` raises `ClockError`. This sets those packets
        aside: they no longer count here, are no longer sent, and their files in a shared folder are
        deleted. Withdrawals among them are signed again with the right date. Sequences go on from
        the present; none is used twice. Publish again what is still true. Other sites may hold such
        a packet: when its date comes, it is superseded at once by the newest packet of its study
        and cohort; if there is none, by its own content with the right date; if the newest has
        expired by then, by a retraction.

        Parameters
        ----------
        trust_clock
            Do so although other sites' clocks contradict the present date.

        Returns
        -------
        tuple[Packet, ...]
            The packets that were set aside; empty if none is dated ahead.

        Raises
        ------
        ClockError
            If other sites' clocks contradict the present date: set it first.
        StorageError
            If store, outbox or audit log cannot be written. Call it again then.

        """
        parts = self._require_open()
        if not trust_clock:
            parts.clock_watch.require()
        packets = parts.recovery.recover(parts.publisher.publish_again)
        parts.mark(*{packet.outcome.study_id for packet in packets})
        return packets

    def check(self) -> tuple[AccountFinding, ...]:
        """Return what is wrong with the account of what has left; nothing leaves until it is empty.

        It is compared when the loop opens: with its witnesses, with the audit log, with the heads
        of that log that were handed out, and, before the first publication, with this site's own
        packets in the network. docs/operating.md says what each finding means.
        """
        return self._require_open().accounting.look()

    async def settle(
        self, verdict: Literal["restored", "stolen"], *, approver: str
    ) -> tuple[AccountFinding, ...]:
        """Say what happened, after looking at everything that `check` found.

        Parameters
        ----------
        verdict
            "restored": a backup was brought back, or a file was lost; the account as it is and all
            own packets that the network has shown count from now on. "stolen": somebody else has
            the key; nothing ever leaves under it again, and a new key has to be made.
        approver
            Name of the person who decides; it goes into the audit log.

        Returns
        -------
        tuple[AccountFinding, ...]
            What is still wrong.

        Raises
        ------
        InputError
            If the verdict is another word, nobody approves, nothing is wrong, or the key was said
            to be stolen.
        StorageError
            If account or audit log cannot be written.

        """
        check_name(approver)
        await self._require_open().ask()
        return self._require_open().settle(verdict, approver)

    @checked
    async def watch(self, interest: Interest, *, people: int | None = None) -> None:
        """Receive packets of another interest too; it is registered when this returns.

        `people` is the number of people whose features the interest is made from, 0 if none. It is
        required if the transport leaves the machine (`Disclosure.check_interest`).
        """
        (checked,) = _interests(interest)
        self._check_interest(checked, people)
        await self._require_open().intake.watch(self._completed(checked))

    @checked
    async def unwatch(self, interest: Interest) -> None:
        """Stop receiving packets of an interest; those that came stay."""
        await self._require_open().intake.unwatch(self._completed(interest))

    @checked
    def believe(self, roster: Roster) -> None:
        """Judge all evidence by another roster from now on, and synthesise again.

        The transport uses it too. Packets that it refused before come when they are next published.
        """
        parts = self._require_open()
        self._options.disclosure.check_roster(roster)
        self.store.roster = roster
        self._options.transport.believe(roster)
        parts.begin()

    @checked
    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was published is held; false if it is not within `timeout_s` seconds.

        A packet is held if at least one other site has it under each of its routing keys, as far as
        the transport can know (`qis.Holding`). Those that are replaced or expire meanwhile are not
        waited for. `undelivered` says what is missing, and why. In the remaining time the transport
        brings held packets to further nodes. While the account of what has left is in doubt
        (`check`) nothing leaves, so that it is false at once.
        """
        parts = self._require_open()
        try:
            async with asyncio.timeout(timeout_s):
                await self._while_running(parts.sender.flush())
                if not parts.outbox.unsent:
                    await self._while_running(parts.sender.spread())
        except TimeoutError:
            pass  # what is missing is asked below
        return not parts.outbox.unsent

    def undelivered(self) -> tuple[Undelivered, ...]:
        """Return the packets that no other site is known to hold, oldest first, and why.

        At most as many as the outbox takes. A packet leaves the list when it is held (event
        "sent"), replaced by a newer version ("replaced") or expired ("expired"). An outbox on disk
        keeps the packets and their times, so the list survives the process.

        Other sites are believed: if one says that it holds a packet and drops it, that is not seen
        here, but the transport repeats the publication.
        """
        return self._require_open().sender.undelivered()

    @property
    def is_synthesising(self) -> bool:
        """True while evidence has changed and its newest synthesis is not there yet.

        A synthesis is made in a thread and may take seconds: whoever leaves as soon as nothing new
        comes leaves without it.
        """
        if self._running is None:
            return False
        parts = self._require_open()
        return parts.syntheses.is_busy or parts.models.is_busy

    @checked
    def latest(self, study: Study | bytes | str) -> Synthesis | FittedModel | None:
        """Return the newest synthesis of a study (given as such, by id or by question), if any.

        Of a declared study of kind "model" it is the newest `qis.FittedModel`.

        If the loop has ended by an error, that is raised: no newer synthesis would ever come.
        """
        if self._running is None:
            return None
        parts, study_id = self._require_open(), study_id_of(study)
        return parts.models.newest.of(study_id) or parts.syntheses.newest.of(study_id)

    def __aiter__(self) -> AsyncIterator[Synthesis]:
        return self._each(lambda parts: parts.syntheses.newest)

    def models(self) -> AsyncIterator[FittedModel]:
        """Yield the newest model of each model study, each time it has changed, for ever."""
        return self._each(lambda parts: parts.models.newest)

    def matches(self) -> AsyncIterator[Match]:
        """Each record that other sites published and that meets an interest, as it arrives.

        Iterating over the loop itself gives syntheses only. At most 1,000 records are kept; each
        call begins with the oldest of them. A record that is dropped unread is told as the event
        ``limit``. Answer with ``await loop.publish(match.reply({...}), about=…)``.
        """
        return self._each(lambda parts: parts.intake.matches)

    async def _each(self, followed: Callable[[Parts], Followed[Item]]) -> AsyncIterator[Item]:
        """What is there, and what comes, until the loop closes."""
        seen, parts = 0, self._parts
        while parts is not None:
            fresh = followed(parts).since(seen)
            for number, item in fresh:
                seen = number
                yield item
            if fresh:
                continue
            if self._running is None:
                return
            self._require_open()
            await followed(parts).changed()

    def _sending(self, parts: Parts, published: Packet | Pending) -> Packet | Pending:
        if isinstance(published, Packet):
            parts.sender.wake()
            parts.mark(published.outcome.study_id)
        return published

    def _completed(self, interest: Interest) -> Interest:
        return replace(interest, studies=(*interest.studies, *self._studies))


def _interests(given: Interest | Iterable[Interest]) -> tuple[Interest, ...]:
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    if not found or not all(isinstance(one, Interest) for one in found):
        raise InputError(
            "interest is a qis.Interest, or several: scheme.interest(features)", field="interest"
        )
    return tuple(dict.fromkeys(found))  # one that is given twice is registered once


def _require_declared(study: Study, scheme: Scheme[Any], interests: tuple[Interest, ...]) -> None:
    """Raise unless the scheme, and one of the interests, are those that the study declares."""
    for number, interest in enumerate(interests, 1):
        try:
            require_declared(study, scheme, interest)
        except InputError:
            if number == len(interests):
                raise
        else:
            return
