"""Fits the model studies of a loop, and answers for this site's own rows, which stay here."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
from blake3 import blake3

from qis._guard import SetAside
from qis.disclosure import Disclosure
from qis.disclosure.ledger import Subjects
from qis.errors import AccountError, ClockError, DisclosureError, InputError, NoEstimateError
from qis.evidence import EvidenceStore
from qis.fingerprint import Scheme
from qis.loop._in_thread import in_thread
from qis.loop.approval import Draft, Pending, drafted
from qis.loop.events import Announcer
from qis.loop.journal import Journal
from qis.loop.newest import Newest
from qis.loop.outbox import Outbox
from qis.loop.release_gate import ReleaseGate
from qis.loop.signing import Signer
from qis.models import Expansion, FittedModel, ModelRows, StudyRows, fit_model
from qis.models.answering import Floats, is_due, next_anchor, start_of
from qis.models.fitted import FARTHEST
from qis.models.own import own_fit
from qis.models.rows import anchored
from qis.outcomes import Anchor, QuadraticLikelihood, Study
from qis.outcomes.anchor import anchor_id_of, names_hash_of
from qis.packet import Packet

DATE_AGAIN_S: Final = 60.0
"""Longest wait for a date, such as the end of an embargo, until the clock is read again."""
Rows = ModelRows | Callable[[], ModelRows]
_HASH_SIZE: Final = 16


@dataclass(slots=True, kw_only=True)
class Joined:
    """A cohort of this site that takes part in a model study.

    Parameters
    ----------
    study, cohort
        The study, and which of the site's disjoint groups of people this is.
    rows
        Its rows, or what gives them.
    about, subjects, people
        What `qis.SynthesisLoop.publish` takes.
    refused
        The anchor at which the last answer was refused.
    told
        True once it was told that no answer is left.
    anchors
        Where answers were proposed: one that waits for approval is read back without its anchor.

    """

    study: Study
    cohort: str
    rows: Rows = field(repr=False)
    about: Any = field(repr=False)
    subjects: Subjects | None = field(repr=False)
    people: int | None
    refused: Floats | None = None
    told: bool = False
    anchors: list[Floats] = field(default_factory=list, repr=False)

    def read(self) -> StudyRows:
        """The rows, as they are now."""
        given = self.rows if isinstance(self.rows, ModelRows) else self.rows()
        if not isinstance(given, ModelRows):
            raise InputError(
                f"rows() gives a {type(given).__name__}; it gives qis.ModelRows", field="rows"
            )
        return given.for_study(self.study)

    def subjects_of(self, rows: StudyRows) -> Subjects:
        """The people, as the caller names them; else each row by its own content.

        So a row that is changed, added or removed is seen when the next answer is compared with
        those that left.
        """
        if self.subjects is not None:
            return self.subjects
        content = (
            rows.design[index].tobytes() + rows.y[index].tobytes() for index in range(rows.n)
        )
        return {
            blake3(self.study.id + index.to_bytes(8, "big") + row).digest(_HASH_SIZE): b""
            for index, row in enumerate(content)
        }


class Models:
    """Keeps the newest model of each model study, and answers while that brings it nearer.

    Parameters
    ----------
    store, studies, disclosure, scheme
        Evidence, the declared studies by id, the rules with their ledger, and the scheme.
    needs_approval
        True if answers wait for somebody's approval.
    monitor
        True for a monitoring role, which an embargo does not bind.
    publisher, signer, outbox, journal, announcer
        The other parts of the loop.
    debounce_s
        Least seconds between two fits.
    answer_after_s
        Seconds for which the evidence of a study has to be quiet before this site answers again.
    clock
        Gives Unix seconds.

    """

    def __init__(
        self,
        store: EvidenceStore,
        studies: Mapping[bytes, Study],
        *,
        disclosure: Disclosure,
        scheme: Scheme[Any],
        needs_approval: bool,
        monitor: bool,
        publisher: ReleaseGate,
        signer: Signer,
        outbox: Outbox,
        journal: Journal,
        announcer: Announcer,
        debounce_s: float,
        answer_after_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._studies = {key: study for key, study in studies.items() if study.kind}
        self._disclosure = disclosure
        self._scheme = scheme
        self._needs_approval = needs_approval
        self._monitor = monitor
        self._publisher = publisher
        self._signer = signer
        self._outbox = outbox
        self._journal = journal
        self._announcer = announcer
        self._debounce_s = debounce_s
        self._answer_after_s = answer_after_s
        self._clock = clock
        self._joined: dict[tuple[bytes, str], Joined] = {}
        self.newest: Newest[FittedModel] = Newest()
        self._due: set[bytes] = set()
        self._is_computing = False
        self._set_aside: SetAside[bytes] = SetAside()
        self._work = asyncio.Event()
        self.sent: Callable[[], None] = lambda: None
        """Called when something is in the outbox."""
        self.is_open: Callable[[], bool] = lambda: True
        """Tells whether the loop is open still: an approval may take days."""

    def knows(self, study_id: bytes) -> bool:
        """True if this is a declared study of a model."""
        return study_id in self._studies

    def mark(self, *study_ids: bytes) -> None:
        """Note that the evidence of these studies, all of models, may have changed."""
        self._due.update(study_ids)
        self._work.set()

    @property
    def is_busy(self) -> bool:
        """True while evidence has changed and its model is not there yet."""
        return self._is_computing or bool(self._due)

    async def join(self, joined: Joined, *, reinstate: bool = False) -> Packet | Pending | None:
        """Take part with rows of this site, and answer if they have not answered yet.

        Raises
        ------
        InputError
            If the study is not a declared model study, or the rows do not fit it.
        DisclosureError
            If a rule keeps the first answer at the site.

        """
        if joined.study.id not in self._studies:
            raise InputError(
                f"{joined.study.question!r} is no model study of this loop: declare it with "
                "kind='model' and give it as studies=[…]",
                field="study",
            )
        rows = joined.read()
        self._joined[joined.study.id, joined.cohort] = joined
        last = self._last_answer(joined)
        answered = None
        if last is None or rows.answer(last[1], cohort=joined.cohort) != last[0].outcome:
            begin = start_of(rows) if last is None else last[1]
            answered = await self._answer(joined, rows, begin, reinstate=reinstate)
        self._due.add(joined.study.id)  # its own rows are beside the model from now on
        self._work.set()
        return answered

    async def run(self) -> None:
        """Fit and answer when evidence has changed, until cancelled."""
        while True:
            self._due.update(self._set_aside.due(_now_s()))
            if not self._due:
                await self._until_due()
                continue
            if self._debounce_s:
                await asyncio.sleep(self._debounce_s)
            due, self._due = sorted(self._due), set()
            self._is_computing = True
            wishes: list[tuple[Joined, StudyRows, FittedModel]] = []
            for study_id in due:
                with self._announcer.guard.item("loop.modelling") as item:
                    wishes += await self._fit(self._studies[study_id])
                if item.failed:
                    self._set_aside.failed(study_id, _now_s())
                else:
                    self._set_aside.done(study_id)
                await asyncio.sleep(0)
            if wishes:
                await asyncio.sleep(self._answer_after_s)
            for joined, rows, model in wishes:
                if joined.study.id in self._due:
                    continue  # something has come meanwhile: fit first
                with self._announcer.guard.item("loop.modelling"):
                    await self._answer_again(joined, rows, model)
            self._is_computing = False

    async def _until_due(self) -> None:
        """Wait until evidence has changed, a date is reached, or a failed study is tried again."""
        self._work.clear()
        now = self._clock()
        changes = {key: study.next_change(now) for key, study in self._studies.items()}
        waits_s = [min(moment - now, DATE_AGAIN_S) for moment in changes.values() if moment]
        if (again_s := self._set_aside.next_s()) is not None:
            waits_s.append(again_s - _now_s())
        with suppress(TimeoutError):
            async with asyncio.timeout(min(waits_s, default=None)):
                await self._work.wait()
        then = self._clock()
        self._due.update(key for key, moment in changes.items() if moment and moment <= then)

    async def _fit(self, study: Study) -> list[tuple[Joined, StudyRows, FittedModel]]:
        """Fit one study anew; returns whose answers would bring the model nearer to the fit."""
        now = self._clock()
        reviewer = self._store.reviewer(study, now=now)
        review = await in_thread(reviewer.review)
        model = await in_thread(partial(fit_model, review, study=study))
        joined = [each for each in self._joined.values() if each.study.id == study.id]
        read = [(each, each.read()) for each in joined]
        if read and model.coefficients is not None:
            model = model.seen_from(own_fit(read[0][1], model.coefficients))
        if self._monitor or not study.is_embargoed(now):
            self._keep(model)
        self._complete(joined)
        return [(each, rows, model) for each, rows in read if self._is_due(each, rows, model)]

    def _keep(self, model: FittedModel) -> None:
        former = self.newest.of(model.study.id)
        if former is not None and _seen(former) == _seen(model):
            return
        if former is None or former.digest != model.digest:
            self._journal.modelled(model)
        self.newest.put(model.study.id, model)
        self._announcer.tell("modelled", study_id=model.study.id, reason=model.state)

    def _is_due(self, joined: Joined, rows: StudyRows, model: FittedModel) -> bool:
        last = self._last_answer(joined)
        left = (joined.study.answers or 0) - self._given(joined, rows)
        own = [] if last is None else _own(model, last[0])
        if last is None or not is_due(model, own, left) or self._is_waiting(joined):
            return False
        if left <= 0:
            self._tell_spent(joined, model)
            return False
        # Some are held back for when the enrolled sites come of which there is nothing yet.
        return not model.silent or left > (joined.study.answers or 0) // 3

    async def _answer_again(self, joined: Joined, rows: StudyRows, model: FittedModel) -> None:
        last = self._last_answer(joined)
        if last is None:
            return
        own = _own(model, last[0])
        anchor = await in_thread(partial(next_anchor, model, rows, last[1], own))
        if anchor is None or self._was_refused(joined, model, anchor):
            return
        try:
            await self._answer(joined, rows, anchor)
        except (DisclosureError, AccountError, ClockError, NoEstimateError) as error:
            # Told and recorded where it was refused; the model stays as far as it is.
            joined.refused = anchor
            self._announcer.tell(
                "limit",
                study_id=joined.study.id,
                subject="answers",
                reason=f"this site does not answer again, so the model stays as it is: {error}",
                count=1,
            )

    async def _answer(
        self, joined: Joined, rows: StudyRows, at: Floats, *, reinstate: bool = False
    ) -> Packet | Pending:
        """Answer at an anchor; the anchor leaves before, unless the answer has to be approved."""
        anchor = rows.anchored(at)
        joined.anchors.append(np.array(anchor.coefficients))
        outcome = rows.answer(anchor, cohort=joined.cohort)
        subjects = joined.subjects_of(rows)
        if not self._needs_approval and self._passes(outcome, subjects):
            self._send_anchor(anchor, joined)
        answered = await self._publisher.publish(
            outcome,
            joined.about,
            subjects,
            joined.people,
            is_open=self.is_open,
            reinstate=reinstate,
        )
        joined.refused = None
        self._complete([joined])
        self.mark(joined.study.id)
        self.sent()
        return answered

    def _passes(self, outcome: QuadraticLikelihood, subjects: Subjects) -> bool:
        try:
            self._disclosure.check(outcome, subjects=subjects)
        except DisclosureError:
            return False  # it is refused, and told, where it would have left
        return True

    def _send_anchor(self, anchor: Anchor, joined: Joined) -> None:
        """Send the anchor of an answer, unless everybody knows it or it was sent before."""
        if not any(anchor.coefficients) or self._has_sent(anchor):
            return
        draft: Draft = drafted(self._scheme, anchor, joined.about, None, joined.people)
        self._publisher.publish_anchor(draft)
        self.sent()

    def _complete(self, joined: list[Joined]) -> None:
        """Send the anchors of answers that were approved, or that left before a crash."""
        for each in joined:
            last = self._last_answer(each)
            if last is not None:
                self._send_anchor(anchored(each.study, last[1]), each)

    def _has_sent(self, anchor: Anchor) -> bool:
        return self._signer.former(self._signer.key_of(anchor)) is not None

    def _last_answer(self, joined: Joined) -> tuple[Packet, Floats] | None:
        """The answer of these people that is in force, with its anchor."""
        for packet in self._signer.newest():
            outcome = packet.outcome
            if (
                isinstance(outcome, QuadraticLikelihood)
                and (outcome.study_id, outcome.cohort) == (joined.study.id, joined.cohort)
                and (anchor := self._anchor_of(packet, joined)) is not None
            ):
                return packet, anchor
        return None

    def _anchor_of(self, packet: Packet, joined: Joined) -> Floats | None:
        """The anchor of an own answer; the ledger has it from when the answer left."""
        outcome = packet.outcome
        if not isinstance(outcome, QuadraticLikelihood):
            return None
        size = len(joined.study.coefficients)
        zero = np.zeros(size)
        candidates: list[Floats] = [zero, *joined.anchors] + [
            np.array(each.outcome.coefficients)
            for each in self._signer.newest()
            if isinstance(each.outcome, Anchor) and each.outcome.study_id == joined.study.id
        ]
        for emission in self._disclosure.ledger.of_study(joined.study.id):
            public = json.loads(emission.public) if emission.public else {}
            candidates.append(np.array(public.get("anchor", ()), dtype=np.float64))
        names = names_hash_of(joined.study.coefficients)
        for at in candidates:
            point = tuple(at.tolist())
            if (
                len(point) == size
                and anchor_id_of(outcome.model, point, names) == outcome.anchor_id
            ):
                return at
        return None

    def _given(self, joined: Joined, rows: StudyRows) -> int:
        """How many answers about these people have left, as the ledger knows."""
        return len(
            {
                emission.digest
                for emission in self._disclosure.ledger.of_study(joined.study.id)
                if (emission.kind, emission.cohort, emission.n)
                == (QuadraticLikelihood.kind, joined.cohort, rows.n)
            }
        )

    def _was_refused(self, joined: Joined, model: FittedModel, anchor: Floats) -> bool:
        """True if an answer near this anchor was refused: asking again would change nothing."""
        refused = joined.refused
        if refused is None or model.point_covariance is None:
            return False
        errors = np.sqrt(model.point_covariance.diagonal())
        return float(np.abs((anchor - refused) / errors).max()) <= FARTHEST

    def _tell_spent(self, joined: Joined, model: FittedModel) -> None:
        if joined.told:
            return
        joined.told = True
        self._announcer.tell(
            "limit",
            study_id=joined.study.id,
            subject="answers",
            reason=f"this site has given the {joined.study.answers} answers about cohort "
            f"{joined.cohort!r} that the study allows, and the model is not converged: it is known "
            f"within {model.distance or 0.0:.2g} standard errors",
            count=1,
        )

    def _is_waiting(self, joined: Joined) -> bool:
        key = joined.study.id, joined.cohort
        return any(
            (pending.outcome.study_id, pending.outcome.cohort) == key
            for pending in self._outbox.waiting()
        )


def _own(model: FittedModel, packet: Packet) -> list[Expansion]:
    return [each for each in model.expansions if each.packet == packet]


def _seen(model: FittedModel) -> tuple[object, ...]:
    """What a reader sees of a model: what it rests on, what is left out, and the own rows."""
    left = tuple((each.packet.id, each.reason) for each in model.left_out)
    return model.digest, model.own, left, model.silent


def _now_s() -> float:
    """Seconds of a steady clock, which is never set."""
    return asyncio.get_running_loop().time()
