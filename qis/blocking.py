"""The loop without `async`, for batch pipelines and notebooks: its own thread, the same names."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from copy import deepcopy
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from qis import loop
from qis._gate import checked
from qis._given import real_number
from qis.about import Interest
from qis.account import AccountFinding
from qis.disclosure.ledger import Subjects
from qis.errors import InputError
from qis.evidence import Roster
from qis.fingerprint import Scheme
from qis.health import Health
from qis.identity import Identity
from qis.loop import DryRun, LoopStatistics, Match, Pending, Undelivered
from qis.models import FittedModel, ModelRows
from qis.outcomes import Outcome, Study
from qis.packet import Packet
from qis.synthesis import Synthesis
from qis.transport import Transport

if TYPE_CHECKING:
    from qis.site import opening

__all__ = ["SiteLoop", "SynthesisLoop", "open_site"]
Result = TypeVar("Result")
_LONGEST_S = 1e9
"""Most seconds to wait that every system takes; some thirty years."""
_HANDED_OVER_S = 0.05
"""How long it takes at most that what is ready in the loop's thread is here."""


class SynthesisLoop:
    """`qis.SynthesisLoop` in a thread of its own. A context manager.

    Parameters
    ----------
    identity
        The site's key.
    transport
        What carries packets. It must not be open yet, since it belongs to the thread that opens it.
    scheme
        Turns what the site works on into fingerprints and routing keys.
    options
        All other arguments of `qis.SynthesisLoop`, by the same names.

    Raises
    ------
    InputError
        If an argument is wrong. Every call raises it too before the loop is entered and after it
        was left, in a process forked since, and in the loop's own thread: a callback (`on_event`,
        `approve`, `distil`) must not wait for the loop, which waits for the callback.

    Notes
    -----
    Should the loop end by itself, because what it publishes could not be kept, every call raises
    what it ended with, and so does leaving the ``with`` block. `statistics` stays readable.

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
        self._leave = asyncio.Event()
        self._process = 0

    def __enter__(self) -> Self:
        if self._events is not None:
            if self._process != os.getpid():  # its socket, store and key are the other's too
                raise self._forked()
            raise InputError("the loop is open already", field="loop")
        opened: Future[None] = Future()
        # Done when the thread ends, with what ended it: whoever waits for the loop waits for this
        # too, and so never for a thread that is no more.
        self._over: Future[BaseException | None] = Future()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="qis", daemon=True)
        self._thread.start()
        try:
            opened.result()
        except BaseException:  # Ctrl-C too, while it opens: then it has to be left again
            if not opened.cancel():
                self._stop()
            self._thread.join()
            self._events = None
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._events is None or self._thread is None:
            return
        if self._process != os.getpid():  # it goes on in the process that opened it
            return
        self._require_open()
        self._stop()
        self._thread.join()
        self._events = None
        fault = self._over.result()
        if fault is not None and fault is not error:
            raise fault

    def _stop(self) -> None:
        """Have the thread close the loop and end."""
        if self._events is not None and not self._over.done():
            with suppress(RuntimeError):  # it has ended just now
                self._events.call_soon_threadsafe(self._leave.set)

    def publish(
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

        See `qis.SynthesisLoop.publish`, which takes the same arguments.
        """
        return self._do(
            lambda inner: inner.publish(
                outcome,
                about=about,
                subjects=subjects,
                people=people,
                trust_clock=trust_clock,
                reinstate=reinstate,
            )
        )

    def keep(self, outcome: Outcome, *, about: Any) -> None:
        """Use an outcome in the answer for this site, `Synthesis.here`, and nowhere else.

        See `qis.SynthesisLoop.keep`, which takes the same arguments.
        """
        self._ask(lambda inner: inner.keep(outcome, about=about))

    def forget(self, study: Study | bytes | str, cohort: str = "") -> bool:
        """No longer use what is kept under a study and cohort; false if nothing was.

        See `qis.SynthesisLoop.forget`, which takes the same arguments.
        """
        return self._ask(lambda inner: inner.forget(study, cohort))

    def observe(self, record: Any) -> Packet | Pending | None:
        """Distil a record and publish what comes of it; `None` if nothing does.

        See `qis.SynthesisLoop.observe`, which takes the same arguments.
        """
        return self._do(lambda inner: inner.observe(record))

    def retract(
        self,
        study: Study | bytes | str,
        cohort: str = "",
        *,
        reason: str = "withdrawn",
        about: Any = None,
        force: bool = False,
    ) -> Packet:
        """Withdraw what this site has published under a study and cohort, at everybody who got it.

        See `qis.SynthesisLoop.retract`, which takes the same arguments.
        """
        return self._do(
            lambda inner: inner.retract(study, cohort, reason=reason, about=about, force=force)
        )

    def check(self) -> tuple[AccountFinding, ...]:
        """Return what is wrong with the account of what has left; nothing leaves until it is empty.

        See `qis.SynthesisLoop.check`, which takes the same arguments.
        """
        return self._ask(lambda inner: inner.check())

    def settle(
        self, verdict: Literal["restored", "stolen"], *, approver: str
    ) -> tuple[AccountFinding, ...]:
        """Say what happened, after looking at everything that `check` found.

        See `qis.SynthesisLoop.settle`, which takes the same arguments.
        """
        return self._do(lambda inner: inner.settle(verdict, approver=approver))

    def recover_clock(self, *, trust_clock: bool = False) -> tuple[Packet, ...]:
        """Confirm that this machine's date is right, and that of this site's last packets wrong.

        See `qis.SynthesisLoop.recover_clock`, which takes the same arguments.
        """
        return self._do(lambda inner: inner.recover_clock(trust_clock=trust_clock))

    def waiting(self) -> tuple[Pending, ...]:
        """Return the outcomes that wait for approval, oldest first.

        See `qis.SynthesisLoop.waiting`, which takes the same arguments.
        """
        return self._ask(lambda inner: inner.waiting())

    def release(self, pending_id: str, *, approver: str, trust_clock: bool = False) -> Packet:
        """Publish an outcome that waited. The disclosure rules are checked again.

        See `qis.SynthesisLoop.release`, which takes the same arguments.
        """
        return self._do(
            lambda inner: inner.release(pending_id, approver=approver, trust_clock=trust_clock)
        )

    def reject(self, pending_id: str, *, approver: str, reason: str = "") -> None:
        """Drop an outcome that waited for approval; it never leaves the site.

        See `qis.SynthesisLoop.reject`, which takes the same arguments.
        """
        self._do(lambda inner: inner.reject(pending_id, approver=approver, reason=reason))

    def dry_run(
        self,
        outcome: Outcome,
        *,
        about: Any,
        subjects: Subjects | None = None,
        people: int | None = None,
    ) -> DryRun:
        """Return the packet that `publish` would make now, and what an outsider could learn.

        See `qis.SynthesisLoop.dry_run`, which takes the same arguments.
        """
        return self._ask(
            lambda inner: inner.dry_run(outcome, about=about, subjects=subjects, people=people)
        )

    def watch(self, interest: Interest, *, people: int | None = None) -> None:
        """Receive packets of another interest too; it is registered when this returns.

        See `qis.SynthesisLoop.watch`, which takes the same arguments.
        """
        self._do(lambda inner: inner.watch(interest, people=people))

    def unwatch(self, interest: Interest) -> None:
        """Stop receiving packets of an interest; those that came stay.

        See `qis.SynthesisLoop.unwatch`, which takes the same arguments.
        """
        self._do(lambda inner: inner.unwatch(interest))

    def believe(self, roster: Roster) -> None:
        """Judge all evidence by another roster from now on, and synthesise again.

        See `qis.SynthesisLoop.believe`, which takes the same arguments.
        """
        self._ask(lambda inner: inner.believe(roster))

    @property
    def is_synthesising(self) -> bool:
        """True while evidence has changed and its newest synthesis is not there yet."""
        return self._require_open().is_synthesising

    @property
    def statistics(self) -> LoopStatistics:
        """A copy of the counters, as of now."""
        inner = self._require_open()
        if self._over.done():
            return deepcopy(inner.statistics)
        return self._ask(lambda inner: deepcopy(inner.statistics))

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was published is held; false if it is not within `timeout_s` seconds.

        See `qis.SynthesisLoop.flush`, which takes the same arguments.
        """
        return self._do(lambda inner: inner.flush(timeout_s))

    def undelivered(self) -> tuple[Undelivered, ...]:
        """Return the packets that no other site is known to hold, oldest first, and why.

        See `qis.SynthesisLoop.undelivered`, which takes the same arguments.
        """
        return self._ask(lambda inner: inner.undelivered())

    @property
    def health(self) -> Health:
        """The state of the loop and its transport, with the reasons."""
        inner = self._require_open()
        return inner.health if self._over.done() else self._ask(lambda inner: inner.health)

    def join(
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

        See `qis.SynthesisLoop.join`, which takes the same arguments.
        """
        return self._do(
            lambda inner: inner.join(
                study,
                rows,
                about=about,
                cohort=cohort,
                subjects=subjects,
                people=people,
                reinstate=reinstate,
            )
        )

    def latest(self, study: Study | bytes | str) -> Synthesis | FittedModel | None:
        """Return the newest synthesis of a study (given as such, by id or by question), if any.

        See `qis.SynthesisLoop.latest`, which takes the same arguments.
        """
        return self._ask(lambda inner: inner.latest(study))

    @checked
    def syntheses(self, *, timeout_s: float | None = None) -> Iterator[Synthesis]:
        """Each new synthesis; ends when none has come for `timeout_s` seconds (`None`: never).

        It does not end while one is being computed, however long that takes.
        """
        loop, timeout_s = self._require_open(), _limit(timeout_s)
        return self._following(aiter(loop), timeout_s, lambda: loop.is_synthesising)

    @checked
    def models(self, *, timeout_s: float | None = None) -> Iterator[FittedModel]:
        """Each new model; ends when none has come for `timeout_s` seconds (`None`: never).

        It does not end while one is being fitted.
        """
        loop, timeout_s = self._require_open(), _limit(timeout_s)
        return self._following(loop.models(), timeout_s, lambda: loop.is_synthesising)

    @checked
    def matches(self, *, timeout_s: float | None = None) -> Iterator[Match]:
        """Each record that arrives; ends when none has come for `timeout_s` seconds."""
        loop, timeout_s = self._require_open(), _limit(timeout_s)
        return self._following(loop.matches(), timeout_s, lambda: False)

    def _following(
        self,
        fresh: AsyncIterator[Result],
        timeout_s: float | None,
        is_coming: Callable[[], bool],
    ) -> Iterator[Result]:
        async def following() -> Result | None:
            return await anext(fresh, None)

        while True:
            waiting = self._start(following())
            while not self._has_ended(waiting, timeout_s):
                # What was ready just now is given before this ends.
                if not is_coming() and not self._has_ended(waiting, _HANDED_OVER_S):
                    waiting.cancel()
                    return
            found = self._result(waiting)
            if found is None:
                return
            yield found

    def __iter__(self) -> Iterator[Synthesis]:
        return self.syntheses()

    def _run(self, opened: "Future[None]") -> None:
        """Run the event loop in the thread; keep the exception that ended it for the callers."""
        fault: BaseException | None = None
        try:
            with asyncio.Runner() as runner:
                events = runner.get_loop()
                self._leave = asyncio.Event()
                living = events.create_task(self._live(opened))
                while not living.done() and not events.is_closed():
                    try:
                        events.run_until_complete(living)
                    except BaseException as error:  # noqa: BLE001
                        # SystemExit of a callback goes past the tasks: close what is open.
                        fault = fault or error
                        self._leave.set()
        except BaseException as error:  # noqa: BLE001
            fault = fault or error
        finally:
            if not opened.done():
                opened.set_exception(fault or RuntimeError("the loop did not open"))
            self._over.set_result(fault)

    async def _live(self, opened: "Future[None]") -> None:
        async with self._make() as self._loop:
            self._events = asyncio.get_running_loop()
            if opened.set_running_or_notify_cancel():
                opened.set_result(None)
                await self._leave.wait()

    def _do(self, what: Callable[[loop.SynthesisLoop], Awaitable[Result]]) -> Result:
        inner = self._require_open()

        async def doing() -> Result:
            return await what(inner)

        waiting = self._start(doing())
        try:
            self._has_ended(waiting, None)
        except BaseException:  # Ctrl-C: what its caller has given up does not happen later
            waiting.cancel()
            raise
        return self._result(waiting)

    def _start(self, what: Coroutine[Any, Any, Result]) -> "Future[Result]":
        try:
            self._require_open()
            if self._events is None or self._over.done():
                raise RuntimeError  # noqa: TRY301  as the event loop would
            return asyncio.run_coroutine_threadsafe(what, self._events)
        except RuntimeError:  # the event loop is closed
            what.close()
            raise self._end() from None
        except InputError:
            what.close()
            raise

    def _has_ended(self, waiting: "Future[Any]", timeout_s: float | None) -> bool:
        """Wait for a result or for the thread's end; true if either came within `timeout_s`."""
        wait({waiting, self._over}, timeout_s, FIRST_COMPLETED)
        return waiting.done() or self._over.done()

    def _result(self, ended: "Future[Result]") -> Result:
        if not ended.done():  # and never will be: the thread is gone
            raise self._end()
        try:
            return ended.result()
        except CancelledError:
            raise self._end() from None

    def _end(self) -> BaseException:
        """Return the exception for a call that was cut off by the end of the loop."""
        fault = self._over.result()
        return (
            InputError("the loop was left during the call", field="loop")
            if fault is None
            else fault
        )

    def _ask(self, what: Callable[[loop.SynthesisLoop], Result]) -> Result:
        async def asking(inner: loop.SynthesisLoop) -> Result:
            return what(inner)

        return self._do(asking)

    def _require_open(self) -> loop.SynthesisLoop:
        """Return the loop; raises `InputError` where and when it may not be called."""
        if threading.current_thread() is self._thread:
            raise InputError(
                "this is the loop's own thread, which would wait for itself for ever: a callback "
                "(on_event, approve, distil) hands over to another thread, by a queue.Queue say, "
                "and that one calls the loop",
                field="loop",
            )
        if self._events is None or self._loop is None:
            raise InputError("the loop is not open: use it in 'with'", field="loop")
        if self._process != os.getpid():
            raise self._forked()
        return self._loop

    def _forked(self) -> InputError:
        return InputError(
            f"the loop lives in a thread of process {self._process}, and this one "
            f"({os.getpid()}) was forked from it without that thread: open a loop in one "
            "process only, after forking, or start processes with 'spawn'",
            field="loop",
            actual=os.getpid(),
            limit=self._process,
        )

    def __repr__(self) -> str:
        # The loop and its store belong to another thread, which nobody should wait for here.
        return f"<blocking SynthesisLoop, {'closed' if self._events is None else 'open'}>"

    def _repr_html_(self) -> str:
        if self._events is None:
            return "<p>blocking SynthesisLoop, closed</p>"
        return self._ask(lambda inner: inner._repr_html_())


