"""Entering the network, and entering it again: bootstrap peers, own neighbourhood, far contacts."""

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from qis.overlay.ids import ID_BITS
from qis.overlay.lookup_driver import LookupDriver
from qis.overlay.messages import RECORDS_LIMIT
from qis.overlay.record import Contact, NodeRecord
from qis.overlay.table import RoutingTable
from qis.overlay.timers import Timers

REJOIN_S: Final = 5.0
"""Pause between calls of peers of which none has answered."""
FORMER_LIMIT: Final = 32
"""Contacts remembered, to be called when all have fallen silent."""

LOOKS: Final = 2
"""How many peers out of reach are called at each look."""

Peer = tuple[bytes, bytes]
"""Key and address."""
Then = Callable[[float], None]


class Joining:
    """Brings one node into the network, and back when it has lost all of it, or a part.

    Parameters
    ----------
    lookup_driver, table, timers, rng, id_of
        The parts of the node, and what gives the id of a key's node.
    entered
        Called once the first peer has answered and the neighbours are known, or, should all be
        silent, when the last try has run out: what has waited is done then.

    """

    def __init__(
        self,
        lookup_driver: LookupDriver,
        table: RoutingTable,
        timers: Timers,
        rng: random.Random,
        *,
        id_of: Callable[[bytes], int],
        entered: Then,
    ) -> None:
        self.is_in = True
        """True if it has entered, or has no peers to enter by."""
        self._lookup_driver = lookup_driver
        self._table = table
        self._timers = timers
        self._rng = rng
        self._id_of = id_of
        self._entered = entered
        self._peers: list[Peer] = []
        self._former: list[Peer] = []
        self._is_alone = True

    @property
    def has_peers(self) -> bool:
        """True if the routing table has a contact, or no peers were given."""
        return bool(len(self._table)) or not self._peers

    @property
    def knows_of(self) -> int:
        """How many peers it was given or has had."""
        return len({key for key, _ in (*self._peers, *self._former)})

    def join(self, peers: Iterable[Peer], now: float, then: Then) -> None:
        """Enter by these peers; `then` once it is done.

        The first that answers is enough. Calls again until one does, and whenever the table has
        run empty; then also those who were in it.
        """
        own_key = self._lookup_driver.own.record.key
        self._peers = [peer for peer in peers if peer[0] != own_key]
        self.is_in = not self._peers
        self._call([*self._peers, *self._former], now, then)

    def notice(self, now: float) -> list[Contact]:
        """Call again if the table has run empty; who has come into it since the last time."""
        if len(self._table):
            self._is_alone = False
        elif not self._is_alone and (self._peers or self._former):
            self._is_alone = True
            self._call([*self._peers, *self._former], now, lambda _: None)
        news = self._table.take_news()
        if news:
            known = ((c.record.key, c.record.address) for c in self._table)
            self._former = [peer for peer, _ in zip(known, range(FORMER_LIMIT), strict=False)]
        return news

    def look_for_lost(self, now: float) -> None:
        """Call some of those who are out of reach, lest a network that was cut in two stays so.

        After a cut each half has contacts enough and would never ask for the other half again.
        """
        silent = ((each.record.key, each.record.address) for each in self._table.silent)
        peers = [peer for peer in dict.fromkeys((*self._peers, *silent)) if not self._knows(peer)]
        for peer in self._rng.sample(peers, min(LOOKS, len(peers))):
            self._lookup_driver.call(
                self._stranger(peer), now=now, then=partial(self._looked, peer)
            )

    def _looked(self, peer: Peer, now: float) -> None:
        """Look for neighbours on its side too, if one that was out of reach has answered."""
        if self._knows(peer):
            self._explore(now, lambda _: None)

    def _knows(self, peer: Peer) -> bool:
        return self._id_of(peer[0]) in self._table

    def _stranger(self, peer: Peer) -> Contact:
        key, address = peer
        record = NodeRecord(key=key, sequence=0, address=address, signature=b"")
        return Contact(self._id_of(key), record)

    def _call(self, peers: list[Peer], now: float, then: Then) -> None:
        silent = 0
        is_known = False

        def called(at: float) -> None:
            nonlocal silent, is_known
            if len(self._table):
                if not is_known:
                    is_known = True
                    self._explore(at, then)
                return
            silent += 1
            if silent == len(peers):
                self._enter(at)
                self._timers.start(at + REJOIN_S, lambda later: self._call(peers, later, then))

        for peer in peers:
            self._lookup_driver.call(self._stranger(peer), now=now, then=called)

    def _explore(self, now: float, then: Then) -> None:
        """Look for this node's own id, and for a random one at each distance beyond the closest."""
        own = self._lookup_driver.own.id

        def outwards(found: list[Contact], at: float) -> None:
            for contact in found:  # by now they have given a token, so this is no stranger's word
                if contact.id != own:
                    self._lookup_driver.call(contact, now=at, then=lambda _: None)
            self._enter(at)
            closest = self._table.closest(own, 1)
            nearest = (closest[0].id ^ own).bit_length() if closest else ID_BITS
            for bits in range(nearest, ID_BITS):
                target = own ^ (1 << bits) ^ self._rng.getrandbits(bits)
                self._lookup_driver.find(target, width=1, now=at, then=lambda _found, _at: None)
            then(at)

        self._lookup_driver.find(own, width=RECORDS_LIMIT, now=now, then=outwards)

    def _enter(self, now: float) -> None:
        if not self.is_in:
            self.is_in = True
            self._entered(now)
