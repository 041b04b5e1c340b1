"""Which state machine a node runs: direct or keyed, as its roster says, or both for a while.

While two versions of a roster are about that differ in this, a node runs both: it publishes both
ways and answers both, until every site can be expected to have the newer roster.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from random import Random
from typing import Final

from qis._clock import Clock
from qis._guard import Guard
from qis.direct.frames import MAGIC
from qis.direct.paths import Paths
from qis.identity import Identity, Issuer
from qis.overlay.bundles import Datagram
from qis.overlay.message_store import Carried
from qis.overlay.messages import MAGIC as KEYED_MAGIC
from qis.overlay.node import Arrival, OverlayNode, Settings, Standing
from qis.overlay.record import Contact, Credentials
from qis.overlay.subscription import Wanted
from qis.packet import reread
from qis.refusals import Claim
from qis.transport._direct import DirectMember
from qis.transport._standing import holding_of
from qis.transport.base import Holding, Statistics
from qis.transport.reception import Reception

BOTH_S: Final = 7 * 86_400.0
"""How long a node runs both modes after its roster has changed from one to the other, or after a
member has called in the other: within a week every site should have the newer roster."""


@dataclass(frozen=True, kw_only=True)
class NodeParts:
    """What a node of either mode is made of; `secret` gives 32 bytes that nobody else knows."""

    identity: Identity
    address: bytes
    reception: Reception
    statistics: Statistics
    guard: Guard
    rng: Random
    clock: Clock
    secret: Callable[[], bytes]

    def node(self, now: float) -> "Node":
        """Make the node that the roster asks for."""
        return self.direct(now) if self.reception.roster.is_direct else self.keyed(now)

    def keyed(self, now: float) -> OverlayNode:
        """Make a node that routes by keys."""
        reception = self.reception
        settings = Settings(
            credentials=Credentials.of(self.identity),
            address=self.address,
            inspect=reception.validator,
            receive=reception.takes,
            accepts=reception.accepts,
            verify_ahead=reception.validator.verify_ahead,
            refused=self.statistics.refused,
            unix_s=self.clock.unix_s,
            guard=self.guard,
            refusals=reception.refusals,
            salt_of=lambda key: reception.roster.node_salt(key),  # noqa: PLW0108  it is renewed
            is_own_site=partial(reception.is_one_site, self.identity.issuer.key),
        )
        return OverlayNode(settings, rng=self.rng, secret=self.secret(), now=now)

    def direct(self, now: float) -> DirectMember:
        """Make a node that sends everything to every member."""
        return DirectMember(
            self.identity,
            self.address,
            self.reception,
            self.statistics,
            guard=self.guard,
            rng=self.rng,
            clock=self.clock,
            now=now,
        )


class BothModes:
    """A node in both modes at once, of which the roster now asks for one.

    Parameters
    ----------
    parts
        What the other node is made of.
    before
        The node that has run until now.
    now
        Seconds of the steady clock.

    """

    def __init__(self, parts: NodeParts, before: "OverlayNode | DirectMember", now: float) -> None:
        self.until = now + BOTH_S
        self._parts = parts
        if isinstance(before, DirectMember):
            self.direct, self.keyed = before, parts.keyed(now)
        else:
            self.direct, self.keyed = parts.direct(now), before
        other = self.keyed if isinstance(before, DirectMember) else self.direct
        known = [(each.record.key, each.record.address) for each in before.table]
        if isinstance(other, DirectMember):
            validator, unix_s = parts.reception.validator, parts.clock.unix_s(now)
            other.take(
                [
                    validator.carried(reread(data), keys or ())
                    for data, keys, hops in parts.reception.held(unix_s)
                    if hops
                ],
                now,
            )
        other.join(known, now)
        for carried in before.own():
            other.publish(carried, now)
        other.want(parts.reception.wanted(), now)

    @property
    def roster_asks_for(self) -> "OverlayNode | DirectMember":
        """The node that goes on alone when the time is over."""
        return self.direct if self._parts.reception.roster.is_direct else self.keyed

    @property
    def contact(self) -> Contact:
        """The signed record and the id of this node."""
        return self.roster_asks_for.contact

    @property
    def table(self) -> tuple[Contact, ...]:
        """The nodes that are known, each once."""
        found = {each.record.key: each for each in chain(self.keyed.table, self.direct.table)}
        return tuple(found.values())

    @property
    def standing(self) -> Standing:
        """How the node that the roster asks for stands to the others."""
        return self.roster_asks_for.standing

    @property
    def is_idle(self) -> bool:
        """True if nothing is under way in either mode."""
        return self.direct.is_idle and self.keyed.is_idle

    @property
    def is_busy(self) -> bool:
        """True if something is under way in either mode."""
        return self.direct.is_busy or self.keyed.is_busy

    @property
    def is_full(self) -> bool:
        """True if the application should wait before it publishes more packets."""
        return self.direct.is_full or self.keyed.is_full

    def join(self, peers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Call nodes whose (key, address) is known from elsewhere."""
        peers = list(peers)
        self.direct.join(peers, now)
        self.keyed.join(peers, now)

    def want(self, wanted: Wanted, now: float) -> None:
        """Register interests at the keyed nodes."""
        self.keyed.want(wanted, now)

    def publish(self, carried: Carried, now: float) -> None:
        """Publish both ways."""
        self.direct.publish(carried, now)
        self.keyed.publish(carried, now)

    def spread(self, now: float) -> None:
        """Bring what was published to all of its holders."""
        self.keyed.spread(now)

    def own(self) -> list[Carried]:
        """What was published here and lives."""
        return self.direct.own()

    def withdraw(self, packet_ids: Iterable[bytes]) -> None:
        """Repeat these no more."""
        ids = list(packet_ids)
        self.direct.withdraw(ids)
        self.keyed.withdraw(ids)

    def all_held(self, now: float) -> bool:
        """True if all that was published is held in one of the modes."""
        return self.direct.all_held(now) or self.keyed.all_held(now)

    def holding(self, packet_id: bytes, refusals: Iterable[Claim]) -> Holding:
        """Tell whether a packet is held in one of the modes."""
        refusals = list(refusals)
        found = self.direct.holding(packet_id, refusals)
        return found if found.is_held else holding_of(self.keyed, packet_id, refusals)

    def judge_again(self) -> None:
        """Whom the roster lists has changed."""
        self.direct.judge_again()
        self.keyed.judge_again()

    def leave(self, now: float) -> None:
        """Say good-bye in both modes."""
        self.direct.leave(now)
        self.keyed.leave(now)

    def receive_datagrams(self, arrivals: Iterable[Arrival], now: float) -> None:
        """Give each datagram to the node of its mode."""
        groups: tuple[list[Arrival], list[Arrival]] = ([], [])
        for arrival in arrivals:
            groups[arrival[0].startswith(MAGIC)].append(arrival)
        self.keyed.receive_datagrams(groups[0], now)
        self.direct.receive_datagrams(groups[1], now)

    def datagrams(self) -> list[Datagram]:
        """What has to be sent now; taken once."""
        return [*self.keyed.datagrams(), *self.direct.datagrams()]

    def next_timer(self) -> float:
        """When `handle_timer` has to be called next."""
        due = self.keyed.next_timer()
        times = [self.direct.next_timer(), self.until, *([] if due is None else [due])]
        return min(times)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self.keyed.handle_timer(now)
        self.direct.handle_timer(now)