class SiteLoop(SynthesisLoop):
    """`qis.site.SiteLoop` in a thread of its own; made by `open_site`."""

    def __init__(self, path: str | PathLike[str], **options: Any) -> None:
        from qis.site import open_site as opened  # noqa: PLC0415  for those who have such a file

        # Not as the base does it: the files are opened on entry.
        self._make = lambda: opened(path, **options)
        self._begin()

    def metrics(self) -> str:
        """Counters and health as OpenMetrics text (docs/operating.md lists the names)."""
        return self._ask(lambda inner: _site(inner).metrics())

    def write_metrics(self, path: str | PathLike[str]) -> None:
        """Write `metrics` to a file, whole or not at all, as node_exporter's textfile wants it.

        See `qis.site.SiteLoop.write_metrics`, which takes the same arguments.
        """
        self._ask(lambda inner: _site(inner).write_metrics(path))

    def report(self, path: str | PathLike[str]) -> None:
        """Write what this site has published, received, refused and concluded, for its people.

        See `qis.site.SiteLoop.report`, which takes the same arguments.
        """
        self._ask(lambda inner: _site(inner).report(path))


def _limit(timeout_s: float | None) -> float | None:
    """A limit that threads can wait for; `None` is none."""
    if timeout_s is None:
        return None
    return real_number(timeout_s, "timeout_s", 0.0, _LONGEST_S)


def _site(inner: loop.SynthesisLoop) -> "opening.SiteLoop":
    return cast("opening.SiteLoop", inner)  # it was made by `open_site`


@checked
def open_site(path: str | PathLike[str], **options: Any) -> SiteLoop:
    """Open a site's file as `qis.open_site` does, for use in ``with``.

    The files are opened on entry; `options` are those of `qis.open_site`.
    """
    return SiteLoop(path, **options)
