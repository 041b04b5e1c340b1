"""A node in direct mode behind the same gate as every other transport: verify once, then match."""

import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from qis._clock import Clock
from qis._guard import Guard
from qis.direct import DirectNode
from qis.direct.events import Judged, Judgement, Received
from qis.direct.frames import ID_SIZE
from qis.errors import PeerError
from qis.evidence.roster import Roster
from qis.identity import Identity
from qis.overlay.bundles import Datagram
from qis.overlay.delivering import DELIVER_AGAIN_S
from qis.overlay.message_store import RETAINED_LIMIT, Carried
from qis.overlay.node import Arrival, Standing
from qis.overlay.record import Contact, Credentials
from qis.overlay.subscription import Wanted
from qis.packet import Packet, check_numbered, content_id, issuer_key
from qis.refusals import Claim, RefusalCode
from qis.transport._standing import alone
from qis.transport.base import Holding, Statistics
from qis.transport.reception import Reception, Verdict

_OUTCOMES: Final = {
    Verdict.ACCEPTED: Judgement.KEPT,
    Verdict.DUPLICATE: Judgement.KNOWN,
    Verdict.REFUSED: Judgement.REFUSED,
    Verdict.EARLY: Judgement.REFUSED,
    Verdict.UNHEARD: Judgement.LATER,
    Verdict.FULL: Judgement.KEPT,
    Verdict.FAULT: Judgement.LATER,
}
OFFERS_LIMIT: Final = 8
"""Times that a packet is offered to the application if this node fails on it, ever later."""


class _Offered(NamedTuple):
    """A packet that waits to be offered to the application again, and how often it has failed."""

    received: Received
    failures: int = 0


