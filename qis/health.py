"""What a part tells of itself: how it is, and what happened to it that somebody has to know.

A `Notice` is one thing that happened: a contained fault, a reached limit, a refusal, a change of
health. `Notices` tells each (kind, subject) once in full and afterwards at every tenfold count, so
that a flood of one thing hides no other. `Health` is a state with its reasons.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

SUBJECTS_LIMIT: Final = 4_096
"""Subjects of one kind that are counted apart. A stranger may choose whom one names, after
": ", so beyond these only what comes before is counted apart, with `OTHERS` for the name, and
beyond twice as many nothing."""
OTHERS: Final = "others"
_log = logging.getLogger("qis.health")


class HealthState(Enum):
    """The state of a part, from best to worst.

    Examples
    --------
    >>> import qis
    >>> [state.value for state in qis.HealthState]
    ['ok', 'degraded', 'cut off', 'closed']

    """

    OK = "ok"
    DEGRADED = "degraded"
    CUT_OFF = "cut off"
    CLOSED = "closed"


_SEVERITY: Final = {state: rank for rank, state in enumerate(HealthState)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReason:
    """One reason for the state of a part.

    Parameters
    ----------
    code
        A short fixed word, the same in every language and version; the operators' page lists them.
    state
        The state that this reason alone causes.
    text
        Cause and remedy in words.
    since
        Unix seconds.

    """

    code: str
    state: HealthState
    text: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A state, the reasons for it (worst first), and since when (Unix seconds).

    Examples
    --------
    >>> import qis
    >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=2)
    >>> transport = qis.MemoryTransport(qis.MemoryNetwork(), key)
    >>> loop = qis.SynthesisLoop(key, transport, scheme, interest=scheme.interest([1.0, 2.0]))
    >>> loop.health.state.value, loop.health.reasons
    ('closed', ())

    """

    state: HealthState
    since: float
    reasons: tuple[HealthReason, ...] = ()

    def __str__(self) -> str:
        return "; ".join([self.state.value, *(reason.text for reason in self.reasons)])

    def _repr_html_(self) -> str:
        from qis.picture.html import paragraphs_of  # noqa: PLC0415  for people only

        return paragraphs_of("\n".join([self.state.value, *(each.text for each in self.reasons)]))


def together(*parts: Health) -> Health:
    """The health of a whole: the worst state, since when it holds, and the reasons of all."""
    worst = max(parts, key=lambda part: _SEVERITY[part.state])
    reasons = sorted(
        (reason for part in parts for reason in part.reasons),
        key=lambda reason: -_SEVERITY[reason.state],
    )
    since = min(part.since for part in parts if part.state is worst.state)
    return Health(state=worst.state, since=since, reasons=tuple(reasons))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened to a part.

    Parameters
    ----------
    kind
        "fault", "limit", "refusal" or "health"; the loop gives an `Event` of the same name.
    subject
        What it is about: a seam, a row of a table of limits, a peer, a reason's code.
    reason
        What happened, in words.
    count
        How often this (kind, subject) has happened by now.

    """

    kind: str
    subject: str
    reason: str
    count: int = 1


class Notices:
    """Counts what happens and tells listeners, each (kind, subject) at its 1st, 10th, 100th … time.

    Parameters
    ----------
    log
        Where each notice that is told is logged too; `None`: its listeners log.

    """

    def __init__(self, log: logging.Logger | None) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._subjects: Counter[str] = Counter()
        self._log = log
        self._listeners: list[Callable[[Notice], object]] = []

    def listen(self, listener: Callable[[Notice], object]) -> Callable[[], None]:
        """Call `listener` with every notice told from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def tell(
        self,
        kind: str,
        subject: str,
        reason: str,
        *,
        level: int = logging.WARNING,
        times: int = 1,
        always: bool = False,
    ) -> None:
        """Tell that something has happened, `times` times since this was last called.

        With `always` it is told whatever the count: for changes, each of which says something new.
        """
        key = self._key(kind, subject)
        before = self.counts[key]
        self.counts[key] = count = before + times
        # Told when the number of digits grows: at 1, 10, 100 …
        if not always and before and len(str(before)) == len(str(count)):
            return
        notice = Notice(kind=kind, subject=key[1], reason=reason, count=count)
        if self._log is not None:
            self._log.log(level, "%s: %s: %s (%d)", kind, notice.subject, reason, count)
        for listener in list(self._listeners):
            try:
                listener(notice)
            except Exception:  # noqa: BLE001  a listener that fails must not end whoever tells it
                (self._log or _log).exception("a listener failed on a notice of kind %r", kind)

    def _key(self, kind: str, subject: str) -> tuple[str, str]:
        """Choose what is counted: bounded per kind, so that strangers' names hide no fault."""
        key, known = (kind, subject), self._subjects[kind]
        if key not in self.counts and known >= SUBJECTS_LIMIT:
            what, colon, _ = subject.partition(": ")
            key = (kind, what + colon + OTHERS if colon else subject)
            if key not in self.counts and known >= 2 * SUBJECTS_LIMIT:
                key = (kind, OTHERS)
        self._subjects[kind] += key not in self.counts
        return key


class Condition:
    """The reasons that hold now, and the state that results; each change of it is told.

    Parameters
    ----------
    notices
        Who is told, with kind "health".
    now
        Unix seconds.
    state
        The state without any reason.

    """

    def __init__(
        self, notices: Notices, *, now: float, state: HealthState = HealthState.OK
    ) -> None:
        self._notices = notices
        self._base = state
        self._since = now
        self._reasons: dict[str, HealthReason] = {}

    @property
    def health(self) -> Health:
        """The state now, the worst that a reason causes, with all reasons."""
        reasons = sorted(self._reasons.values(), key=lambda each: -_SEVERITY[each.state])
        return Health(state=self._state, since=self._since, reasons=tuple(reasons))

    @property
    def _state(self) -> HealthState:
        states = [self._base, *(reason.state for reason in self._reasons.values())]
        return max(states, key=_SEVERITY.__getitem__)

    def rest(self, state: HealthState, *, now: float) -> None:
        """Set the state without any reason: `OK` once open, `CLOSED` once closed."""
        before, self._base = self._state, state
        self._changed(before, "", now)

    def set(self, code: str, state: HealthState, text: str, *, now: float) -> None:
        """Add a reason; one that holds already keeps its `since`."""
        before, known = self._state, self._reasons.get(code)
        since = known.since if known is not None and known.state is state else now
        self._reasons[code] = HealthReason(code=code, state=state, text=text, since=since)
        if known is None or known.state is not state:
            self._changed(before, text, now, code=code)

    def clear(self, code: str, *, now: float) -> None:
        """Remove a reason, if it holds."""
        if code in self._reasons:
            before = self._state
            del self._reasons[code]
            self._changed(before, f"{code}: over", now, code=code)

    def _changed(self, before: HealthState, text: str, now: float, *, code: str = "") -> None:
        state = self._state
        if state is not before:
            self._since = now
        elif not code:
            return
        level = logging.INFO if state is HealthState.OK else logging.WARNING
        subject = code or state.value
        self._notices.tell("health", subject, text or state.value, level=level, always=True)
