"""One node with everything that a deployment has: its key, its channels, the application's gate."""

import logging
import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from nacl import bindings

import qis
from qis._guard import Guard
from qis.channel import Channels
from qis.health import Notices
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import Datagram
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.record import Credentials
from qis.overlay.subscription import Wanted
from qis.transport.base import Statistics
from qis.transport.reception import Reception

if TYPE_CHECKING:
    from collections.abc import Callable

NOW: Final = 1_800_000_000.0
SCHEME: Final = qis.VectorScheme(dimensions=4, bands=8)
TOPICS: Final = ((1.0, 0.5, -0.2, 0.1), (-1.0, -0.5, 0.2, -0.1))
LIFETIME_S: Final = 86_400


class Site:
    """A node, its channels if it has any, and the gate before its application."""

    def __init__(
        self, identity: qis.Identity, number: int, roster: qis.Roster, seed: int, *, encrypted: bool
    ) -> None:
        self.identity = identity
        self.credentials = Credentials.of(identity)
        self.roster = roster
        self.address = pack_address(f"10.0.{number}.1", 4_000)
        self.statistics = Statistics()
        self.node: OverlayNode
        self.channels: Channels | None
        self.lies: Callable[[bytes, bytes], bytes] = lambda data, _: data
        """Gives what the site really says, of what its node would say, and to whom."""
        self.notices = Notices(logging.getLogger("qis.fault"))
        """What was contained, of all lives of this site."""
        self._rng = random.Random(seed)
        self._reception = Reception(roster, self.statistics, notices=self.notices)
        self._validator = self._reception.validator
        self._inboxes = ExitStack()
        self._encrypted = encrypted
        self.start(NOW)

    def start(self, now: float) -> None:
        """Begin with nothing but the key, as after a restart."""
        guard = Guard(self.notices)
        settings = Settings(
            credentials=self.credentials,
            address=self.address,
            inspect=self._validator,
            verify_ahead=self._validator.verify_ahead,
            receive=self._reception.takes,
            accepts=self.roster.accepts,
            refused=self.statistics.refused,
            guard=guard,
        )
        self.node = OverlayNode(settings, rng=self._rng, secret=self._rng.randbytes(32), now=now)
        self.channels = None
        if self._encrypted:
            self.channels = Channels(
                self.identity,
                accepts=self.roster.accepts,
                rng=self._rng,
                secret=self._rng.randbytes(32),
                refused=self.statistics.refused,
                guard=guard,
                key_pairs=lambda: bindings.crypto_kx_seed_keypair(self._rng.randbytes(32)),
            )

    @property
    def peer(self) -> tuple[bytes, bytes]:
        """Key and address."""
        return self.credentials.key, self.address

    def listen(self, topic: int, now: float) -> None:
        """Subscribe to a topic."""
        interest = SCHEME.interest(TOPICS[topic])
        self._inboxes.enter_context(self._reception.inbox(interest, now=now))
        self.node.want(self._reception.wanted(), now)

    def publish(self, packet: qis.Packet, keys: tuple[bytes, ...], now: float) -> None:
        """Hand a packet of its own to the network, as a transport does."""
        carried = self._validator.carried(packet, keys)
        self._reception.hold(packet, keys)
        self._validator.trust(packet, carried)
        self.node.publish(carried, now)

    def wanted(self) -> Wanted:
        """What is subscribed to."""
        return self._reception.wanted()

    def take(self, data: bytes, source: bytes, now: float) -> None:
        """Take a datagram in from the wire."""
        if self.channels is None:
            self.node.receive_datagram(data, source, now)
            return
        for plain, address, key in self.channels.receive(data, source, now):
            self.node.receive_datagram(plain, address, now, sender=key)

    def wake(self, now: float) -> None:
        """Do what is due."""
        self.node.handle_timer(now)
        if self.channels is not None:
            self._seal(now)
            self.channels.handle_timer(now)

    def wakes_at(self) -> float:
        """When something is due next."""
        at = self.node.next_timer()
        if self.channels is not None:
            other = self.channels.next_timer()
            at = min((t for t in (at, other) if t is not None), default=None)
        return float("inf") if at is None else at

    def sends(self, now: float) -> list[tuple[bytes, bytes]]:
        """What goes onto the wire, as (datagram, address)."""
        if self.channels is None:
            return [(data, address) for data, address, _ in self._says()]
        self._seal(now)
        return self.channels.datagrams()

    def _says(self) -> list[Datagram]:
        return [
            (self.lies(data, address), address, key) for data, address, key in self.node.datagrams()
        ]

    def _seal(self, now: float) -> None:
        assert self.channels is not None  # noqa: S101  the caller has asked
        for data, address, key in self._says():
            self.channels.send(data, address, key, now)


def packet_about(
    identity: qis.Identity,
    topic: int,
    number: int,
    now: int,
    *,
    others: tuple[bytes, ...] = (),
    lifetime_s: int = LIFETIME_S,
) -> tuple[qis.Packet, tuple[bytes, ...]]:
    """A signed packet and all the keys that it travels under, `others` among them."""
    about = TOPICS[topic]
    effect = qis.Effect(question=f"{number}", measure="OR", estimate=0.1, standard_error=0.1)
    keys = (*(others or SCHEME.routing_keys(about)), effect.study_id)
    packet = qis.Packet.sign(
        identity,
        outcome=effect,
        fingerprint=SCHEME.fingerprint(about),
        issued_at=now,
        lifetime_s=lifetime_s,
        routing_keys=keys[:-1],
        sequence=now * 1_000_000 + number,
    )
    return packet, tuple(sorted(set(keys)))
