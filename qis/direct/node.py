"""One node in direct mode: datagrams in, datagrams and events out.

Whoever drives it takes `events` after each call and answers those of packets with `judged`: the
node itself verifies no packet and knows no interest. Its parts each know one thing: who is there
(`Presence`), by which way (`Paths`), what both hold (`CatchingUp`), and what leaves (`Outgoing`).
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from qis._guard import Guard
from qis.direct.catching_up import CatchingUp
from qis.direct.events import Judged, Judgement, Received, RefusedBy
from qis.direct.frames import (
    ID_SIZE,
    LATER,
    Acknowledgement,
    Buckets,
    Frame,
    Holds,
    Lacks,
    PacketFrame,
    Records,
    Refusal,
    Summary,
    frames_of,
)
from qis.direct.members import Members, OtherMember
from qis.direct.outgoing import Outgoing
from qis.direct.own import SentPacket, SentPackets
from qis.direct.paths import Paths
from qis.direct.presence import Presence
from qis.direct.store import PacketStore
from qis.direct.unwanted import Unwanted
from qis.overlay.bundles import Datagram
from qis.overlay.ids import node_id
from qis.overlay.message_store import Carried
from qis.overlay.node import Arrival, Standing
from qis.overlay.rate_limiter import RateLimiter
from qis.overlay.record import Contact, Credentials
from qis.packet import content_id, issuer_key
from qis.refusals import RefusalCode

BACKLOG_LIMIT: Final = 1_024
"""Own packets that nobody has acknowledged from which on the application has to wait."""
EVENTS_LIMIT: Final = 16_384
"""Packets that wait to be judged; a further one is not acknowledged and comes again."""
EXPIRE_EVERY_S: Final = 600.0
"""Time between two searches for packets that have expired."""


class DirectNode:
    """The state machine of one node in direct mode.

    Parameters
    ----------
    credentials, address
        The node's key, and where others reach it, 18 bytes.
    members
        The keys of all nodes on the roster.
    own_site
        Those of this site.
    rng
        Source of jitter, choices and nonces.
    now
        Seconds of a clock that never steps, as everywhere in a node.
    unix_s
        Gives the date, in Unix seconds, of a moment `now`.
    refused
        Where what is refused is counted, by reason.
    guard
        Contains what a datagram or a timer raises, and tells limits.

    """

    def __init__(
        self,
        credentials: Credentials,
        address: bytes,
        *,
        members: frozenset[bytes],
        own_site: frozenset[bytes],
        rng: random.Random,
        now: float,
        unix_s: Callable[[float], float] = lambda now: now,
        refused: Counter[str] | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._unix_s = unix_s
        self.refused: Counter[str] = Counter() if refused is None else refused
        self._guard = guard or Guard()
        self._credentials = credentials
        self._address = address
        self._record = credentials.record(address, int(unix_s(now) * 1_000_000))
        self.members = Members(credentials, members)
        self.own = SentPackets(own_site)
        self.store = PacketStore(len(members), self._guard)
        self._outgoing = Outgoing(self._guard)
        self._unwanted = Unwanted()
        self._limiter = RateLimiter(self._guard)
        self._events: list[Received | RefusedBy] = []
        self.paths = Paths(
            self.members,
            self._outgoing,
            own_key=credentials.key,
            own_record=self._record.encode,
            own_address=address,
            rng=rng,
        )
        self._catching_up = CatchingUp(
            self.members,
            self.store,
            self.own,
            self._unwanted,
            self._outgoing,
            own_key=credentials.key,
            own_record=self._record.encode,
            rng=rng,
            now=now,
            refused=self.refused,
            guard=self._guard,
        )
        self._presence = Presence(
            self.members,
            self.own,
            self.store,
            self._outgoing,
            paths=self.paths,
            catching_up=self._catching_up,
            own_record=self._record.encode,
            rng=rng,
            now=now,
        )
        self._expire_at = now + EXPIRE_EVERY_S

    def __repr__(self) -> str:
        key = self._record.key.hex()[:16]
        return f"<DirectNode {key}: {len(self.members)} other members, {len(self.store)} packets>"

    @property
    def contact(self) -> Contact:
        """The signed record and the id of this node."""
        return Contact(node_id(self._record.key), self._record)

    @property
    def table(self) -> tuple[Contact, ...]:
        """The members that answer."""
        return self._presence.table

    @property
    def standing(self) -> Standing:
        """How the node stands to the others."""
        return self._presence.standing

    @property
    def is_joining(self) -> bool:
        """True until the first attempt to reach those that it knows has ended."""
        return self._presence.is_joining

    @property
    def is_idle(self) -> bool:
        """True if it has caught up, and what was published here is with all that answer."""
        return not self.is_busy and not self.own.unheld

    @property
    def is_busy(self) -> bool:
        """True if something is under way that time alone will end."""
        return (
            self.is_joining
            or self._catching_up.is_busy
            or any(_is_awaited(each) and not each.flow.is_idle for each in self._outgoing.active)
        )

    @property
    def is_full(self) -> bool:
        """True if the application should wait before it publishes more packets."""
        return self.own.unheld >= BACKLOG_LIMIT

    def events(self) -> list[Received | RefusedBy]:
        """What has happened; taken once."""
        found, self._events = self._events, []
        return found

    def join(self, given: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Call members whose (key, address) is known from elsewhere."""
        self._presence.join(given, now)

    def publish(self, carried: Carried, now: float) -> None:
        """Send a packet to every member, once each, until each has acknowledged it or is silent."""
        unix_s = self._unix_s(now)
        self.own.begin(carried.id, now, carried.expires_at)
        self.store.put(carried, unix_s)
        self._end_dropped()
        frame = PacketFrame(1, carried.packet)
        for member in self.members:
            if member.is_reached:
                self._outgoing.put(member, frame, carried.id)

    def withdraw(self, packet_ids: Iterable[bytes]) -> None:
        """Keep and send these packets no more; what others hold stays there."""
        for packet_id in packet_ids:
            self.store.withdraw(packet_id)
            self._end_dropped()
            self._unwanted.withdraw(packet_id[:ID_SIZE])

    def own_packets(self) -> list[Carried]:
        """What was published here and lives."""
        kept = (self.store.get(packet_id[:ID_SIZE]) for packet_id in self.own.live())
        return [carried for carried in kept if carried is not None]

    def publication(self, packet_id: bytes) -> SentPacket | None:
        """What is known of a packet that was published here."""
        return self.own.get(packet_id)

    def all_held(self, now: float) -> bool:
        """True if another site has acknowledged all that was published here and lives."""
        return self.own.all_held(self._unix_s(now))

    def list_members(self, members: frozenset[bytes], own_site: frozenset[bytes]) -> None:
        """Know these members from now on; what others had published is kept no longer."""
        self.members.enlist(members)
        self._presence.list_anew()
        for member in self._outgoing.active:
            if self.members.get(member.key) is not member:
                self._outgoing.forget(member)
        self.own.own_site = own_site
        self.store.keep(members | {self._credentials.key})
        self.store.share_among(len(members))
        self._end_dropped()

    def leave(self, now: float) -> None:
        """Say good-bye to all that answer."""
        sequence = max(int(self._unix_s(now) * 1_000_000), self._record.sequence + 1)
        record = self._credentials.record(self._address[:16] + bytes(2), sequence)
        for member in self.members.present():
            self._outgoing.say(member, Records((record.encode(),)))

    def receive_datagrams(self, arrivals: Iterable[Arrival], now: float) -> None:
        """Take in what has come, each with the key of its authenticated sender. Never raises."""
        for data, address, sender in arrivals:
            try:
                self._receive(data, address, sender, now)
            except Exception as error:  # noqa: BLE001  as `Guard.item`, which costs more a datagram
                self._guard.contained("direct.datagram", error)
        self._go_on(now)

    def judged(self, judgements: Sequence[Judged], now: float) -> None:
        """Answer packets that have come: acknowledge, refuse, and keep."""
        unix_s = self._unix_s(now)
        numbers: dict[bytes, list[int]] = {}
        for received, outcome, carried, code in judgements:
            if carried is not None:
                self._catching_up.has_come(carried.id[:ID_SIZE], now)
            if outcome is Judgement.REFUSED:
                self._refuse(received, code)
            elif carried is not None and not self.store.put(carried, unix_s):
                self._refuse(received, RefusalCode.FULL)
            elif outcome is Judgement.LATER:
                self._answer(received, LATER)
            else:
                numbers.setdefault(received.sender, []).append(received.number)
        self._end_dropped()
        for key, taken in numbers.items():
            member = self.members.get(key)
            if member is not None:
                self._outgoing.acknowledge(member, taken, now)
        self._go_on(now)

    def datagrams(self, now: float) -> list[Datagram]:
        """What has to be sent now: bytes, address, and the key expected there; taken once."""
        return self._outgoing.datagrams(now)

    def next_timer(self) -> float:
        """When `handle_timer` has to be called next, by the clock of `now`."""
        times = (self._presence.next_timer(), self._catching_up.next_timer(), self._expire_at)
        return min(times)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for member in self._outgoing.active:
            try:
                self._presence.check(member, now)
            except Exception as error:  # noqa: BLE001  as `Guard.item`, which costs more a member
                self._guard.contained("direct.timer", error)
        self._presence.handle_timer(now)
        self._catching_up.handle_timer(now)
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY_S
            self.store.expire(self._unix_s(now))
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        self._catching_up.go_on(now)
        self._presence.note_entry()

    def _end_dropped(self) -> None:
        for packet_id in self.store.dropped():
            self.own.end(packet_id)

    def _receive(self, data: bytes, address: bytes, sender: bytes | None, now: float) -> None:
        member = None if sender is None else self.members.get(sender)
        frames = frames_of(data)
        if member is None or frames is None:
            self.refused["malformed" if frames is None else "sender"] += 1
            return
        if not self._limiter.allows(address, now, sender=sender, messages=len(frames)):
            self.refused["budget"] += 1
            return
        self._presence.heard(member, address, now)
        numbers = []
        for frame, number in frames:
            if isinstance(frame, PacketFrame):
                if len(self._events) < EVENTS_LIMIT:
                    self._events.append(Received(member.key, number, frame.packet, frame.hops))
                else:
                    self.refused["queue_full"] += 1
            else:
                if number:
                    numbers.append(number)
                self._take(member, frame, now)
        if numbers:
            self._outgoing.acknowledge(member, numbers, now)

    def _take(self, member: OtherMember, frame: Frame, now: float) -> None:
        match frame:
            case Acknowledgement():
                for item in member.flow.acknowledged(frame.numbers, now):
                    if item.packet_id:
                        self.own.acknowledged(item.packet_id, member.key)
            case Refusal():
                self._refused(member, frame, now)
            case Records():
                self._presence.learn(frame, member, now)
            case Summary():
                self._catching_up.on_summary(member, frame, now)
            case Buckets():
                self._catching_up.on_buckets(member, frame, now)
            case Holds():
                self._catching_up.on_holds(member, frame, now)
            case Lacks():
                self._catching_up.on_lacks(member, frame, now)

    def _refuse(self, received: Received, code: RefusalCode | None) -> None:
        """Say that a packet is not kept; why, only to its own issuer."""
        short = content_id(received.packet)[:ID_SIZE]
        if code is not RefusalCode.CLOCK:  # which may be right later
            self._unwanted.refuse(received.sender, short)
        self._catching_up.is_refused(received.sender, short)
        is_own = issuer_key(received.packet) == received.sender
        self._answer(received, int(code) if code is not None and is_own else 0)

    def _answer(self, received: Received, code: int) -> None:
        member = self.members.get(received.sender)
        if member is not None:
            self._outgoing.say(member, Refusal(received.number, code))

    def _refused(self, member: OtherMember, frame: Refusal, now: float) -> None:
        for item in member.flow.acknowledged((frame.number,), now):
            if frame.code == LATER:
                member.flow.put_off(item, now)
            elif item.packet_id and frame.code:
                self._events.append(RefusedBy(member.key, frame.code))


def _is_awaited(member: OtherMember) -> bool:
    return member.is_reached and not member.is_stuck