Node = OverlayNode | DirectMember | BothModes
"""A node of either mode, or of both."""


def holding(node: Node, packet_id: bytes, refusals: Iterable[Claim]) -> Holding:
    """Tell whether a packet that was published here is held, and if not, why."""
    if isinstance(node, OverlayNode):
        return holding_of(node, packet_id, refusals)
    return node.holding(packet_id, refusals)


def paths_of(node: Node | None) -> Paths | None:
    """What a node knows of the ways to others; `None` if it knows no members."""
    if isinstance(node, BothModes):
        node = node.direct
    return node.node.paths if isinstance(node, DirectMember) else None


def judged_again(node: Node, parts: NodeParts, now: float) -> Node:
    """Have a node follow a changed roster; it runs both modes for a while if that has changed."""
    node.judge_again()
    if isinstance(node, BothModes):
        return node
    is_direct = isinstance(node, DirectMember)
    return node if is_direct == parts.reception.roster.is_direct else BothModes(parts, node, now)


def called_otherwise(node: Node, parts: NodeParts, arrivals: Iterable[Arrival], now: float) -> Node:
    """Have a direct node run both modes if a member of the roster has called it in the keyed one.

    Not the other way round: a keyed network may be of any size, and one member could then make all
    others send everything to everybody.
    """
    if not isinstance(node, DirectMember):
        return node
    is_called = any(
        sender is not None
        and data.startswith(KEYED_MAGIC)
        and parts.reception.accepts(Issuer(sender))
        for data, _, sender in arrivals
    )
    return BothModes(parts, node, now) if is_called else node


def after_both(node: Node, now: float) -> Node:
    """End running both modes once the time is over."""
    return node.roster_asks_for if isinstance(node, BothModes) and now >= node.until else node
