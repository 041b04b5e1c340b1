"""What a node in direct mode tells whoever drives it, and what that one answers."""

from enum import Enum, auto
from typing import NamedTuple

from qis.overlay.message_store import Carried
from qis.refusals import RefusalCode


class Received(NamedTuple):
    """A packet has come and waits to be judged; nothing of it is verified."""

    sender: bytes
    number: int
    packet: bytes
    hops: int


class RefusedBy(NamedTuple):
    """A member refuses a packet of this site."""

    member: bytes
    code: int


class Judgement(Enum):
    """What a packet that has come was judged to be."""

    KEPT = auto()
    """New and valid: kept for others."""
    KNOWN = auto()
    """Has come before."""
    LATER = auto()
    """Could not be judged now: it comes again."""
    REFUSED = auto()
    """Not to be used."""


class Judged(NamedTuple):
    """The judgement of a packet; `carried` where it is kept, `code` where it is refused."""

    received: Received
    outcome: Judgement
    carried: Carried | None = None
    code: RefusalCode | None = None
