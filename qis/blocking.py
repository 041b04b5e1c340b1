"""The loop without `async`, for batch pipelines and notebooks: its own thread, the same names."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, TimeoutError as FutureTimeoutError
from copy import deepcopy
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

from qis import loop
from qis.about import Interest
from qis.disclosure.ledger import Subjects
from qis.errors import InputError
from qis.evidence import Roster
from qis.fingerprint import Scheme
from qis.identity import Identity
from qis.loop import DryRun, LoopStatistics, Pending
from qis.outcomes import Outcome, Study
from qis.packet import Packet
from qis.synthesis import Synthesis
from qis.transport import Transport

Result = TypeVar("Result")


class SynthesisLoop:
    """`qis.SynthesisLoop` in a thread of its own. A context manager.

    Parameters
    ----------
    identity, transport, scheme, options
        As for `qis.SynthesisLoop`. The transport must not be open yet, since it belongs to the
        thread that opens it.

    Raises
    ------
    InputError
        As `qis.SynthesisLoop`.

    """

    def __init__(
        self, identity: Identity, transport: Transport, scheme: Scheme[Any], **options: Any
    ) -> None:
        self._make: Callable[[], loop.SynthesisLoop] = lambda: loop.SynthesisLoop(
            identity, transport, scheme, **options
        )
        self._make()  # so that wrong arguments are refused here and not in the thread
        self._begin()

    def _begin(self) -> None:
        self._events: asyncio.AbstractEventLoop | None = None
        self._loop: loop.SynthesisLoop | None = None
        self._thread: threading.Thread | None = None
        self._leave: asyncio.Event | None = None

    def __enter__(self) -> Self:
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(opened)), name="qis", daemon=True
        )
        self._thread.start()
        try:
            opened.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._events is not None and self._leave is not None and self._thread is not None:
            self._events.call_soon_threadsafe(self._leave.set)
            self._thread.join()
            self._events = None

    def publish(
        self,
        outcome: Outcome,
        *,
        about: Any,
        subjects: Subjects | None = None,
        people: int | None = None,
    ) -> Packet | Pending:
        """As `qis.SynthesisLoop.publish`."""
        return self._do(
            lambda inner: inner.publish(outcome, about=about, subjects=subjects, people=people)
        )

    def observe(self, record: Any) -> Packet | Pending | None:
        """As `qis.SynthesisLoop.observe`."""
        return self._do(lambda inner: inner.observe(record))

    def retract(
        self,
        study: Study | bytes | str,
        cohort: str = "",
        *,
        reason: str = "withdrawn",
        about: Any = None,
    ) -> Packet:
        """As `qis.SynthesisLoop.retract`."""
        return self._do(lambda inner: inner.retract(study, cohort, reason=reason, about=about))

    def waiting(self) -> tuple[Pending, ...]:
        """As `qis.SynthesisLoop.waiting`."""
        return self._ask(lambda inner: inner.waiting())

    def release(self, pending_id: str, *, approver: str) -> Packet:
        """As `qis.SynthesisLoop.release`."""
        return self._do(lambda inner: inner.release(pending_id, approver=approver))

    def reject(self, pending_id: str, *, approver: str, reason: str = "") -> None:
        """As `qis.SynthesisLoop.reject`."""
        self._do(lambda inner: inner.reject(pending_id, approver=approver, reason=reason))

    def dry_run(
        self,
        outcome: Outcome,
        *,
        about: Any,
        subjects: Subjects | None = None,
        people: int | None = None,
    ) -> DryRun:
        """As `qis.SynthesisLoop.dry_run`."""
        return self._ask(
            lambda inner: inner.dry_run(outcome, about=about, subjects=subjects, people=people)
        )

    def watch(self, interest: Interest, *, people: int | None = None) -> None:
        """As `qis.SynthesisLoop.watch`."""
        self._do(lambda inner: inner.watch(interest, people=people))

    def unwatch(self, interest: Interest) -> None:
        """As `qis.SynthesisLoop.unwatch`."""
        self._do(lambda inner: inner.unwatch(interest))

    def believe(self, roster: Roster) -> None:
        """As `qis.SynthesisLoop.believe`."""
        self._ask(lambda inner: inner.believe(roster))

    @property
    def statistics(self) -> LoopStatistics:
        """A copy of the counters, as of now."""
        return self._ask(lambda inner: deepcopy(inner.statistics))

    def flush(self, timeout_s: float) -> bool:
        """As `qis.SynthesisLoop.flush`."""
        return self._do(lambda inner: inner.flush(timeout_s))

    def latest(self, study: Study | bytes | str) -> Synthesis | None:
        """As `qis.SynthesisLoop.latest`."""
        return self._ask(lambda inner: inner.latest(study))

    def syntheses(self, *, timeout_s: float | None = None) -> Iterator[Synthesis]:
        """Each new synthesis; ends when none has come for `timeout_s` seconds (`None`: never)."""
        events, inner = self._require_open()
        fresh = aiter(inner)

        async def following() -> Synthesis | None:
            return await anext(fresh, None)

        while True:
            waiting = asyncio.run_coroutine_threadsafe(following(), events)
            try:
                synthesis = waiting.result(timeout_s)
            except FutureTimeoutError:
                waiting.cancel()
                return
            if synthesis is None:
                return
            yield synthesis

    def __iter__(self) -> Iterator[Synthesis]:
        return self.syntheses()

    async def _live(self, opened: "Future[None]") -> None:
        self._events = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        try:
            async with self._make() as self._loop:
                opened.set_result(None)
                await self._leave.wait()
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)

    def _do(self, what: Callable[[loop.SynthesisLoop], Awaitable[Result]]) -> Result:
        events, inner = self._require_open()

        async def doing() -> Result:
            return await what(inner)

        return asyncio.run_coroutine_threadsafe(doing(), events).result()

    def _ask(self, what: Callable[[loop.SynthesisLoop], Result]) -> Result:
        async def asking(inner: loop.SynthesisLoop) -> Result:
            return what(inner)

        return self._do(asking)

    def _require_open(self) -> tuple[asyncio.AbstractEventLoop, loop.SynthesisLoop]:
        if self._events is None or self._loop is None:
            raise InputError("the loop is not open: use it in 'with'", field="loop")
        return self._events, self._loop


def open_site(path: str | PathLike[str], **options: Any) -> SynthesisLoop:
    """As `qis.open_site`, for use in ``with``; the files are opened on entry."""
    from qis.site import open_site as opened  # noqa: PLC0415  for those who have such a file

    blocking = SynthesisLoop.__new__(SynthesisLoop)
    blocking._make = lambda: opened(path, **options)
    blocking._begin()  # noqa: SLF001
    return blocking
