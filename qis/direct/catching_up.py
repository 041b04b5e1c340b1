"""Catching up: the comparisons that a node has begun, and its answers to those of others.

One comparison at a time: with each of the first members that answer, with each that was silent, and
from time to time with one drawn at random. What one costs a member is bounded by the hour.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from blake3 import blake3

from qis._guard import Guard
from qis.direct import comparing
from qis.direct.comparing import Comparison
from qis.direct.frames import (
    IDS_LIMIT,
    RECORDS_LIMIT,
    Buckets,
    Holds,
    Lacks,
    PacketFrame,
    Records,
    Summary,
)
from qis.direct.members import Members, MemberState, OtherMember
from qis.direct.outgoing import Outgoing
from qis.direct.own import SentPackets
from qis.direct.store import PacketStore
from qis.direct.unwanted import Unwanted
from qis.overlay.message_store import RETAINED_LIMIT

COMPARE_EVERY_S: Final = 600.0
"""Time between two comparisons with a member drawn at random, ± 20 %."""
COMPARED_AT_FIRST: Final = 3
"""Members that a node which has just joined compares with, one after the other."""
ANSWERS_AN_HOUR: Final = 2.0 * RETAINED_LIMIT * 560
"""Bytes that comparing may cost for one member in an hour: all that is kept, twice."""


class CatchingUp:
    """One node's comparing.

    Parameters
    ----------
    members, store, own, unwanted, outgoing
        The parts of the node.
    own_key
        The node's key.
    own_record
        Gives its own record, encoded.
    rng
        Source of nonces, jitter and choices.
    now
        Steady seconds.
    refused
        Where what is refused is counted, by reason.
    guard
        Tells whose budget is used up.

    """

    def __init__(
        self,
        members: Members,
        store: PacketStore,
        own: SentPackets,
        unwanted: Unwanted,
        outgoing: Outgoing,
        *,
        own_key: bytes,
        own_record: Callable[[], bytes],
        rng: random.Random,
        now: float,
        refused: Counter[str],
        guard: Guard,
    ) -> None:
        self._members = members
        self._store = store
        self._own = own
        self._unwanted = unwanted
        self._outgoing = outgoing
        self._own_key = own_key
        self._own_record = own_record
        self._rng = rng
        self._refused = refused
        self._guard = guard
        self._current: Comparison | None = None
        self._next: list[bytes] = []
        self._begun_with = 0
        self._at = now + self._period()

    @property
    def is_busy(self) -> bool:
        """True if a comparison is under way or is to begin."""
        return self._current is not None or bool(self._next)

    def turned_up(self, member: OtherMember, *, was_silent: bool) -> None:
        """Compare with a member that has begun to answer, if it is of the first or was silent."""
        if was_silent or self._begun_with < COMPARED_AT_FIRST:
            self._begun_with += 1
            self._next.append(member.key)

    def fell_silent(self, member: OtherMember) -> None:
        """Wait for a member no longer."""
        if self._current is not None and self._current.key == member.key:
            self._current = None

    def has_come(self, short: bytes, now: float) -> None:
        """Note that a packet has come, by the first bytes of its id."""
        if self._current is not None:
            self._current.coming.discard(short)
            self._current.moved_at = now

    def is_refused(self, member: bytes, short: bytes) -> None:
        """Note that what a member has sent is of no use."""
        if self._current is not None and self._current.key == member:
            self._current.coming.discard(short)

    def next_timer(self) -> float:
        """When `handle_timer` has to be called next."""
        if self._current is None:
            return self._at
        return min(self._at, self._current.moved_at + comparing.PATIENCE_S)

    def handle_timer(self, now: float) -> None:
        """Begin a comparison from time to time, and give up one that stands still."""
        if self._current is not None and self._current.is_stuck(now):
            self._current = None
        if now >= self._at:
            self._at = now + self._period()
            present = self._members.present()
            if present:
                self._next.append(self._rng.choice(present).key)

    def go_on(self, now: float) -> None:
        """Begin the next comparison once the one before is over."""
        if self._current is not None and self._current.is_over:
            self._current = None
        while self._current is None and self._next:
            member = self._members.get(self._next.pop(0))
            if member is not None and member.reach is MemberState.PRESENT:
                self._current = comparing.begin(member.key, self._rng, now)
                nonce = self._current.nonce
                members = self._digest_of_members(nonce)
                self._outgoing.put(member, Summary(nonce, self._store.digest(nonce), members))

    def on_summary(self, member: OtherMember, frame: Summary, now: float) -> None:
        """Answer a digest: with nothing if the sets are the same, else with one a bucket."""
        same = frame.packets == self._store.digest(frame.nonce)
        if same:
            self._own.all_acknowledged(member.key)
        records = self._members.records()
        if frame.members == self._digest_of_members(frame.nonce):
            records = []
        if not self._may_answer(member, 32 + 512 * (not same) + 122 * len(records), now):
            return
        for start in range(0, len(records), RECORDS_LIMIT):
            self._outgoing.put(member, Records(tuple(records[start : start + RECORDS_LIMIT])))
        digests = () if same else self._store.bucket_digests(frame.nonce)
        self._outgoing.put(member, Buckets(frame.nonce, digests))

    def on_buckets(self, member: OtherMember, frame: Buckets, now: float) -> None:
        """List what is held where the digests differ."""
        current = self._with(member, frame.nonce)
        if current is None or current.has_answer:
            return
        current.has_answer, current.moved_at = True, now
        if not frame.digests:
            self._own.all_acknowledged(member.key)
            return
        for question in comparing.ranges_of(self._store, frame):
            current.ranges.add(question.high)
            self._outgoing.put(member, question)

    def on_holds(self, member: OtherMember, frame: Holds, now: float) -> None:
        """Say what is lacking of what a member lists, and send what it lacks."""
        for short in frame.ids:
            carried = self._store.get(short)
            if carried is not None:
                self._own.acknowledged(carried.id, member.key)
        unwanted = frozenset(each for each in frame.ids if self._unwanted.has(member.key, each))
        answer = comparing.compared(self._store, frame, unwanted)
        size = 32 + 8 * len(answer.wanted) + 560 * len(answer.offered)
        if self._may_answer(member, size, now):
            self._outgoing.put(member, answer)
            self._give(member, answer.offered)

    def on_lacks(self, member: OtherMember, frame: Lacks, now: float) -> None:
        """Send what a member lacks, and wait for what it has beyond what was listed."""
        current = self._with(member, frame.nonce)
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
            if short not in self._store and not self._unwanted.has(member.key, short)
        )
        if frame.until < end:
            following = comparing.following(frame.until)
            for question in comparing.listed(self._store, frame.nonce, following, end):
                current.ranges.add(question.high)
                self._outgoing.put(member, question)

    def _with(self, member: OtherMember, nonce: bytes) -> Comparison | None:
        current = self._current
        if current is None or current.key != member.key or current.nonce != nonce:
            return None
        return current

    def _give(self, member: OtherMember, shorts: Iterable[bytes]) -> None:
        """Send packets that a member lacks."""
        for short in list(shorts)[:IDS_LIMIT]:
            carried = self._store.get(short)
            if carried is not None:
                hops = 1 if carried.issuer == self._own_key else 2
                self._outgoing.put(member, PacketFrame(hops, carried.packet), carried.id)

    def _period(self) -> float:
        return COMPARE_EVERY_S * self._rng.uniform(0.8, 1.2)

    def _digest_of_members(self, nonce: bytes) -> bytes:
        records = sorted([*self._members.records(), self._own_record()])
        return blake3(nonce + b"".join(records)).digest(8)

    def _may_answer(self, member: OtherMember, size: int, now: float) -> bool:
        """True if comparing with a member may cost so many more bytes."""
        rate = ANSWERS_AN_HOUR / 3_600.0
        spent = max(0.0, member.answered_bytes - rate * (now - member.answered_since))
        member.answered_since = now
        may = spent + size <= ANSWERS_AN_HOUR
        member.answered_bytes = spent + size * may
        if not may:
            self._refused["budget"] += 1
            self._guard.at_limit(
                "direct.catching_up.ANSWERS_AN_HOUR",
                member.key.hex(),
                "a comparison with this member is not answered: it has had all that is kept twice "
                "within the hour; it may ask others, and here again later",
            )
        return may