class DirectMember:
    """Joins a `DirectNode` to the `Reception` that verifies, matches and delivers.

    Parameters
    ----------
    identity, address, reception, statistics, guard, rng, clock, now
        The parts of the transport.

    """

    def __init__(
        self,
        identity: Identity,
        address: bytes,
        reception: Reception,
        statistics: Statistics,
        *,
        guard: Guard,
        rng: random.Random,
        clock: Clock,
        now: float,
    ) -> None:
        self._identity = identity
        self._reception = reception
        self._statistics = statistics
        self._guard = guard
        self._unix_s = clock.unix_s
        roster = reception.roster
        self._full: deque[_Offered] = deque()
        self._again_at: float | None = None
        self._now = now
        self.node = DirectNode(
            Credentials.of(identity),
            address,
            members=roster.node_keys,
            own_site=self._own_site(roster),
            rng=rng,
            now=now,
            unix_s=clock.unix_s,
            refused=statistics.refused,
            guard=guard,
        )

    @property
    def contact(self) -> Contact:
        """The signed record and the id of this node."""
        return self.node.contact

    @property
    def table(self) -> Sequence[Contact]:
        """The members that answer."""
        return self.node.table

    @property
    def standing(self) -> Standing:
        """How the node stands to the others."""
        return self.node.standing

    @property
    def is_idle(self) -> bool:
        """True if nothing is under way to a member that answers, and it has caught up."""
        return self.node.is_idle

    @property
    def is_busy(self) -> bool:
        """True if something is under way."""
        return self.node.is_busy

    @property
    def is_full(self) -> bool:
        """True if the application should wait before it publishes more packets."""
        return self.node.is_full

    def join(self, peers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Call members whose (key, address) is known from elsewhere."""
        self._now = now
        self.node.join(peers, now)

    def want(self, wanted: Wanted, now: float) -> None:
        """Do nothing: every packet comes, and nobody is told what is wanted."""

    def publish(self, carried: Carried, now: float) -> None:
        """Send a packet to every member."""
        self._now = now
        self.node.publish(carried, now)

    def take(self, kept: Iterable[Carried], now: float) -> None:
        """Keep verified packets of others that came before this node ran in direct mode."""
        for carried in kept:
            self.node.store.put(carried, self._unix_s(now))

    def spread(self, now: float) -> None:
        """Do nothing: every packet is on its way to every member already."""

    def withdraw(self, packet_ids: Iterable[bytes]) -> None:
        """Keep and send these packets no more."""
        self.node.withdraw(packet_ids)

    def all_held(self, now: float) -> bool:
        """True if another site has acknowledged all that was published here and lives."""
        return not self.node.is_joining and self.node.all_held(now)

    def holding(self, packet_id: bytes, refusals: Iterable[Claim]) -> Holding:
        """Tell how many members have acknowledged a packet, and if none has, why."""
        publication = self.node.publication(packet_id)
        if publication is None:
            return Holding(
                is_held=False,
                reason="this node knows nothing of it: it was not published here since it was "
                "opened, has expired, or was replaced",
            )
        own_site = self.node.own.own_site
        holders, members = len(publication.holders - own_site), len(self.node.members)
        if publication.is_held:
            return Holding(is_held=True, holders=holders)
        reason = f"no node of another site has acknowledged it, of {members} other members"
        if publication.holders:
            reason += f"; {len(publication.holders)} of this site have"
        if (why := alone(self.standing)) is not None:
            reason = f"{reason}: {why}"
        return Holding(
            is_held=False, holders=holders, reason="; ".join([reason, *map(str, refusals)])
        )

    def own(self) -> list[Carried]:
        """What was published here and lives."""
        return self.node.own_packets()

    def judge_again(self) -> None:
        """Know the members of another roster from now on: the reception's.

        One that is open lists nobody; those of before are then kept until direct mode ends.
        """
        roster = self._reception.roster
        if roster.is_open:
            return
        self.node.list_members(roster.node_keys, self._own_site(roster))

    def leave(self, now: float) -> None:
        """Say good-bye to all that answer."""
        self._now = now
        self.node.leave(now)

    def receive_datagrams(self, arrivals: Iterable[Arrival], now: float) -> None:
        """Take in what has come; packets are verified together."""
        self._now = now
        self.node.receive_datagrams(arrivals, now)
        self._judge(now)

    def datagrams(self) -> list[Datagram]:
        """What has to be sent now; taken once."""
        return self.node.datagrams(self._now)

    def next_timer(self) -> float:
        """When `handle_timer` has to be called next."""
        due = self.node.next_timer()
        return due if self._again_at is None else min(due, self._again_at)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        if self._again_at is not None and now >= self._again_at:
            self._offer_again(now)
        self.node.handle_timer(now)

    def _own_site(self, roster: Roster) -> frozenset[bytes]:
        site = roster.site_of(self._identity.issuer)
        keys = [] if site is None else [each.issuer.key for each in site.keys]
        return frozenset([self._identity.issuer.key, *keys])

    def _judge(self, now: float) -> None:
        received: list[Received] = []
        for event in self.node.events():
            if isinstance(event, Received):
                received.append(event)
            else:
                self._reception.refusals.heard(event.member, event.code, now)
        if not received:
            return
        judged = []
        with self._guard.item("direct.judging"):
            unix_s = self._unix_s(now)
            arrivals = [(each.packet, None, each.hops) for each in received]
            verdicts = self._reception.receive_many(arrivals, now=unix_s)
            for each, verdict in zip(received, verdicts, strict=True):
                try:
                    judged.append(self._judged(each, verdict, unix_s, now))
                except Exception as error:  # noqa: BLE001  not acknowledged, so it comes again
                    self._guard.contained("direct.packet", error)
        self.node.judged(judged, now)

    def _judged(self, each: Received, verdict: Verdict, unix_s: float, now: float) -> Judged:
        outcome = _OUTCOMES[verdict]
        if outcome is Judgement.REFUSED:
            return Judged(each, outcome, code=self._reception.why(each.packet, unix_s))
        if outcome is not Judgement.KEPT:
            return Judged(each, outcome)
        packet = self._reception.validator.known(each.packet)
        if packet is None:  # it has verified; more have come at once than are remembered
            packet = Packet.parse(each.packet)
        try:
            check_numbered(packet.sequence, packet.issued_at)
        except PeerError as error:
            self._reception.not_held(packet, error)
            return Judged(each, Judgement.REFUSED, code=RefusalCode.SEQUENCE)
        if verdict is Verdict.FULL:
            self._full.append(_Offered(each))
            if len(self._full) > 2 * RETAINED_LIMIT:  # of these at most half are still kept
                self._full = deque(each for each in self._full if self._is_kept(each))
            if self._again_at is None:
                self._again_at = now + DELIVER_AGAIN_S
        return Judged(each, outcome, self._reception.validator.carried(packet, ()))

    def _is_kept(self, offered: _Offered) -> bool:
        return content_id(offered.received.packet)[:ID_SIZE] in self.node.store

    def _offer_again(self, now: float) -> None:
        """Offer the application what it had no room for, in order, and later what failed."""
        self._again_at = None
        failed = []
        while self._full:
            each, failures = self._full[0]
            verdict = Verdict.FAULT
            with self._guard.item("direct.undelivered"):
                verdict = self._reception.receive(
                    each.packet, None, hops=each.hops, now=self._unix_s(now)
                )
            if verdict is Verdict.FULL:
                self._again_at = now + DELIVER_AGAIN_S
                break
            self._full.popleft()
            if verdict is not Verdict.FAULT:
                continue
            if failures + 1 < OFFERS_LIMIT:
                failed.append(_Offered(each, failures + 1))
            else:
                self._guard.at_limit(
                    "transport._direct.OFFERS_LIMIT",
                    issuer_key(each.packet).hex(),
                    "a packet is kept for others and not used here: this node has failed on it "
                    f"{OFFERS_LIMIT} times; it is offered again when the node is opened anew",
                )
        if failed:
            self._full.extend(failed)
            pause_s = DELIVER_AGAIN_S * 2.0 ** min(each.failures for each in failed)
            self._again_at = min(self._again_at or math.inf, now + pause_s)
