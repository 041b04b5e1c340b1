"""Which members are there: calling them, hearing them, and noticing that one has gone silent.

What a member is to this node is a state of `qis.direct.members.TRANSITIONS`; here is what happens
at each change.
"""

import math
import random
from collections.abc import Callable, Iterable
from typing import Final

from qis.direct.catching_up import CatchingUp
from qis.direct.frames import ID_SIZE, PROBE, PacketFrame, Records
from qis.direct.members import Change, Members, MemberState, OtherMember
from qis.direct.outgoing import Outgoing
from qis.direct.own import SentPackets
from qis.direct.paths import Paths
from qis.direct.store import PacketStore
from qis.overlay.ids import node_id
from qis.overlay.node import Standing
from qis.overlay.record import Contact, NodeRecord
from qis.relay import is_relayed

EXPIRIES_LIMIT: Final = 4
"""Times in a row that nothing is acknowledged until a member that has been heard is silent."""
RELAY_AFTER: Final = 2
"""Times in a row from which on a member is asked through others too."""
STUCK_AFTER_S: Final = 5.0
"""Nobody waits for a member that has answered nothing for so long and several times."""
SILENT_AFTER_S: Final = 15.0
"""And so long at least nothing has come from it."""
PROBE_AFTER_S: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0)
"""When a silent member is asked again; the last pause repeats."""
ALONE_PROBE_S: Final = 40.0
"""Longest pause while nobody answers."""
RECENT_S: Final = 60.0
"""Own packets so young are sent to a member that turns up, whoever else may give them to it."""
KEEP_ALIVE_S: Final = 25.0
"""A node that cannot be called, or does not know, sends something to each member that it reaches so
often, another one to two: most NATs forget after 30 s or later (RFC 4787, REQ-5, asks for two
minutes)."""
RESERVED_S: Final = 3.0
"""How long a member that was given is not called, as it may be the one that is to call."""
FEW: Final = 2
"""With fewer members that answer a node is joining while it has others to call."""
KEPT_ALIVE: Final = 2
"""Members to which a node that can be called says something all the same."""
DIRECTLY_EVERY_S: Final = 600.0
"""How often members that are reached through others are tried directly."""


