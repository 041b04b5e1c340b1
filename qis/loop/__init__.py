"""The loop: publish outcomes, take in those of others, synthesise again when they change."""

from qis.loop.approval import Approval, Pending
from qis.loop.dry_run import DryRun
from qis.loop.events import EVENT_KINDS, Event, LoopStatistics
from qis.loop.matches import Match
from qis.loop.outbox import Outbox
from qis.loop.sender import Undelivered
from qis.loop.synthesis_loop import SynthesisLoop

__all__ = [
    "EVENT_KINDS",
    "Approval",
    "DryRun",
    "Event",
    "LoopStatistics",
    "Match",
    "Outbox",
    "Pending",
    "SynthesisLoop",
    "Undelivered",
]
