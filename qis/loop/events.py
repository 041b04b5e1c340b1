"""Events of a loop, told to the log, the counters and a callback."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from qis._guard import Guard
from qis.health import Notice, Notices
from qis.packet import Packet
from qis.picture.html import HasTable
from qis.synthesis import Synthesis

EventKind = Literal[
    "opened",
    "closed",
    "failed",
    "waiting",
    "refused",
    "rejected",
    "published",
    "retracted",
    "republished",
    "unsent",
    "sent",
    "expired",
    "set_aside",
    "replaced",
    "received",
    "equivocation",
    "synthesised",
    "unsynthesised",
    "modelled",
    "fault",
    "health",
    "limit",
    "refusal",
    "foreign_use",
    "account",
    "audit_head",
]
EVENT_KINDS: Final[dict[EventKind, tuple[int, str]]] = {
    "opened": (logging.INFO, "the loop is open"),
    "closed": (logging.INFO, "the loop is closed"),
    "failed": (logging.ERROR, "the loop has ended"),
    "waiting": (logging.INFO, "an outcome waits for its release"),
    "refused": (logging.WARNING, "an outcome stays at the site"),
    "rejected": (logging.INFO, "a waiting outcome was rejected"),
    "published": (logging.INFO, "an outcome was signed and is on its way"),
    "retracted": (logging.INFO, "a withdrawal was signed and is on its way"),
    "republished": (logging.INFO, "a synthesis was signed and is on its way"),
    "unsent": (logging.WARNING, "the network does not take a packet; it is tried again"),
    "sent": (logging.DEBUG, "another site holds a packet under each of its routing keys"),
    "expired": (logging.WARNING, "a packet expired before another site held it, and is let go"),
    "replaced": (logging.INFO, "a newer version replaced a packet before another site held it"),
    "set_aside": (logging.WARNING, "an own packet with a wrong date was set aside: publish anew"),
    "received": (logging.DEBUG, "a packet came in"),
    "equivocation": (logging.ERROR, "a key has signed two contents under one sequence"),
    "synthesised": (logging.INFO, "a new synthesis"),
    "unsynthesised": (logging.WARNING, "a study cannot be synthesised"),
    "modelled": (logging.INFO, "a new model"),
    "fault": (logging.ERROR, "something that came in failed and was set aside; the rest goes on"),
    "health": (logging.WARNING, "the state of the network or of the loop has changed"),
    "limit": (logging.WARNING, "a limit was reached, and somebody loses by it"),
    "refusal": (logging.WARNING, "others refuse what this site sends, or this site refuses others"),
    "foreign_use": (logging.ERROR, "a packet of this site's key that this site never made"),
    "account": (logging.ERROR, "the account of what has left is in doubt, and nothing leaves"),
    "audit_head": (logging.INFO, "the newest head of the audit log, to be kept elsewhere"),
}
"""Every kind of event, with the level at which it is logged and what it means."""

_log = logging.getLogger("qis.loop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(HasTable):
    """Something that happened in a loop. Fields that do not belong to its kind are empty.

    Parameters
    ----------
    kind
        One of `EVENT_KINDS`.
    at
        Unix seconds, by the loop's clock.
    study_id
        Id of the study concerned.
    packet
        The packet concerned.
    pending_id
        Id of the outcome that waits, waited, or was rejected.
    synthesis
        The new synthesis.
    reason
        The store's verdict, a rule's name, or an error, in words.
    remaining
        With "sent": number of packets that no other site is known to hold yet.
    subject
        With "fault", "health", "limit" and "refusal": what it is about (`qis.health.Notice`).
    count
        With the same: how often it has happened. It is told at the 1st, 10th, 100th … time.

    Examples
    --------
    >>> import qis
    >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=2)
    >>> def show(event: qis.Event) -> None:
    ...     print(event.kind, event.reason)
    >>> transport = qis.MemoryTransport(qis.MemoryNetwork(), key)
    >>> loop = qis.SynthesisLoop(
    ...     key, transport, scheme, interest=scheme.interest([1.0, 2.0]), on_event=show
    ... )

    """

    kind: EventKind
    at: float
    study_id: bytes = b""
    packet: Packet | None = None
    pending_id: str = ""
    synthesis: Synthesis | None = None
    reason: str = ""
    remaining: int = 0
    subject: str = ""
    count: int = 0

    @property
    def sentence(self) -> str:
        """What happened, in a sentence."""
        return EVENT_KINDS[self.kind][1]

    def fields(self) -> dict[str, object]:
        """Return the fields as plain values, by the names that a log record carries them under."""
        found: dict[str, object] = {
            "qis_event": self.kind,
            "qis_at": self.at,
            "qis_study": self.study_id.hex(),
            "qis_packet": "" if self.packet is None else self.packet.id.hex(),
            "qis_issuer": "" if self.packet is None else str(self.packet.issuer),
            "qis_pending": self.pending_id,
            "qis_synthesis": "" if self.synthesis is None else self.synthesis.digest.hex(),
            "qis_reason": self.reason,
            "qis_subject": self.subject,
            "qis_count": self.count or "",
            "qis_remaining": self.remaining if self.kind == "sent" else "",
        }
        return {name: value for name, value in found.items() if value != ""}


@dataclass(slots=True)
class LoopStatistics(HasTable):
    """What a loop has done since it was made.

    `admissions` counts the packets that arrived by the store's verdict; `refused` the outcomes
    kept back here by rule; `failures` the syntheses that raised, by the name of the error; `events`
    all events by kind; `callback_failures` the errors that `on_event` raised.

    Examples
    --------
    >>> import qis
    >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=2)
    >>> transport = qis.MemoryTransport(qis.MemoryNetwork(), key)
    >>> loop = qis.SynthesisLoop(key, transport, scheme, interest=scheme.interest([1.0, 2.0]))
    >>> loop.statistics.published
    0

    """

    published: int = 0
    received: int = 0
    synthesised: int = 0
    admissions: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    callback_failures: int = 0


class Announcer:
    """Tells events to all listeners; its `guard` contains exceptions of the loop's parts.

    Parameters
    ----------
    clock
        Gives Unix seconds.
    callback
        Called with every event, in the loop's thread. What it raises is contained, counted and
        told as an event "fault".

    """

    def __init__(
        self, clock: Callable[[], float], callback: Callable[[Event], object] | None
    ) -> None:
        self.statistics = LoopStatistics()
        self.notices = Notices(None)  # without a log: `relay` logs each notice as an event
        self.notices.listen(self.relay)
        self.guard = Guard(self.notices)
        self._clock = clock
        self._callback = callback

    def relay(self, notice: Notice) -> None:
        """Tell a notice of a transport, a store or a part of the loop as an event."""
        if notice.kind in EVENT_KINDS:
            self.tell(
                notice.kind,
                reason=notice.reason,
                subject=notice.subject,
                count=notice.count,
            )

    def tell(
        self,
        kind: EventKind,
        *,
        study_id: bytes = b"",
        packet: Packet | None = None,
        pending_id: str = "",
        synthesis: Synthesis | None = None,
        reason: str = "",
        remaining: int = 0,
        subject: str = "",
        count: int = 0,
    ) -> None:
        """Log and count an event, and hand it to the callback. The parameters are `Event`'s."""
        level, sentence = EVENT_KINDS[kind]
        self.statistics.events[kind] += 1
        if self._callback is None and not _log.isEnabledFor(level):
            return
        if packet is not None and not study_id:
            study_id = packet.outcome.study_id
        event = Event(
            kind=kind,
            at=self._clock(),
            study_id=study_id,
            packet=packet,
            pending_id=pending_id,
            synthesis=synthesis,
            reason=reason,
            remaining=remaining,
            subject=subject,
            count=count,
        )
        about = packet or synthesis or pending_id or study_id.hex() or subject or "-"
        _log.log(
            level, "%s: %s%s", sentence, about, reason and f" ({reason})", extra=event.fields()
        )
        if self._callback is None:
            return
        # A fault here is itself an event, told at the 1st, 10th … time only, so this ends.
        with self.guard.item("loop.on_event") as item:
            self._callback(event)
        self.statistics.callback_failures += item.failed