class Presence:
    """One node's knowledge of who is there.

    Parameters
    ----------
    members, own, store, outgoing, paths, catching_up
        The parts of the node.
    own_record
        Gives its own record, encoded.
    rng
        Source of jitter.
    now
        Steady seconds.

    """

    def __init__(
        self,
        members: Members,
        own: SentPackets,
        store: PacketStore,
        outgoing: Outgoing,
        *,
        paths: Paths,
        catching_up: CatchingUp,
        own_record: Callable[[], bytes],
        rng: random.Random,
        now: float,
    ) -> None:
        self._members = members
        self._own = own
        self._store = store
        self._outgoing = outgoing
        self._paths = paths
        self._catching_up = catching_up
        self._own_record = own_record
        self._rng = rng
        self.is_joining = False
        self._unanswered = 0
        self._heard_at: float | None = None
        self._keep_alive_at = now + KEEP_ALIVE_S
        self._to_call: dict[OtherMember, float] = {}
        self._table: tuple[Contact, ...] | None = None
        self._counts = (0, 0)

    @property
    def table(self) -> tuple[Contact, ...]:
        """The members that answer."""
        if self._table is None:
            self._table = tuple(
                Contact(node_id(member.key), member.record)
                for member in self._members
                if member.reach is MemberState.PRESENT and member.record is not None
            )
            known = [each for each in self._members if each.reach is not MemberState.UNKNOWN]
            self._counts = (len(self._members.present()), len(known))
        return self._table

    @property
    def standing(self) -> Standing:
        """How the node stands to the others."""
        self._table = self.table
        callability = self._paths.callability
        is_client = callability.is_callable is False
        return Standing(
            peers=self._counts[0],
            knows_of=self._counts[1],
            is_joining=self.is_joining,
            unanswered=self._unanswered,
            heard_at=self._heard_at,
            relays=len(self._paths.paths()) if is_client else None,
            seen_as=callability.seen_as if is_client else None,
        )

    def join(self, given: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Call members whose (key, address) is known from elsewhere.

        Of several, one waits: it may be the one that finds out whether this node can be called.
        """
        named = []
        for key, address in given:
            member = self._members.get(key)
            if member is not None and member.record is None:
                member.record = NodeRecord(key=key, sequence=0, address=address, signature=b"")
                named.append(member)
        if len(named) > 1:
            self._to_call[named.pop(self._rng.randrange(len(named)))] = now + RESERVED_S
        for member in named:
            self._call(member, now)
        self.is_joining = self.is_joining or bool(named)

    def note_entry(self) -> None:
        """It has joined once it has caught up with those that it knows, as far as they answer."""
        if self.is_joining:
            is_called = any(
                each.reach is MemberState.CALLED and not each.is_stuck for each in self._members
            )
            # One that waits to be called is waited for where few others answer: of this node's
            # clock, for one, a single member's word decides nothing.
            has_few = bool(self._to_call) and len(self._members.present()) < FEW
            self.is_joining = is_called or has_few or self._catching_up.is_busy

    def list_anew(self) -> None:
        """Take note that the roster has changed."""
        self._table = None

    def heard(self, member: OtherMember, address: bytes, now: float) -> None:
        """Note that something authentic has come from a member, from an address of its."""
        former = member.reach
        self._heard_at = member.heard_at = now
        self._unanswered = 0
        if not is_relayed(address):
            if former is MemberState.UNKNOWN and not member.is_contacted:
                self._paths.callability.was_called()
            member.is_contacted = True
        elif now - member.tried_directly_at >= DIRECTLY_EVERY_S:
            if former is MemberState.UNKNOWN and not member.is_contacted:
                self._paths.callability.newcomer(now)
            self._to_call.setdefault(member, now + RESERVED_S)
        member.seen_at = address
        member.probes = 0
        member.is_stuck = False
        if member.reach is MemberState.PRESENT:
            return
        self._change(member, Change.HEARD)
        if former in (MemberState.UNKNOWN, MemberState.LEFT):
            self._greet(member, now)
        self._catching_up.turned_up(member, was_silent=former is MemberState.SILENT)

    def learn(self, frame: Records, origin: OtherMember, now: float) -> None:
        """Take signed records in, and call those that are news."""
        for data in frame.records:
            known = self._members.learn(data)
            if known is None or known.record is None:
                continue
            if known.record.is_leaving:
                if self._change(known, Change.GOODBYE):
                    known.flow.clear()
                    known.seen_at = None
            elif known.reach is MemberState.UNKNOWN and self._is_for_testing(known, now):
                self._to_call.setdefault(known, now + RESERVED_S)
            elif known not in self._to_call and self._change(known, Change.RECORD):
                self._greet(known, now)
            elif known is not origin and known.reach is MemberState.PRESENT:
                known.seen_at = None  # it has moved, or begun anew

    def next_timer(self) -> float:
        """When `handle_timer` has to be called next."""
        times = [math.inf]
        if self._counts[0]:
            times.append(self._keep_alive_at)
        times += self._to_call.values()
        for member in self._outgoing.active:
            if (due := member.flow.next_at()) is not None:
                times.append(due)
            if member.acks:
                times.append(member.acks_at)
            if member.reach is MemberState.SILENT and member.probe_at is not None:
                times.append(member.probe_at)
        return min(times)

    def handle_timer(self, now: float) -> None:
        """Say something from time to time, and call those whose call had to wait."""
        if now >= self._keep_alive_at:
            self._keep_alive_at = now + KEEP_ALIVE_S
            self._keep_alive(now)
        for member, until in list(self._to_call.items()):
            callability = self._paths.callability
            if self._paths.is_awaited(member):
                self._to_call[member] = max(until, now + 0.5)
            elif now >= until or not (callability.is_asking or callability.may_ask):
                del self._to_call[member]
                self._call(member, now)

    def check(self, member: OtherMember, now: float) -> None:
        """Do what is due for a member: nothing acknowledged in time, or asked again if silent."""
        flow = member.flow
        if flow.expire(now):
            self._unanswered += 1
            heard_at = member.heard_at
            quiet_s = SILENT_AFTER_S if heard_at is None else now - heard_at
            limit = EXPIRIES_LIMIT - (heard_at is None)
            member.is_stuck = flow.expiries >= EXPIRIES_LIMIT - 1 and quiet_s >= STUCK_AFTER_S
            if flow.expiries >= RELAY_AFTER:
                self._paths.try_relay(member)
            if flow.expiries >= limit and quiet_s >= SILENT_AFTER_S:
                self._fell_silent(member, now)
        if (
            member.reach is MemberState.SILENT
            and member.probe_at is not None
            and now >= member.probe_at
        ):
            self._probe(member, now)

    def _is_for_testing(self, member: OtherMember, now: float) -> bool:
        """True if a member must not be called for now, as it may show that this node can be."""
        return self._paths.is_awaited(member) or (
            not member.is_contacted and self._paths.callability.newcomer(now)
        )

    def _call(self, member: OtherMember, now: float) -> None:
        """Call a member, or see whether one that is heard through another can be reached itself."""
        member.tried_directly_at = now
        if self._change(member, Change.RECORD):
            self._greet(member, now)
        elif member.seen_at is not None and is_relayed(member.seen_at):
            self._paths.try_directly(member)

    def _greet(self, member: OtherMember, now: float) -> None:
        """Tell a member where this node is; its acknowledgement shows that it is there."""
        self._outgoing.put(member, Records((self._own_record(),)))
        for packet_id in self._own.young(now - RECENT_S):
            carried = self._store.get(packet_id[:ID_SIZE])
            if carried is not None:
                self._outgoing.put(member, PacketFrame(1, carried.packet), packet_id)

    def _keep_alive(self, now: float) -> None:
        """Say something to members that are reached directly and have heard nothing lately.

        To all of them, or to two if it can be called: whoever called may have been in the same
        building, and those two can then forward what others send.
        """
        kept = self._paths.nearest()
        if self._paths.callability.is_callable is True:
            kept = kept[:KEPT_ALIVE]
        for member in kept:
            if now >= max(member.sent_at, member.heard_at or 0.0) + KEEP_ALIVE_S / 2.0:
                self._outgoing.put(member, Records((self._own_record(),)))

    def _fell_silent(self, member: OtherMember, now: float) -> None:
        self._change(member, Change.EXPIRED)
        self._outgoing.wait_for(member)
        member.seen_at = None
        member.flow.clear()
        member.acks.clear()
        self._catching_up.fell_silent(member)
        self._probe_later(member, now)

    def _probe_later(self, member: OtherMember, now: float) -> None:
        pause_s = PROBE_AFTER_S[min(member.probes, len(PROBE_AFTER_S) - 1)]
        if not self._members.present():
            pause_s = min(pause_s, ALONE_PROBE_S)
        member.probes += 1
        member.probe_at = now + pause_s * self._rng.uniform(0.8, 1.2)

    def _probe(self, member: OtherMember, now: float) -> None:
        self._outgoing.say(member, Records((self._own_record(),)), PROBE)
        self._paths.try_relay(member)
        self._probe_later(member, now)

    def _change(self, member: OtherMember, change: Change) -> bool:
        self._table = None
        return member.change(change)
