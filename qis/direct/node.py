"""One node in direct mode: datagrams in, datagrams and events out.

Whoever drives it takes `events` after each call and answers those of packets with `judged`: the
node itself verifies no packet and knows no interest.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from blake3 import blake3

from qis._guard import Guard
from qis.direct import comparing
from qis.direct.comparing import Comparison
from qis.direct.flow import QueuedFrame
from qis.direct.frames import (
    ACKS_LIMIT,
    ID_SIZE,
    IDS_LIMIT,
    LATER,
    PROBE,
    RECORDS_LIMIT,
    TAG_SIZE,
    Acknowledgement,
    Buckets,
    Feed,
    Frame,
    Holds,
    Lacks,
    PacketFrame,
    Records,
    Refusal,
    Summary,
    datagrams_of,
    encode,
    frames_of,
)
from qis.direct.members import Change, Members, MemberState, OtherMember
from qis.direct.own import SentPacket, SentPackets
from qis.direct.store import PacketStore
from qis.overlay.bundles import Datagram
from qis.overlay.ids import node_id
from qis.overlay.lru_cache import LruCache
from qis.overlay.message_store import RETAINED_LIMIT, Carried
from qis.overlay.node import Arrival, Standing
from qis.overlay.rate_limiter import RateLimiter
from qis.overlay.record import Contact, Credentials, NodeRecord
from qis.packet import content_id, issuer_key
from qis.refusals import RefusalCode

COMPARE_EVERY_S: Final = 600.0
"""Time between two comparisons with a member drawn at random, ± 20 %."""
COMPARED_AT_FIRST: Final = 3
"""Members that a node which has just joined compares with, one after the other."""
EXPIRIES_LIMIT: Final = 4
"""Times in a row that nothing is acknowledged until a member that has been heard is silent."""
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
"""A node that nobody has called sends something to each member so often: most NATs forget after
30 s or later (RFC 4787, REQ-5, asks for two minutes)."""
BACKLOG_LIMIT: Final = 1_024
"""Own packets that nobody has acknowledged from which on the application has to wait."""
ANSWERS_AN_HOUR: Final = 2.0 * RETAINED_LIMIT * 560
"""Bytes that comparing may cost for one member in an hour: all that is kept, twice."""
FEEDERS: Final = 2
"""Members that a node asks to pass on what it does not get from those that it cannot reach."""
REFUSED_LIMIT: Final = 8_192
"""(member, id) remembered as refused, so that it is not asked for again at each comparison."""
EVENTS_LIMIT: Final = 16_384
"""Packets that wait to be judged; a further one is not acknowledged and comes again."""


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
        self._rng = rng
        self._record = credentials.record(address, int(unix_s(now) * 1_000_000))
        self.members = Members(credentials, members)
        self.own = SentPackets(own_site)
        self.store = PacketStore(len(members), self._guard)
        self._limiter = RateLimiter(self._guard)
        self._events: list[Received | RefusedBy] = []
        self._withdrawn: LruCache[bytes, None] = LruCache(REFUSED_LIMIT)
        self._refused_of: LruCache[tuple[bytes, bytes], None] = LruCache(REFUSED_LIMIT)
        self._comparison: Comparison | None = None
        self._to_compare: list[bytes] = []
        self._compared = 0
        self._compare_at = now + self._period()
        self._given: list[bytes] = []
        self._feeders: list[bytes] = []
        self._unreached: frozenset[bytes] = frozenset()
        self.is_joining = False
        self._is_called = False
        self._unanswered = 0
        self._heard_at: float | None = None
        self._expire_at = now + COMPARE_EVERY_S
        self._keep_alive_at = now + KEEP_ALIVE_S
        # Of 128 members few have something to send or to wait for: only these are looked through.
        self._active: dict[OtherMember, None] = {}
        self._table: tuple[Contact, ...] | None = None
        self._standing = (0, 0)

    def __repr__(self) -> str:
        key = self._record.key.hex()[:16]
        return f"<DirectNode {key}: {len(self.members)} other members, {len(self.store)} packets>"

    # --- what the adapter calls -------------------------------------------------------------

    @property
    def contact(self) -> Contact:
        """The signed record and the id of this node."""
        return Contact(node_id(self._record.key), self._record)

    @property
    def table(self) -> tuple[Contact, ...]:
        """The members that answer."""
        if self._table is None:
            self._table = tuple(
                Contact(node_id(member.key), member.record)
                for member in self.members
                if member.reach is MemberState.PRESENT and member.record is not None
            )
            known = [each for each in self.members if each.reach is not MemberState.UNKNOWN]
            self._standing = (len(self.members.present()), len(known))
        return self._table

    @property
    def standing(self) -> Standing:
        """How the node stands to the others."""
        if self._table is None:
            self._table = self.table
        peers, knows_of = self._standing
        return Standing(
            peers=peers,
            knows_of=knows_of,
            is_joining=self.is_joining,
            unanswered=self._unanswered,
            heard_at=self._heard_at,
        )

    def _change(self, member: OtherMember, change: Change) -> bool:
        self._table = None
        return member.change(change)

    @property
    def is_idle(self) -> bool:
        """True if it has caught up, and what was published here is with all that answer."""
        return not self.is_busy and not self.own.unheld

    @property
    def is_busy(self) -> bool:
        """True if something is under way that time alone will end."""
        return (
            self.is_joining
            or self._comparison is not None
            or bool(self._to_compare)
            or any(_is_awaited(each) and not each.flow.is_idle for each in self._active)
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
        for key, address in given:
            member = self.members.get(key)
            if member is not None and member.record is None:
                member.record = NodeRecord(key=key, sequence=0, address=address, signature=b"")
                self._change(member, Change.RECORD)
                self._call(member, now)
                self._given.append(key)
        self.is_joining = bool(self._given)

    def _note_entry(self) -> None:
        """It has joined once it has caught up with those that it knows, as far as they answer."""
        if self.is_joining:
            is_called = any(
                each.reach is MemberState.CALLED and not each.is_stuck for each in self.members
            )
            is_comparing = self._comparison is not None or bool(self._to_compare)
            self.is_joining = is_called or is_comparing

    def publish(self, carried: Carried, now: float) -> None:
        """Send a packet to every member, once each, until each has acknowledged it or is silent."""
        unix_s = self._unix_s(now)
        self.own.begin(carried.id, now, carried.expires_at)
        self.store.put(carried, unix_s)
        self._end_dropped()
        frame = PacketFrame(1, carried.packet)
        for member in self.members:
            if member.is_reached:
                self._put(member, QueuedFrame(frame, carried.id))

    def withdraw(self, packet_ids: Iterable[bytes]) -> None:
        """Keep and send these packets no more; what others hold stays there."""
        for packet_id in packet_ids:
            self.store.withdraw(packet_id)
            self._end_dropped()
            self._withdrawn.put(packet_id[:ID_SIZE], None)

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
        self._table = None
        for member in [each for each in self._active if self.members.get(each.key) is not each]:
            del self._active[member]
        self.own.own_site = own_site
        self.store.keep(members | {self._credentials.key})
        self.store.share_among(len(members))
        self._end_dropped()

    def leave(self, now: float) -> None:
        """Say good-bye to all that answer."""
        sequence = max(int(self._unix_s(now) * 1_000_000), self._record.sequence + 1)
        record = self._credentials.record(self._address[:16] + bytes(2), sequence)
        for member in self.members.present():
            self._say(member, encode(Records((record.encode(),)), 0))

    def receive_datagrams(self, arrivals: Iterable[Arrival], now: float) -> None:
        """Take in what has come, each with the key of its authenticated sender. Never raises."""
        for data, address, sender in arrivals:
            try:
                self._receive(data, address, sender, now)
            except Exception as error:  # noqa: BLE001  as `Guard.item`, which costs more a datagram
                self._guard.contained("direct.datagram", error)

    def judged(self, judgements: Sequence[Judged], now: float) -> None:
        """Answer packets that have come: acknowledge, refuse, and keep."""
        unix_s = self._unix_s(now)
        numbers: dict[bytes, list[int]] = {}
        for received, outcome, carried, code in judgements:
            if carried is not None and self._comparison is not None:
                self._comparison.coming.discard(carried.id[:ID_SIZE])
                self._comparison.moved_at = now
            if outcome is Judgement.REFUSED:
                self._refuse(received, code)
            elif carried is not None and not self.store.put(carried, unix_s):
                self._refuse(received, RefusalCode.FULL)
            elif outcome is Judgement.LATER:
                self._put_off(received)
            else:
                if carried is not None:
                    self._pass_on(carried, received)
                numbers.setdefault(received.sender, []).append(received.number)
        self._end_dropped()
        for key, taken in numbers.items():
            self._acknowledge(key, taken)
        self._go_on_comparing(now)

    def datagrams(self, now: float) -> list[Datagram]:
        """What has to be sent now: bytes, address, and the key expected there; taken once."""
        found: list[Datagram] = []
        for member in list(self._active):
            address = member.address
            if address is None:
                member.loose.clear()
                del self._active[member]
                continue
            frames, member.loose = member.loose, []
            frames += member.flow.take(now)
            if frames:
                member.sent_at = now
                found += [(data, address, member.key) for data in datagrams_of(frames)]
            if member.flow.is_over and member.reach is not MemberState.SILENT:
                del self._active[member]
        return found

    def _say(self, member: OtherMember, frame: bytes) -> None:
        """Send a frame once."""
        member.loose.append(frame)
        self._active[member] = None

    def next_timer(self) -> float:
        """When `handle_timer` has to be called next, by the clock of `now`."""
        times = [self._compare_at, self._expire_at]
        if self._comparison is not None:
            times.append(self._comparison.moved_at + comparing.PATIENCE_S)
        if not self._is_called and self._standing[0]:
            times.append(self._keep_alive_at)
        for member in self._active:
            due = member.flow.next_at()
            if due is not None:
                times.append(due)
            if member.reach is MemberState.SILENT and member.probe_at is not None:
                times.append(member.probe_at)
        return min(times)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for member in list(self._active):
            with self._guard.item("direct.timer"):
                self._do_due(member, now)
        if not self._is_called and now >= self._keep_alive_at:
            self._keep_alive(now)
        if self._comparison is not None and self._comparison.is_stuck(now):
            self._comparison = None
        if now >= self._compare_at:
            self._compare_at = now + self._period()
            self._to_compare += self._drawn(1)
        if now >= self._expire_at:
            self._expire_at = now + COMPARE_EVERY_S
            self.store.expire(self._unix_s(now))
        self._go_on_comparing(now)

    def _end_dropped(self) -> None:
        for packet_id in self.store.dropped():
            self.own.end(packet_id)

    # --- members ----------------------------------------------------------------------------

    def _call(self, member: OtherMember, now: float) -> None:
        """Tell a member where this node is; its acknowledgement shows that it is there."""
        self._put(member, QueuedFrame(Records((self._record.encode(),))))
        for packet_id in self.own.young(now - RECENT_S):
            carried = self.store.get(packet_id[:ID_SIZE])
            if carried is not None:
                self._put(member, QueuedFrame(PacketFrame(1, carried.packet), packet_id))

    def _heard(self, member: OtherMember, address: bytes, now: float) -> None:
        """Note that something authentic has come from a member."""
        former = member.reach
        self._heard_at = member.heard_at = now
        self._unanswered = 0
        member.seen_at = address
        member.probes = 0
        member.is_stuck = False
        if member.reach is MemberState.PRESENT:
            return
        self._change(member, Change.HEARD)
        if former is MemberState.UNKNOWN:
            self._is_called = True  # by a member that this node has never sent anything
        if former in (MemberState.UNKNOWN, MemberState.LEFT):
            self._call(member, now)
        if former is MemberState.SILENT or self._compared < COMPARED_AT_FIRST:
            self._compared += 1
            self._to_compare.append(member.key)
        self._ask_to_be_fed()

    def _do_due(self, member: OtherMember, now: float) -> None:
        flow = member.flow
        if flow.expire(now):
            self._unanswered += 1
            heard_at = member.heard_at
            quiet_s = SILENT_AFTER_S if heard_at is None else now - heard_at
            limit = EXPIRIES_LIMIT - (heard_at is None)
            member.is_stuck = flow.expiries >= EXPIRIES_LIMIT - 1 and quiet_s >= STUCK_AFTER_S
            if flow.expiries >= limit and quiet_s >= SILENT_AFTER_S:
                self._fell_silent(member, now)
        if (
            member.reach is MemberState.SILENT
            and member.probe_at is not None
            and now >= member.probe_at
        ):
            self._probe(member, now)

    def _keep_alive(self, now: float) -> None:
        """Say something to each member that has heard nothing for a while."""
        self._keep_alive_at = now + KEEP_ALIVE_S
        for member in self.members.present():
            if now >= max(member.sent_at, member.heard_at or 0.0) + KEEP_ALIVE_S / 2.0:
                self._put(member, QueuedFrame(Records((self._record.encode(),))))

    def _fell_silent(self, member: OtherMember, now: float) -> None:
        self._change(member, Change.EXPIRED)
        self._active[member] = None
        member.seen_at = None
        member.flow.clear()
        if self._comparison is not None and self._comparison.key == member.key:
            self._comparison = None
        self._probe_later(member, now)
        self._ask_to_be_fed()

    def _probe_later(self, member: OtherMember, now: float) -> None:
        pause_s = PROBE_AFTER_S[min(member.probes, len(PROBE_AFTER_S) - 1)]
        if not self.members.present():
            pause_s = min(pause_s, ALONE_PROBE_S)
        member.probes += 1
        member.probe_at = now + pause_s * self._rng.uniform(0.8, 1.2)

    def _probe(self, member: OtherMember, now: float) -> None:
        self._say(member, encode(Records((self._record.encode(),)), PROBE))
        self._probe_later(member, now)

    def _ask_to_be_fed(self) -> None:
        """Ask two members that answer to pass on what those publish that this node cannot reach.

        Between two sites behind NATs nothing gets through, or only one way. What a third member
        keeps of theirs is what this node would keep anyway.
        """
        tags = frozenset(
            each.key[:TAG_SIZE] for each in self.members if each.reach is MemberState.SILENT
        )
        feeders = [
            each
            for key in self._feeders
            if (each := self.members.get(key)) is not None and each.reach is MemberState.PRESENT
        ]
        if tags == self._unreached and (not tags or len(feeders) == FEEDERS):
            return
        self._unreached = tags
        others = [key for key in self._drawn(FEEDERS) if key not in self._feeders]
        drawn = map(self.members.get, others[: FEEDERS - len(feeders)])
        feeders += [member for member in drawn if member is not None]
        self._feeders = [each.key for each in feeders]
        for each in feeders:
            self._put(each, QueuedFrame(Feed(tuple(sorted(tags)))))

    def _on_feed(self, member: OtherMember, frame: Feed, _now: float) -> None:
        """Pass on to a member what it does not get, and tell the others where it is."""
        wanted = set(frame.tags)
        for other in self.members:
            if other is member:
                continue
            is_apart = other.key[:TAG_SIZE] in wanted
            was_apart = other.key[:TAG_SIZE] in member.feed
            if is_apart and not was_apart and other.reach is MemberState.PRESENT:
                # Both ways: what one does not hear of the other, the other may not hear of it.
                other.feed.add(member.key[:TAG_SIZE])
                if member.record is not None and member.record.signature:
                    self._put(other, QueuedFrame(Records((member.record.encode(),))))
            elif was_apart and not is_apart:
                other.feed.discard(member.key[:TAG_SIZE])
        member.feed = wanted

    def _pass_on(self, carried: Carried, received: Received) -> None:
        """Send what has come to members that its issuer does not reach."""
        for member in self.members:
            if (
                carried.issuer[:TAG_SIZE] in member.feed
                and member.reach is MemberState.PRESENT
                and member.key not in (received.sender, carried.issuer)
            ):
                self._put(member, QueuedFrame(PacketFrame(2, carried.packet), carried.id))

    # --- frames -----------------------------------------------------------------------------

    def _receive(self, data: bytes, address: bytes, sender: bytes | None, now: float) -> None:
        member = None if sender is None else self.members.get(sender)
        frames = frames_of(data)
        if member is None or frames is None:
            self.refused["malformed" if frames is None else "sender"] += 1
            return
        if not self._limiter.allows(address, now, sender=sender, messages=len(frames)):
            self.refused["budget"] += 1
            return
        self._heard(member, address, now)
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
            self._acknowledge(member.key, numbers)
        self._go_on_comparing(now)

    def _take(self, member: OtherMember, frame: Frame, now: float) -> None:
        if isinstance(frame, Acknowledgement):
            for item in member.flow.acknowledged(frame.numbers, now):
                if item.packet_id:
                    self.own.acknowledged(item.packet_id, member.key)
        else:
            _HANDLERS[type(frame)](self, member, frame, now)

    def _acknowledge(self, key: bytes, numbers: list[int]) -> None:
        member = self.members.get(key)
        if member is not None:
            for start in range(0, len(numbers), ACKS_LIMIT):
                part = tuple(numbers[start : start + ACKS_LIMIT])
                self._say(member, encode(Acknowledgement(part), 0))

    def _refuse(self, received: Received, code: RefusalCode | None) -> None:
        """Say that a packet is not kept; why, only to its own issuer."""
        member = self.members.get(received.sender)
        if member is None:
            return
        short = content_id(received.packet)[:ID_SIZE]
        if code is not RefusalCode.CLOCK:  # which may be right later
            self._refused_of.put((received.sender, short), None)
        if self._comparison is not None and self._comparison.key == received.sender:
            self._comparison.coming.discard(short)
        is_own = issuer_key(received.packet) == received.sender
        told = code if code is not None and is_own else 0
        self._say(member, encode(Refusal(received.number, int(told)), 0))

    def _put_off(self, received: Received) -> None:
        member = self.members.get(received.sender)
        if member is not None:
            self._say(member, encode(Refusal(received.number, LATER), 0))

    def _on_refusal(self, member: OtherMember, frame: Refusal, now: float) -> None:
        for item in member.flow.acknowledged((frame.number,), now):
            if frame.code == LATER:
                member.flow.put_off(item, now)
            elif item.packet_id and frame.code:
                self._events.append(RefusedBy(member.key, frame.code))

    def _on_records(self, member: OtherMember, frame: Records, now: float) -> None:
        for data in frame.records:
            known = self.members.learn(data)
            if known is None or known.record is None:
                continue
            if known.record.is_leaving:
                if self._change(known, Change.GOODBYE):
                    known.flow.clear()
                    known.seen_at = None
            elif self._change(known, Change.RECORD):
                self._call(known, now)
            elif known is not member and known.reach is MemberState.PRESENT:
                known.seen_at = None  # it has moved, or begun anew

    def _put(self, member: OtherMember, item: QueuedFrame) -> None:
        self._active[member] = None
        if not member.flow.put(item):
            self._guard.at_limit(
                "direct.flow.WAITING_LIMIT",
                member.key.hex(),
                "a frame for this member was dropped: too many wait for it; packets come when "
                "sets are compared, within some periods",
            )

    # --- comparing --------------------------------------------------------------------------

    def _period(self) -> float:
        return COMPARE_EVERY_S * self._rng.uniform(0.8, 1.2)

    def _drawn(self, count: int) -> list[bytes]:
        present = self.members.present()
        return [each.key for each in self._rng.sample(present, min(count, len(present)))]

    def _go_on_comparing(self, now: float) -> None:
        """Begin the next comparison once the one before is over."""
        current = self._comparison
        if current is not None and current.is_over:
            self._comparison = current = None
        while current is None and self._to_compare:
            member = self.members.get(self._to_compare.pop(0))
            if member is not None and member.reach is MemberState.PRESENT:
                current = self._comparison = comparing.begin(member.key, self._rng, now)
                nonce = current.nonce
                summary = Summary(nonce, self.store.digest(nonce), self._digest_of_members(nonce))
                self._put(member, QueuedFrame(summary))
        self._note_entry()

    def _digest_of_members(self, nonce: bytes) -> bytes:
        records = sorted([*self.members.records(), self._record.encode()])
        return blake3(nonce + b"".join(records)).digest(8)

    def _may_answer(self, member: OtherMember, size: int, now: float) -> bool:
        """True if comparing with a member may cost so many more bytes."""
        rate = ANSWERS_AN_HOUR / 3_600.0
        spent = max(0.0, member.answered_bytes - rate * (now - member.answered_since))
        member.answered_since = now
        may = spent + size <= ANSWERS_AN_HOUR
        member.answered_bytes = spent + size * may
        if not may:
            self.refused["budget"] += 1
            self._guard.at_limit(
                "direct.node.ANSWERS_AN_HOUR",
                member.key.hex(),
                "a comparison with this member is not answered: it has had all that is kept twice "
                "within the hour; it may ask others, and here again later",
            )
        return may

    def _on_summary(self, member: OtherMember, frame: Summary, now: float) -> None:
        same = frame.packets == self.store.digest(frame.nonce)
        if same:
            self.own.all_acknowledged(member.key)
        records = self.members.records()
        if frame.members == self._digest_of_members(frame.nonce):
            records = []
        if not self._may_answer(member, 32 + 512 * (not same) + 122 * len(records), now):
            return
        for start in range(0, len(records), RECORDS_LIMIT):
            self._put(member, QueuedFrame(Records(tuple(records[start : start + RECORDS_LIMIT]))))
        digests = () if same else self.store.bucket_digests(frame.nonce)
        self._put(member, QueuedFrame(Buckets(frame.nonce, digests)))

    def _on_buckets(self, member: OtherMember, frame: Buckets, now: float) -> None:
        current = self._comparison_with(member, frame.nonce)
        if current is None or current.has_answer:
            return
        current.has_answer, current.moved_at = True, now
        if not frame.digests:
            self.own.all_acknowledged(member.key)
            return
        for question in comparing.ranges_of(self.store, frame):
            current.ranges.add(question.high)
            self._put(member, QueuedFrame(question))

    def _on_holds(self, member: OtherMember, frame: Holds, now: float) -> None:
        for short in frame.ids:
            self._has(member, short)
        unwanted = frozenset(
            short
            for short in frame.ids
            if short in self._withdrawn or (member.key, short) in self._refused_of
        )
        answer = comparing.compared(self.store, frame, unwanted)
        size = 32 + 8 * len(answer.wanted) + 560 * len(answer.offered)
        if not self._may_answer(member, size, now):
            return
        self._put(member, QueuedFrame(answer))
        self._give(member, answer.offered)

    def _on_lacks(self, member: OtherMember, frame: Lacks, now: float) -> None:
        current = self._comparison_with(member, frame.nonce)
        if current is None:
            return
        # The range that was asked for: the one with the least end not before `until`.
        end = min((high for high in current.ranges if high >= frame.until), default=None)
        if end is None:
            return
        current.ranges.discard(end)
        current.moved_at = now
        self._give(member, frame.wanted)
        current.coming.update(
            short
            for short in frame.offered
            if short not in self.store
            and short not in self._withdrawn
            and (member.key, short) not in self._refused_of
        )
        if frame.until < end:
            for question in comparing.listed(
                self.store, frame.nonce, comparing.following(frame.until), end
            ):
                current.ranges.add(question.high)
                self._put(member, QueuedFrame(question))

    def _comparison_with(self, member: OtherMember, nonce: bytes) -> Comparison | None:
        current = self._comparison
        if current is None or current.key != member.key or current.nonce != nonce:
            return None
        return current

    def _give(self, member: OtherMember, shorts: Iterable[bytes]) -> None:
        """Send packets that a member lacks."""
        for short in list(shorts)[:IDS_LIMIT]:
            carried = self.store.get(short)
            if carried is not None:
                hops = 1 if carried.issuer == self._credentials.key else 2
                self._put(member, QueuedFrame(PacketFrame(hops, carried.packet), carried.id))

    def _has(self, member: OtherMember, short: bytes) -> None:
        """Note that a member has said that it holds a packet."""
        carried = self.store.get(short)
        if carried is not None:
            self.own.acknowledged(carried.id, member.key)


_HANDLERS: Final[dict[type[Frame], Callable[[DirectNode, OtherMember, Any, float], None]]] = {
    Refusal: DirectNode._on_refusal,  # noqa: SLF001  the table of the class's own handlers
    Records: DirectNode._on_records,  # noqa: SLF001
    Summary: DirectNode._on_summary,  # noqa: SLF001
    Buckets: DirectNode._on_buckets,  # noqa: SLF001
    Holds: DirectNode._on_holds,  # noqa: SLF001
    Lacks: DirectNode._on_lacks,  # noqa: SLF001
    Feed: DirectNode._on_feed,  # noqa: SLF001
}


def _is_awaited(member: OtherMember) -> bool:
    return member.is_reached and not member.is_stuck
