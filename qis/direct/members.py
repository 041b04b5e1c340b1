"""The other members of the roster, as one node knows them: where each is, and whether it answers.

`TRANSITIONS` is the whole of it; what is not in the table changes nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from qis.direct.flow import Flow
from qis.overlay.record import RECORD_SIZE, Credentials, NodeRecord

_TAG_SIZE: Final = 6


class MemberState(Enum):
    """How a member stands to this node."""

    UNKNOWN = auto()
    """On the roster; nobody has said where."""
    CALLED = auto()
    """Its address is known; nothing authentic has come from it yet."""
    PRESENT = auto()
    """It answers."""
    SILENT = auto()
    """It has answered nothing for a while: it is asked now and then, and gets nothing else."""
    LEFT = auto()
    """It has said that it leaves."""


class Change(Enum):
    """What may happen to a member."""

    RECORD = auto()
    HEARD = auto()
    EXPIRED = auto()
    GOODBYE = auto()


TRANSITIONS: Final = {
    (MemberState.UNKNOWN, Change.RECORD): MemberState.CALLED,
    (MemberState.UNKNOWN, Change.HEARD): MemberState.PRESENT,
    (MemberState.CALLED, Change.HEARD): MemberState.PRESENT,
    (MemberState.CALLED, Change.EXPIRED): MemberState.SILENT,
    (MemberState.CALLED, Change.GOODBYE): MemberState.LEFT,
    (MemberState.PRESENT, Change.EXPIRED): MemberState.SILENT,
    (MemberState.PRESENT, Change.GOODBYE): MemberState.LEFT,
    (MemberState.SILENT, Change.RECORD): MemberState.CALLED,
    (MemberState.SILENT, Change.HEARD): MemberState.PRESENT,
    (MemberState.SILENT, Change.GOODBYE): MemberState.LEFT,
    (MemberState.LEFT, Change.RECORD): MemberState.CALLED,
    (MemberState.LEFT, Change.HEARD): MemberState.PRESENT,
}


@dataclass(slots=True, eq=False)
class OtherMember:
    """One other member.

    Parameters
    ----------
    key
        Its 32-byte public key.
    record
        Its newest signed record; one that a person has given has sequence 0 and no signature.
    seen_at
        The address that it was last heard from, which may be a NAT's.
    heard_at, probe_at
        When it was last heard, and when it is asked again while it is silent.
    is_stuck
        True if nothing has come from it for a while though it was asked: nobody waits for it.
    answered_bytes, answered_since
        What comparing sets with it has cost lately.
    is_contacted
        True once something was sent to it directly, or it was heard so: a NAT then lets it in.
    tried_directly_at
        When it was asked directly last, while it is reached through another.
    asked_relay, relays_asked, rounds_left
        Through whom it was tried last, how many were, and how many more at once if none forwards.

    """

    key: bytes
    reach: MemberState = MemberState.UNKNOWN
    record: NodeRecord | None = None
    seen_at: bytes | None = None
    heard_at: float | None = None
    sent_at: float = 0.0
    is_stuck: bool = False
    probes: int = 0
    probe_at: float | None = None
    answered_bytes: float = 0.0
    answered_since: float = 0.0
    is_contacted: bool = False
    tried_directly_at: float = -math.inf
    asked_relay: bytes = b""
    relays_asked: int = 0
    rounds_left: int = 0
    flow: Flow = field(default_factory=Flow)
    loose: list[bytes] = field(default_factory=list)
    """Encoded frames that leave once and are not acknowledged: acknowledgements, refusals."""
    acks: list[int] = field(default_factory=list)
    """Numbers of transmissions that have come and are not acknowledged yet, until `acks_at`."""
    acks_at: float = 0.0
    elsewhere: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Encoded frames that leave once for an address of its that it may not answer at."""

    def change(self, change: Change) -> bool:
        """Apply a change; true if it is another state now."""
        after = TRANSITIONS.get((self.reach, change), self.reach)
        changed, self.reach = after is not self.reach, after
        return changed

    @property
    def address(self) -> bytes | None:
        """Where to send: where it was heard last while it answers, else where its record says."""
        if self.seen_at is not None and self.reach is MemberState.PRESENT:
            return self.seen_at
        return None if self.record is None else self.record.address

    @property
    def is_reached(self) -> bool:
        """True if packets are sent to it."""
        return self.reach in (MemberState.CALLED, MemberState.PRESENT)


class Members:
    """All other members, by key."""

    def __init__(self, credentials: Credentials, keys: frozenset[bytes]) -> None:
        self._credentials = credentials
        self._members: dict[bytes, OtherMember] = {}
        self._of_tag: dict[bytes, OtherMember] = {}
        self.enlist(keys)

    def __iter__(self) -> Iterator[OtherMember]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def get(self, key: bytes) -> OtherMember | None:
        """The member of a key."""
        return self._members.get(key)

    def of_tag(self, tag: bytes) -> OtherMember | None:
        """The member whose key begins with these bytes, 6 or more."""
        member = self._of_tag.get(tag[:_TAG_SIZE])
        return member if member is not None and member.key.startswith(tag) else None

    def enlist(self, keys: frozenset[bytes]) -> None:
        """Know these keys, and no others, from now on."""
        for key in self._members.keys() - keys:
            del self._members[key]
        for key in sorted(keys - {self._credentials.key}):
            self._members.setdefault(key, OtherMember(key))
        self._of_tag = {key[:_TAG_SIZE]: member for key, member in self._members.items()}

    def learn(self, data: bytes) -> OtherMember | None:
        """Take a signed record in; the member that it is news of, else `None`."""
        if len(data) != RECORD_SIZE:
            return None
        record = NodeRecord.decode(data)
        member = self._members.get(record.key)
        if member is None or (
            member.record is not None and record.sequence <= member.record.sequence
        ):
            return None
        if not self._credentials.verify(record.key, record.signed_part(), record.signature):
            return None
        member.record = record
        return member

    def present(self) -> list[OtherMember]:
        """The members that answer, in the order of their keys."""
        return [member for member in self._members.values() if member.reach is MemberState.PRESENT]

    def records(self) -> list[bytes]:
        """The signed records of all that are not known to have left, ascending."""
        return sorted(
            member.record.encode()
            for member in self._members.values()
            if member.record is not None
            and member.record.signature
            and not member.record.is_leaving
            and member.reach is not MemberState.SILENT
        )
