"""How the other members are reached: from where each was heard itself, or through a third.

A member that answers no call may be behind a NAT, or this node may be. Then another that both
reach forwards their sealed datagrams (`qis.relay`). Both ends rank the candidates by a hash of all
three keys, so they come to the same one without a word.
"""

import random
from collections.abc import Callable
from typing import Final

from blake3 import blake3

from qis.direct.frames import PROBE, Records
from qis.direct.members import Members, MemberState, OtherMember
from qis.direct.outgoing import Outgoing
from qis.relay import is_relayed, relayed_address
from qis.relay.callability import Callability
from qis.relay.frames import NOBODY, TAG_SIZE

ROUNDS_LIMIT: Final = 8
"""Candidates that are asked one after the other, at once, if none forwards to a member."""


class Paths:
    """One node's ways to the others; `qis.relay.Ways` for its relays.

    Parameters
    ----------
    members, outgoing
        The parts of the node.
    own_key
        The node's key.
    own_record
        Gives its own record, encoded.
    own_address
        The address that it tells others, 18 bytes.
    rng
        Source of nonces.

    """

    def __init__(
        self,
        members: Members,
        outgoing: Outgoing,
        *,
        own_key: bytes,
        own_record: Callable[[], bytes],
        own_address: bytes,
        rng: random.Random,
    ) -> None:
        self.callability = Callability(rng)
        self.own_address = own_address
        self._members = members
        self._outgoing = outgoing
        self._own_key = own_key
        self._own_record = own_record

    def is_member(self, tag: bytes) -> bool:
        """True if another member of the roster has a key that begins so."""
        return self._members.of_tag(tag) is not None

    def path_to(self, tag: bytes) -> tuple[bytes, bytes] | None:
        """The key of a member that answers itself, and from where."""
        member = self._members.of_tag(tag)
        return None if member is None else _path(member)

    def paths(self) -> list[tuple[bytes, bytes]]:
        """All of these."""
        found = map(_path, self._members)
        return [path for path in found if path is not None]

    def nearest(self) -> list[OtherMember]:
        """The members that are reached directly, in an order that differs from node to node."""
        found = [member for member in self._members if _path(member) is not None]
        return sorted(found, key=lambda member: blake3(self._own_key + member.key).digest(8))

    def contacted(self) -> tuple[bytes, ...]:
        """First bytes of the keys of those to which something was sent, or that were heard."""
        return tuple(each.key[:TAG_SIZE] for each in self._members if each.is_contacted)

    def note_contact(self, tag: bytes) -> None:
        """Count a member among those that something was sent to."""
        member = self._members.of_tag(tag)
        if member is not None:
            member.is_contacted = True

    def is_awaited(self, member: OtherMember) -> bool:
        """True if this member is about to call, to see whether it can: so it must not be called."""
        awaited = self.callability.awaited
        return awaited != NOBODY and member.key[:TAG_SIZE] == awaited

    def try_relay(self, member: OtherMember) -> None:
        """Ask a member through the next candidate whether it is there."""
        member.rounds_left = ROUNDS_LIMIT
        self._try_next(member)

    def try_directly(self, member: OtherMember) -> None:
        """Ask a member at the address of its record."""
        if member.record is not None:
            frame = Records((self._own_record(),))
            self._outgoing.say_at(member, member.record.address, frame, PROBE)

    def not_forwarded(self, tag: bytes, relay: bytes, now: float) -> None:  # noqa: ARG002
        """Ask the next candidate for a member that a relay does not reach."""
        member = self._members.of_tag(tag)
        if member is None or member.asked_relay != relay:
            return
        if member.seen_at == relayed_address(member.key, relay):  # it did, until now
            member.seen_at = None
            member.rounds_left = ROUNDS_LIMIT
        self._try_next(member)

    def _try_next(self, member: OtherMember) -> None:
        candidates = [path[0] for path in self.paths() if path[0] != member.key]
        if not candidates or not member.rounds_left:
            return
        pair = b"".join(sorted((self._own_key, member.key)))
        candidates.sort(key=lambda key: blake3(pair + key).digest(8))
        relay = candidates[member.relays_asked % len(candidates)]
        member.relays_asked += 1
        member.rounds_left -= 1
        member.asked_relay = relay
        address = relayed_address(member.key, relay)
        self._outgoing.say_at(member, address, Records((self._own_record(),)), PROBE)


def _path(member: OtherMember) -> tuple[bytes, bytes] | None:
    at = member.seen_at
    if member.reach is not MemberState.PRESENT or at is None or is_relayed(at):
        return None
    return member.key, at
