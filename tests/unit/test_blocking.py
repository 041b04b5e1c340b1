"""The loop in its own thread: no call waits for what can never come, no end goes unseen."""

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress

import pytest

import qis
from qis import blocking
from qis.errors import InputError, StorageError
from qis.loop import Outbox, syntheses

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
QUESTION = "beta blocker vs none | 30-day death"


def effect():
    return qis.Effect(question=QUESTION, measure="OR", estimate=-0.4, standard_error=0.1, n=400)


def opened(**options):
    identity = qis.Identity.from_seed(bytes(32))
    options = {"disclosure": qis.Disclosure.preset("none"), **options}
    return blocking.SynthesisLoop(
        identity,
        qis.MemoryTransport(qis.MemoryNetwork(), identity),
        SCHEME,
        interest=SCHEME.interest(ABOUT),
        **options,
    )


class Broken(Outbox):
    """Gives nothing to send any more, once told to: what goes out fails closed."""

    is_broken = False

    def queued(self, *arguments, **options):
        if self.is_broken:
            raise StorageError("disk full")
        return super().queued(*arguments, **options)


CALLS = {
    "publish": lambda loop: loop.publish(effect(), about=ABOUT),
    "observe": lambda loop: loop.observe(1),
    "retract": lambda loop: loop.retract(QUESTION),
    "waiting": lambda loop: loop.waiting(),
    "release": lambda loop: loop.release("0" * 16, approver="Dr Grey"),
    "reject": lambda loop: loop.reject("0" * 16, approver="Dr Grey"),
    "dry_run": lambda loop: loop.dry_run(effect(), about=ABOUT),
    "watch": lambda loop: loop.watch(SCHEME.interest(ABOUT)),
    "unwatch": lambda loop: loop.unwatch(SCHEME.interest(ABOUT)),
    "believe": lambda loop: loop.believe(qis.Roster.open()),
    "flush": lambda loop: loop.flush(1.0),
    "undelivered": lambda loop: loop.undelivered(),
    "latest": lambda loop: loop.latest(QUESTION),
    "matches": lambda loop: next(loop.matches(timeout_s=1.0)),
    "syntheses": lambda loop: next(loop.syntheses(timeout_s=1.0)),
}


def distilled(record):
    return effect(), ABOUT


def test_every_call_goes_through_the_same_gate():
    """What is not among `CALLS` at least names what all calls go through."""
    for name, member in vars(blocking.SynthesisLoop).items():
        if not name.startswith("_") and name not in CALLS:
            code = inspect.unwrap(getattr(member, "fget", member)).__code__
            assert {"_do", "_ask", "_require_open"} & set(code.co_names), name


@pytest.fixture
def outbox():
    with Broken() as made:
        yield made


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_ended_the_loop_is_raised_by_every_call_and_on_leaving(call, outbox):
    ended = threading.Event()
    loop = opened(
        outbox=outbox,
        distil=distilled,
        on_event=lambda event: ended.set() if event.kind == "failed" else None,
    )
    with pytest.raises(StorageError, match="disk full"), loop:  # noqa: PT012  raised on leaving
        loop.publish(effect(), about=ABOUT)
        outbox.is_broken = True
        with suppress(StorageError):  # ended already?
            loop.publish(effect(), about=ABOUT)
        assert ended.wait(30)
        with pytest.raises(StorageError, match="disk full"):
            call(loop)
        assert loop.statistics.published >= 1
    with pytest.raises(InputError, match="not open"):
        call(loop)


def test_what_ended_the_loop_is_raised_on_leaving_beside_what_went_wrong_there(outbox):
    ended = threading.Event()
    loop = opened(
        outbox=outbox, on_event=lambda event: ended.set() if event.kind == "failed" else None
    )
    with pytest.raises(StorageError, match="disk full") as caught, loop:  # noqa: PT012  raised on leaving
        outbox.is_broken = True
        loop.publish(effect(), about=ABOUT)
        assert ended.wait(30)
        raise KeyError("mine")
    assert isinstance(caught.value.__context__, KeyError)


def test_an_exit_in_a_callback_ends_the_thread_and_reaches_the_caller():
    told = threading.Event()

    def leave(event):
        if event.kind == "synthesised":
            told.set()
            sys.exit("enough")

    with pytest.raises(SystemExit, match="enough"), opened(on_event=leave) as loop:  # noqa: PT012  raised on leaving
        with suppress(SystemExit):
            loop.publish(effect(), about=ABOUT)
        assert told.wait(30)
        for call in (CALLS["publish"], CALLS["latest"], CALLS["syntheses"]):
            with pytest.raises(SystemExit, match="enough"):
                call(loop)
        assert loop.statistics.published == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_from_the_loop_s_own_callback_is_refused(call):
    refused = []

    def listen(event):
        if event.kind == "published":
            for attempt in (
                call,
                lambda inner: inner.statistics,
                lambda inner: inner.__exit__(None, None, None),
            ):
                with pytest.raises(InputError, match="own thread") as caught:
                    attempt(loop)
                refused.append(caught.value)

    def ask(pending):
        with pytest.raises(InputError, match="own thread"):
            call(loop)
        return True

    loop = opened(on_event=listen, approve=ask)
    with loop:
        loop.publish(effect(), about=ABOUT)
        assert loop.statistics.callback_failures == 0
    assert len(refused) == 3


