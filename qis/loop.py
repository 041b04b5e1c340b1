"""The loop: publish outcomes, take in those of others, synthesise again when they change."""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Literal, Self

from qis._publisher import Publisher
from qis.about import Interest
from qis.disclosure import Disclosure
from qis.disclosure.ledger import Subjects
from qis.errors import InputError, QISError
from qis.evidence import EvidenceStore, MemoryStore, Roster
from qis.evidence.review import study_id_of
from qis.fingerprint import Scheme
from qis.identity import Identity
from qis.outcomes import Outcome, Study
from qis.packet import Packet
from qis.synthesis import Synthesis, synthesise
from qis.transport import Delivery, Transport

MAX_STUDIES: Final = 1_000
"""Studies whose newest synthesis is kept; the one that changed longest ago goes first."""
_BATCH: Final = 64
"""Deliveries taken in at one go before others get their turn."""

_log = logging.getLogger("qis.loop")


@dataclass(slots=True)
class LoopStatistics:
    """What a loop has done since it was opened.

    `admissions` counts the packets that arrived by the store's verdict; `failures` the syntheses
    that raised, by the name of the error.
    """

    published: int = 0
    received: int = 0
    synthesised: int = 0
    admissions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


class SynthesisLoop:
    """A site's part in outcome routing. An async context manager and an async iterator.

    Iterating gives the newest synthesis of a study each time its evidence has changed: to every
    iterator separately, beginning with what there is already. A slow reader misses intermediate
    syntheses, never the newest.

    Parameters
    ----------
    identity
        The site's key; one loop at a time may use it.
    transport
        Opened and closed with the loop, unless it is open already.
    scheme
        Turns what an outcome is about into a fingerprint and routing keys.
    interest
        What to receive. All that belongs to `studies` is received besides.
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

    """

    def __init__(
        self,
        identity: Identity,
        transport: Transport,
        scheme: Scheme[Any],
        *,
        interest: Interest,
        studies: Iterable[Study] = (),
        store: EvidenceStore | None = None,
        roster: Roster | None = None,
        disclosure: Disclosure | None = None,
        model: Literal["fixed", "random"] = "random",
        lifetime_s: int = 30 * 86_400,
        distil: Callable[[Any], tuple[Outcome, Any] | None] | None = None,
        debounce_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if store is not None and roster is not None and store.roster is not roster:
            raise InputError("the store has its own roster: give one or the other", field="roster")
        self.statistics = LoopStatistics()
        if store is None:  # an empty store is false
            store = MemoryStore(roster=Roster.open() if roster is None else roster)
        self.store = store
        if not isinstance(interest, Interest):
            raise InputError(
                "interest is a qis.Interest: scheme.interest(features)", field="interest"
            )
        self._studies = {study.id: study for study in studies}
        self._interest = _with_studies(interest, self._studies)
        self._transport = transport
        self._model = model
        self._distil = distil
        self._debounce_s = debounce_s
        self._clock = clock
        self._publisher = Publisher(
            identity,
            transport,
            scheme,
            self.store,
            disclosure=Disclosure.preset("cms") if disclosure is None else disclosure,
            lifetime_s=lifetime_s,
            clock=clock,
        )
        self._due: set[bytes] = set()
        self._latest: OrderedDict[bytes, tuple[int, Synthesis]] = OrderedDict()
        self._version = 0
        self._work = asyncio.Event()
        self._changed = asyncio.Event()
        self._parts: AsyncExitStack | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as parts:
            if not self._transport.is_open:
                await parts.enter_async_context(self._transport)
            deliveries = await parts.enter_async_context(self._transport.subscribe(self._interest))
            self._parts = parts.pop_all()
        self._mark(*self.store.studies())
        self._running = asyncio.create_task(self._run(deliveries))
        self._running.add_done_callback(lambda _: self._announce())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running, self._running = self._running, None
        parts, self._parts = self._parts, None
        if running is None or parts is None:
            return
        running.cancel()
        async with parts:
            await asyncio.wait([running])
        if not running.cancelled() and (fault := running.exception()) is not None:
            raise fault

    async def publish(
        self, outcome: Outcome, *, about: Any, subjects: Subjects | None = None
    ) -> Packet:
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

        Returns
        -------
        Packet
            What will be sent; `flush` waits until it was.

        Raises
        ------
        InputError
            If the loop is not open, the features are wrong, or the packet that this one replaces
            was about something else (retract that one first, so that its readers learn of it).
        DisclosureError
            If a rule keeps the outcome at the site; the error names the rule and the ways out.
        OutcomeTooLargeError
            If the outcome does not fit a packet.

        """
        self._require_open()
        packet = await self._publisher.publish(outcome, about, subjects)
        self.statistics.published += 1
        self._mark(outcome.study_id)
        return packet

    async def observe(self, record: Any) -> Packet | None:
        """Distil a record and publish what comes of it; `None` if nothing does."""
        if self._distil is None:
            raise InputError("observe needs a loop made with distil=", field="distil")
        distilled = self._distil(record)
        if distilled is None:
            return None
        outcome, about = distilled
        return await self.publish(outcome, about=about)

    async def retract(
        self,
        study: Study | bytes | str,
        cohort: str = "",
        *,
        reason: str = "withdrawn",
        about: Any = None,
    ) -> Packet:
        """Withdraw what this site has published under a study and cohort, at everybody who got it.

        Parameters
        ----------
        study
            The study, its id or its question.
        cohort
            As published.
        reason
            One of `qis.outcomes.RETRACTION_REASONS`.
        about
            The features it was published with; needed only if another process published it.

        Raises
        ------
        InputError
            If there is nothing to withdraw, or `about` is missing or another.

        """
        self._require_open()
        packet = await self._publisher.retract(study_id_of(study), cohort, reason, about)
        self.statistics.published += 1
        self._mark(packet.outcome.study_id)
        return packet

    async def flush(self, timeout_s: float) -> bool:
        """Wait until the network has taken all that was published; whether it has in time."""
        self._require_open()
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                await self._publisher.flush()
        except TimeoutError:
            return False
        return await self._transport.flush(max(0.0, timeout_s - (time.monotonic() - started)))

    def latest(self, study: Study | bytes | str) -> Synthesis | None:
        """The newest synthesis of a study (given as such, by id or by question), if there is."""
        found = self._latest.get(study_id_of(study))
        return None if found is None else found[1]

    async def __aiter__(self) -> AsyncIterator[Synthesis]:
        seen = 0
        while True:
            fresh = [found for found in self._latest.values() if found[0] > seen]
            for version, synthesis in fresh:
                seen = version
                yield synthesis
            if fresh:
                continue
            if self._running is None:
                return
            self._require_open()
            await self._changed.wait()

    async def _run(self, deliveries: AsyncIterator[Delivery]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_in(deliveries))
            tasks.create_task(self._synthesise_what_is_due())
            tasks.create_task(self._publisher.run())

    async def _take_in(self, deliveries: AsyncIterator[Delivery]) -> None:
        async for delivery in deliveries:
            packet = delivery.packet
            admission = self.store.add(packet, now=self._clock())
            self.statistics.received += 1
            self.statistics.admissions[admission.label] += 1
            self._publisher.notice(packet)
            _log.debug("%r: %s", packet, admission)
            if admission.changes_evidence:
                self._mark(packet.outcome.study_id)
            if self.statistics.received % _BATCH == 0:
                await asyncio.sleep(0)

    async def _synthesise_what_is_due(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            due, self._due = sorted(self._due), set()
            for study_id in due:
                await self._synthesise(study_id)
            if self._debounce_s:
                await asyncio.sleep(self._debounce_s)

    async def _synthesise(self, study_id: bytes) -> None:
        study = self._studies.get(study_id)
        review = self.store.review(study or study_id, now=self._clock())
        former = self.latest(study_id)
        try:
            synthesis = synthesise(
                review,
                study=study,
                model=(study and study.model) or self._model,
                looks=1 if former is None else former.looks + 1,
            )
        except QISError as error:
            self.statistics.failures[type(error).__name__] += 1
            _log.warning("study %s cannot be synthesised: %s", study_id.hex(), error)
            return
        if former is not None and former.digest == synthesis.digest:
            return
        self.statistics.synthesised += 1
        self._version += 1
        self._latest[study_id] = (self._version, synthesis)
        self._latest.move_to_end(study_id)
        if len(self._latest) > MAX_STUDIES:
            self._latest.popitem(last=False)
        self._announce()

    def _mark(self, *study_ids: bytes) -> None:
        self._due.update(study_ids)
        self._work.set()

    def _announce(self) -> None:
        """Wake all who iterate; who comes later looks first."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _require_open(self) -> None:
        if self._running is None:
            raise InputError("the loop is not open: use it in 'async with'", field="loop")
        if self._running.done():
            self._running.result()


def _with_studies(interest: Interest, studies: Iterable[bytes]) -> Interest:
    return replace(interest, studies=(*interest.studies, *studies))
