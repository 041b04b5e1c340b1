"""Keeps the newest synthesis of each study, and makes it again when the evidence has changed."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from qis._guard import SetAside
from qis.errors import QISError, StorageError
from qis.evidence import EvidenceStore, with_derived
from qis.evidence.store import Reviewer
from qis.loop._in_thread import in_thread
from qis.loop.events import Announcer
from qis.loop.journal import Journal
from qis.loop.newest import Newest
from qis.loop.outbox import Look, Outbox
from qis.loop.own_data import OwnData
from qis.outcomes import Counts, LikelihoodProfile, Moments, Study
from qis.synthesis import KeptSites, Synthesis, synthesise

AT_ONCE: Final = 32
"""Most estimates that are pooled in the event loop; with more it is done in a thread."""
MAX_KEPT: Final = 8
"""Most studies of which it is kept what was computed of single sites, 32 MiB each at most."""
DATE_AGAIN_S: Final = 60.0
"""Longest wait for a date, such as the end of an embargo, until the clock is read again."""


class Syntheses:
    """Makes and keeps the syntheses of a loop.

    Parameters
    ----------
    store
        The evidence.
    studies
        The declared studies by id; they decide the model and what is embargoed.
    model
        Model of the studies that are not declared.
    count_derived
        True if derived packets of others count in fixed-effect syntheses.
    monitor
        True for a monitoring role, which an embargo does not bind.
    debounce_s
        Least seconds between two rounds of synthesis.
    clock
        Gives Unix seconds.
    outbox, journal, announcer
        The other parts of the loop.
    own_data
        What is kept for this site alone.

    """

    def __init__(
        self,
        store: EvidenceStore,
        studies: Mapping[bytes, Study],
        *,
        model: Literal["fixed", "random"],
        count_derived: bool,
        monitor: bool,
        debounce_s: float,
        outbox: Outbox,
        journal: Journal,
        announcer: Announcer,
        clock: Callable[[], float],
        own_data: OwnData,
    ) -> None:
        self._store = store
        self._studies = studies
        self._model: Literal["fixed", "random"] = model
        self._count_derived = count_derived
        self._monitor = monitor
        self._debounce_s = debounce_s
        self._outbox = outbox
        self._journal = journal
        self._announcer = announcer
        self._clock = clock
        self._own_data = own_data
        self._own_seen: dict[bytes, int] = {}
        self._moments = sorted(
            (moment, study.id)
            for study in studies.values()
            for moment in (study.valid_from, study.valid_until, study.embargo_until)
            if moment is not None and moment > clock()
        )
        self._guard = announcer.guard
        self._due: set[bytes] = set()
        self._is_computing = False
        self._set_aside: SetAside[bytes] = SetAside()
        self.newest: Newest[Synthesis] = Newest()
        self._kept: OrderedDict[bytes, KeptSites] = OrderedDict()
        self._work = asyncio.Event()
        self.listener: Callable[[Synthesis], None] | None = None

    def mark(self, *study_ids: bytes) -> None:
        """Note that the evidence of these studies may have changed."""
        self._due.update(study_ids)
        self._work.set()

    @property
    def is_busy(self) -> bool:
        """True while evidence has changed and its synthesis is not there yet."""
        return self._is_computing or bool(self._due)

    async def run(self) -> None:
        """Synthesise studies when they are due, until cancelled."""
        while True:
            await self._until_due()
            due, self._due = sorted(self._due), set()
            self._is_computing = True
            for study_id in due:
                # One study whose synthesis fails must not stop the others.
                with self._guard.item("loop.synthesis") as item:
                    await self._synthesise(study_id)
                if item.failed:
                    self._set_aside.failed(study_id, _now_s())
                else:
                    self._set_aside.done(study_id)
                await asyncio.sleep(0)
            self._is_computing = False
            if self._debounce_s:
                await asyncio.sleep(self._debounce_s)

    async def _until_due(self) -> None:
        """Wait until evidence has changed, a date is reached, or a failed study is tried again."""
        while True:
            self._due.update(self._set_aside.due(_now_s()))
            if self._due:
                return
            self._work.clear()
            now = self._clock()
            while self._moments and self._moments[0][0] <= now:
                self.mark(self._moments.pop(0)[1])
            # The wait is limited, since somebody may set the date meanwhile.
            waits_s = [min(self._moments[0][0] - now, DATE_AGAIN_S)] if self._moments else []
            if (again_s := self._set_aside.next_s()) is not None:
                waits_s.append(again_s - _now_s())
            with suppress(TimeoutError):
                async with asyncio.timeout(min(waits_s, default=None)):
                    await self._work.wait()

    async def _synthesise(self, study_id: bytes) -> None:
        look, kept_here = self._outbox.look(study_id), self._own_data.changes(study_id)
        try:
            synthesis = await self._made(study_id, look.number + 1)
        except StorageError:
            raise
        except QISError as error:
            self._announcer.statistics.failures[type(error).__name__] += 1
            self._announcer.tell("unsynthesised", study_id=study_id, reason=str(error))
            return
        former, is_look = self.newest.of(study_id), look.state != _state(synthesis)
        if not is_look:
            is_same = former is not None and former.seen_digest == synthesis.seen_digest
            if is_same and self._own_seen.get(study_id, 0) == kept_here:
                return
            if not synthesis.is_embargoed:  # hidden numbers are no look
                synthesis = replace(synthesis, looks=look.number)
        if is_look or former is None:
            self._journal.used(synthesis)
        if is_look:
            self._outbox.looked(study_id, Look(_state(synthesis), synthesis.looks))
        self._announcer.statistics.synthesised += 1
        self._own_seen[study_id] = kept_here
        self.newest.put(study_id, synthesis)
        self._announcer.tell("synthesised", study_id=study_id, synthesis=synthesis)
        if self.listener is not None:
            self.listener(synthesis)

    async def _made(self, study_id: bytes, looks: int) -> Synthesis:
        study, now = self._studies.get(study_id), self._clock()
        reviewer = self._store.reviewer(study or study_id, now=now)
        kept = self._kept.pop(study_id, None) or KeptSites()
        self._kept[study_id] = kept
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        computed = partial(self._computed, reviewer, study=study, looks=looks, now=now, kept=kept)
        # In a thread: a long computation in the event loop would delay acknowledgements.
        return computed() if _is_quick(reviewer) else await in_thread(computed)

    def _computed(
        self,
        reviewer: Reviewer,
        *,
        study: Study | None,
        looks: int,
        now: float,
        kept: KeptSites,
    ) -> Synthesis:
        model = (study and study.model) or self._model
        review = reviewer.review()
        if self._count_derived and model == "fixed":
            review = with_derived(review, reviewer.roster, now=now)
        synthesis = synthesise(
            review,
            study=study,
            model=model,
            looks=looks,
            now=now,
            monitor=self._monitor,
            kept=kept,
        )
        if synthesis.is_embargoed:
            return synthesis
        asking = self._own_data.asking(review, study, reviewer.roster, monitor=self._monitor)
        return replace(synthesis, here_of=asking)


def _is_quick(reviewer: Reviewer) -> bool:
    """True if the synthesis takes so little time that the event loop need not be spared it.

    A few estimates do; whole likelihoods take tens of milliseconds however few they are.
    """
    heads = reviewer.heads
    return len(heads) <= AT_ONCE and not any(
        isinstance(head.packet.outcome, LikelihoodProfile | Counts | Moments) for head in heads
    )


def _now_s() -> float:
    """Seconds of a steady clock, which is never set."""
    return asyncio.get_running_loop().time()


def _state(synthesis: Synthesis) -> bytes:
    """Hash what a look sees: the evidence, and whether its numbers are hidden."""
    return synthesis.digest + bytes((synthesis.is_embargoed,))