def test_a_loop_that_is_open_is_not_opened_again():
    with opened() as loop:
        with pytest.raises(InputError, match="open already"):
            loop.__enter__()
        loop.publish(effect(), about=ABOUT)
    with loop:  # once left, it may be
        loop.publish(effect(), about=ABOUT)


FORKING = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_blocking import *
loop = opened(distil=distilled)
with loop:
    loop.publish(effect(), about=ABOUT)
    reader = iter(loop)
    next(reader)
    child = os.fork()
    if not child:
        calls = {
            **CALLS,
            "statistics": lambda loop: loop.statistics,
            "next": lambda loop: next(reader),
            "enter": lambda loop: loop.__enter__(),
        }
        for name, call in calls.items():
            try:
                call(loop)
            except InputError as error:
                assert "forked" in str(error), error
                assert error.limit == os.getppid()
            else:
                os._exit(1)
        loop.__exit__(None, None, None)  # closes nothing of the parent's
        with suppress(InputError):  # its transport is the parent's too
            loop.__enter__()
            os._exit(2)
        with opened() as own:
            own.publish(effect(), about=ABOUT)
        os._exit(42)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    loop.publish(effect(), about=ABOUT)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_call_in_a_forked_process_is_refused_and_hangs_never():
    here = os.path.dirname(__file__)  # noqa: PTH120  goes into argv
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, here],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout == "done\n", found.stderr


class Slow(qis.MemoryTransport):
    """Opens when it is told to."""

    def __init__(self, go_on):
        super().__init__(qis.MemoryNetwork(), qis.Identity.from_seed(bytes(32)))
        self.go_on, self.is_begun, self.is_closed = go_on, threading.Event(), threading.Event()

    @property
    def is_open(self):
        return False

    async def __aenter__(self):
        self.is_begun.set()
        while not self.go_on.is_set():  # noqa: ASYNC110  turns, no time
            await asyncio.sleep(0)
        return self

    async def aclose(self):
        self.is_closed.set()
        await super().aclose()


@pytest.mark.parametrize("is_late", [False, True])
def test_an_interrupt_while_it_opens_leaves_it_closed_and_waits_for_nothing(is_late, monkeypatch):
    go_on = threading.Event()
    transport = Slow(go_on)

    class Interrupted(Future):
        def result(self, timeout=None):
            assert transport.is_begun.wait(20)
            if is_late:
                go_on.set()
                super().result(20)
            threading.Timer(0.0, go_on.set).start()
            raise KeyboardInterrupt

    made = [Interrupted, Future]  # the first is that for the opening
    monkeypatch.setattr(blocking, "Future", type("F", (), {"__new__": lambda _: made.pop(0)()}))
    loop = blocking.SynthesisLoop(
        qis.Identity.from_seed(bytes(32)),
        transport,
        SCHEME,
        interest=SCHEME.interest(ABOUT),
        disclosure=qis.Disclosure.preset("none"),
    )
    ended = threading.Event()

    def entering():
        with pytest.raises(KeyboardInterrupt), loop:
            pass
        ended.set()

    threading.Thread(target=entering, daemon=True).start()
    assert ended.wait(20)
    assert transport.is_closed.is_set()


def test_waiting_for_syntheses_does_not_end_while_one_is_being_computed(monkeypatch):
    """A nightly job waits until nothing new comes; it left without what took longer than that."""
    may_end = threading.Event()
    made, busy = syntheses.synthesise, qis.SynthesisLoop.is_synthesising.fget
    asked = []

    def slow(*arguments, **options):
        assert may_end.wait(30.0)
        return made(*arguments, **options)

    def counted(loop):
        asked.append(busy(loop))
        if len(asked) == 3:
            may_end.set()
        return asked[-1]

    monkeypatch.setattr(syntheses, "synthesise", slow)
    monkeypatch.setattr(qis.SynthesisLoop, "is_synthesising", property(counted))
    counts = qis.Counts(
        events=31, total=212, control_events=44, control_total=205, question=QUESTION
    )
    with opened() as loop:
        loop.publish(counts, about=ABOUT)
        (found,) = loop.syntheses(timeout_s=0.001)
    assert found.question == QUESTION
    assert asked[:3] == [True] * 3
    assert not asked[-1]
