"""Opens and closes a loop: outbox, transport, what is resumed, and interests, in this order."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack, closing
from types import TracebackType
from typing import Self

from qis.about import Interest
from qis.account.account import beside_key
from qis.errors import InputError
from qis.health import Condition, Health, HealthReason, HealthState, Notices, together
from qis.identity import Identity
from qis.loop._parts import Options, Parts
from qis.loop.events import Announcer
from qis.loop.outbox import Outbox


class Lifecycle:
    """An async context manager around the parts of a loop.

    Parameters
    ----------
    options
        The arguments of `qis.SynthesisLoop`, completed by defaults.
    interests
        What to receive from the beginning, studies included.
    interest_people
        How many people's features the interests are made from; 0 if they describe nobody.
    outbox
        `None`: the account beside the key's file, if it is in one; else one in memory, while the
        loop is open.
    announcer
        Tells events to the log, the counters and the callback.

    """

    def __init__(
        self,
        options: Options,
        *,
        interests: tuple[Interest, ...],
        interest_people: int | None,
        outbox: Outbox | None,
        announcer: Announcer,
    ) -> None:
        self.store = options.store
        self._options = options
        self._interests = interests
        self._interest_people = interest_people
        self._outbox = outbox
        self._announcer = announcer
        notices = Notices(None)  # the announcer logs
        notices.listen(announcer.relay)
        self._condition = Condition(notices, now=options.clock())
        self._since = options.clock()
        self._parts: Parts | None = None
        self._closing: AsyncExitStack | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._options.disclosure.check_roster(self.store.roster)
        for interest in self._interests:
            self._check_interest(interest, self._interest_people)
        async with AsyncExitStack() as closing_later:
            identity = self._options.identity
            if self._outbox is None:
                outbox = closing_later.enter_context(closing(self._outbox_of(identity)))
            else:
                outbox = self._outbox
            closing_later.enter_context(outbox.claimed(identity.issuer, key_path=identity.path))
            if outbox.path is not None and not outbox.account.is_over:
                self._options.disclosure.move_to(outbox.account)
            transport = self._options.transport
            closing_later.callback(transport.notices.listen(self._announcer.relay))
            was_open = transport.is_open
            if not was_open:
                await closing_later.enter_async_context(transport)
            parts = Parts(self._options, outbox, self._announcer, self._condition)
            closing_later.push_async_callback(parts.intake.aclose)
            parts.models.is_open = lambda: self._parts is parts and self._running is not None
            parts.begin()
            parts.resume()
            for interest in self._interests:
                await parts.intake.watch(interest)
            self._closing = closing_later.pop_all()
        self._parts = parts
        self._running = asyncio.create_task(parts.run())
        self._running.add_done_callback(self._ended)
        self._since = self._options.clock()
        self._announcer.tell("opened")
        # What a transport said before the loop listened would reach nobody.
        for reason in transport.health.reasons if was_open else ():
            self._announcer.tell("health", subject=reason.code, reason=reason.text, count=1)
        return self

    def _outbox_of(self, identity: Identity) -> Outbox:
        """Return the outbox of a loop that was given none.

        A key that outlives the process has an account that does too: the next process must know
        what this one has released.
        """
        if identity.path is None:
            return Outbox()
        path, witness = beside_key(identity)
        if witness is None:
            reason = (
                f"{path.parent} cannot be written to, so what is released is forgotten when the "
                "loop closes, and the next one does not compare with it: give outbox=, on disk"
            )
            self._announcer.tell("limit", subject="account", reason=reason, count=1)
            return Outbox()
        return Outbox(path)

    @property
    def health(self) -> Health:
        """The state of the loop and its transport, with all reasons, the worst first.

        `CLOSED` before it is opened, after it is closed, and after it has failed. Changes are
        events of the kind "health"; docs/operating.md says what each reason means.
        """
        if self._running is None:
            return Health(state=HealthState.CLOSED, since=self._since)
        if self._running.done():
            failed = HealthReason(
                code="failed",
                state=HealthState.CLOSED,
                text=f"the loop has ended: {_alone(self._fault())}",
                since=self._since,
            )
            return Health(state=HealthState.CLOSED, since=self._since, reasons=(failed,))
        return together(self._condition.health, self._options.transport.health)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running, self._running = self._running, None
        closing_now, self._closing = self._closing, None
        if running is None or closing_now is None:
            return
        running.cancel()
        if self._parts is not None and (unsent := self._parts.outbox.unsent):
            fate = (
                "lost with the process"
                if self._parts.outbox.path is None
                else "sent when it opens again"
            )
            self._announcer.tell("unsent", reason=f"closing with {unsent} unsent, {fate}")
        async with closing_now:
            await asyncio.wait([running])
            await asyncio.sleep(0)  # so that the end has been told
            self._parts = None
        self._since = self._options.clock()
        self._announcer.tell("closed")
        if not running.cancelled() and (fault := running.exception()) is not None:
            raise _alone(fault)

    def _ended(self, running: "asyncio.Task[None]") -> None:
        if not running.cancelled():
            self._since = self._options.clock()
            self._announcer.tell("failed", reason=str(_alone(running.exception())))
        if self._parts is not None:
            self._parts.syntheses.newest.wake()
            self._parts.models.newest.wake()
            self._parts.intake.matches.wake()

    def _fault(self) -> BaseException | None:
        """Return the exception that ended the loop by itself, if one did."""
        running = self._running
        return None if running is None or running.cancelled() else running.exception()

    def _check_interest(self, interest: Interest, people: int | None) -> None:
        options = self._options
        options.disclosure.check_interest(
            interest,
            options.scheme,
            people=people,
            leaves_machine=options.transport.leaves_machine,
        )

    async def _with_room(self) -> Parts:
        """Wait until the outbox can take another packet; returns the parts of the open loop."""
        parts = self._require_open()
        while parts.sender.is_full:
            await self._while_running(parts.sender.room())
        return parts

    async def _while_running(self, what: Awaitable[None]) -> None:
        """Wait for something that only an open loop does; raise if the loop ends before."""
        waiting = asyncio.ensure_future(what)
        running = self._running
        try:
            if running is not None:
                await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        self._require_open()

    def _require_open(self) -> Parts:
        if self._running is None or self._parts is None:
            raise InputError("the loop is not open: use it in 'async with'", field="loop")
        if self._running.done():
            raise _alone(self._fault())
        return self._parts

    def __repr__(self) -> str:
        health = self.health
        why = f" ({health.reasons[0].code})" if health.reasons else ""
        return (
            f"<{type(self).__name__} of {str(self._options.identity.issuer)[:16]}, "
            f"{health.state.value}{why}, {len(self._interests)} interests, {self.store!r}>"
        )

    def _repr_html_(self) -> str:
        from qis.picture.html import table_of  # noqa: PLC0415  for people only

        health, unsent = self.health, "" if self._outbox is None else str(self._outbox.unsent)
        rows = [
            ("loop of", str(self._options.identity.issuer)),
            ("health", health.state.value),
            *((reason.code, reason.text) for reason in health.reasons),
            ("studies", ", ".join(study.question for study in self._options.studies.values())),
            ("interests", str(len(self._interests))),
            ("store", repr(self.store)),
            ("transport", repr(self._options.transport)),
            ("unsent", unsent),
        ]
        return table_of((name, value) for name, value in rows if value)


def _alone(fault: BaseException | None) -> BaseException:
    """Unwrap an exception group whose errors are all the same."""
    while isinstance(fault, BaseExceptionGroup):
        first, *others = fault.exceptions
        if any((type(each), str(each)) != (type(first), str(first)) for each in others):
            break
        fault = first
    return asyncio.CancelledError() if fault is None else fault
