"""The nodes of a simulation, what each of them wants, and where packets come."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from qis._gate import checked
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import messages_of
from qis.overlay.delivering import Arrived
from qis.overlay.lookup import Lookup
from qis.overlay.message_store import Carried
from qis.overlay.messages import Deliver, decode
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.subscription import Subscription
from qis.simulation import letters, seals
from qis.simulation.members import Member
from qis.simulation.placed import Placement
from qis.simulation.progress import Progress
from qis.simulation.tables import fill_tables
from qis.simulation.wire import Wire, unscanned

if TYPE_CHECKING:
    from qis.simulation.publication import Publication


class Crowd(Wire):
    """Nodes of the real core, each with its wishes; some of them may drop what they acknowledge.

    Parameters
    ----------
    wanted
        What the node of each number wants.
    holders
        Holders of each key.
    seed
        Seed of all randomness.
    latency_s
        Range of a datagram's delay in seconds, uniform.
    loss, duplicate
        Probability that a datagram is lost, or comes twice.
    progress
        Called with how much is done, of how much, and of what.

    """

    def __init__(
        self,
        wanted: Iterable[Member],
        *,
        holders: int,
        seed: int,
        latency_s: tuple[float, float],
        loss: float,
        duplicate: float,
        progress: Progress,
    ) -> None:
        super().__init__(
            seed=seed, latency_s=latency_s, loss=loss, duplicate=duplicate, progress=progress
        )
        self.members: list[Member] = []
        self.droppers: set[int] = set()
        self.publications: dict[bytes, Publication] = {}
        self.lookups: Counter[tuple[int, int]] = Counter()
        self._looked_for: set[int] = set()
        self._holders = holders
        self._admission = seals.Everybody()
        self._subscriptions: dict[bytes, Subscription] = {}
        self._placement: Placement | None = None
        for each in wanted:
            self._add(each)

    @checked
    def drop_at(self, nodes: Iterable[int]) -> None:
        """Let nodes acknowledge all packets and pass none on."""
        self.droppers.update(self._numbered(nodes, "nodes"))

    def _add(self, wants: Member) -> int:
        index = len(self.nodes)
        settings = Settings(
            credentials=seals.credentials(self._rng.randbytes(32)),
            address=pack_address(f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}", 4_000),
            inspect=partial(self._inspect, index),
            receive=partial(self._receive, index),
            accepts=lambda _: True,
            holders=self._holders,
        )
        rng = random.Random(self._rng.getrandbits(64))  # noqa: S311  repeatable on purpose
        node = OverlayNode(
            settings,
            rng=rng,
            secret=rng.randbytes(32),
            now=self.now,
            admission=self._admission,
        )
        node.lookup_driver.finished = self._note_lookup
        node.rendezvous.subscription_table.kept_as = self._one_of
        self._admission.know(node.contact)
        self.members.append(wants)
        return self._attach(node)

    def _make_placement(self) -> None:
        with unscanned():
            fill_tables(self.nodes, self._rng)
            for node in self.nodes:
                node.table.take_news()  # it is none any more
            self._placement = Placement(
                self.nodes, self.members, holders=self._holders, now=self.now, rng=self._rng
            )
        for index in range(len(self.nodes)):
            self._flush(index)

    def _ready(self, index: int) -> OverlayNode:
        if self._placement is not None:
            self._placement.make(index)
        return super()._ready(index)

    def _inspect(self, index: int, packet: bytes, keys: tuple[bytes, ...], now: float) -> Carried:
        return letters.carried(packet, () if index in self.droppers else keys, now)

    def _receive(self, index: int, arrivals: Sequence[Arrived], now: float) -> list[bool]:
        for packet, keys, hops in arrivals:
            publication = self.publications.get(letters.carried(packet, keys or (), now).id)
            if publication is not None:
                is_taken = self.members[index].takes(packet, keys or ())
                publication.arrived(index, hops=hops, is_taken=is_taken)
        return [True] * len(arrivals)

    def _send(self, source: int, data: bytes, address: bytes) -> None:
        if source not in self.droppers:
            super()._send(source, data, address)
            return
        for message in messages_of(data) or ():
            if not isinstance(decode(message), Deliver):  # of a relay: a holder has no keys for it
                super()._send(source, message, address)

    def _one_of(self, subscription: Subscription) -> Subscription:
        """One of all equal ones, as one process here stands for all that hold it."""
        known = self._subscriptions.get(subscription.slot_id)
        if known is None or known.sequence < subscription.sequence:
            known = self._subscriptions[subscription.slot_id] = subscription
        return known if known == subscription else subscription

    def _note_lookup(self, lookup: Lookup) -> None:
        if lookup.target in self._looked_for:
            self._looked_for.remove(lookup.target)
            self.lookups[lookup.path_length, lookup.requests] += 1
