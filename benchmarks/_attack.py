"""All attackers of one node at once: strangers, an outsider with a key, and a bad member."""

import random
from collections import Counter
from functools import partial
from typing import Final

from _live_network import Network
from _mutations import Mutator, in_one, sealed_as
from _signer import Signer
from _site import Site

import qis
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import messages_of
from qis.overlay.messages import (
    DATAGRAM_SIZE,
    Delivered,
    Found,
    Message,
    Prove,
    Published,
    Subscribed,
    decode,
)

SITES: Final = 8
REGULARS: Final = tuple(pack_address(f"198.51.{number}.9", 9_000) for number in range(64))
OUTSIDE: Final = pack_address("203.0.113.5", 9_000)
FILL: Final = 19_000
"""More than any table of the target that is filled by what comes has room for."""
ANSWERS: Final = (Delivered, Found, Prove, Published, Subscribed)


class Attack:
    """One network under attack, and what came of it."""

    def __init__(self, seed: int, *, encrypted: bool) -> None:
        self.network = Network(SITES, seed, encrypted=encrypted)
        self.made: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.worst_ratio = 0.0
        self.unasked: Counter[bytes] = Counter()
        self._encrypted = encrypted
        self._rng = random.Random(seed + 1)
        self._wire = Mutator(self._rng)
        self._inner = Mutator(self._rng)
        self._outsider = Signer(qis.Identity.from_seed(b"outsider" * 4), self._rng)
        self._member = Signer(self.network.liar.identity, self._rng)
        self._source: bytes | None = None
        self._answered = 0
        self._balance: Counter[bytes] = Counter()
        self._homes = {site.address for site in self.network.sites}
        self.network.heard = self._wire.hear
        self.network.sent = self._note_sent
        for site in self.network.sites:
            site.lies = partial(self._tell, site)
        self._begun = False
        self.network.settle()
        self._begun = True
        self._ways = (self._stranger, self._stranger, self._spoofed, self._outside, self._lie)

    def fill(self) -> None:
        """Let the member bring what the target remembers to its limits, some 20 s long."""
        network, liar = self.network, self.network.liar
        for number in range(FILL):
            network.run(0.001)
            for message in self._member.flood(liar.address, self._token(liar.address), network.now):
                network.say(liar, message.encode())
            if not self._encrypted:
                network.attack(b"", pack_address(f"11.{number >> 8 & 255}.{number & 255}.1", 1))
        for _ in range(FILL // 40):
            network.run(0.01)
            message = self._member.subscribe(liar.address, self._token(liar.address), network.now)
            network.say(liar, message.encode())
        network.run(5.0)

    def step(self) -> None:
        """One datagram to the target."""
        self._rng.choice(self._ways)()

    def _stranger(self) -> None:
        source = self._rng.choice((self._fresh(), self._rng.choice(REGULARS)))
        self._attack(*self._mutated(), source)

    def _spoofed(self) -> None:
        """From the address where the original came from, or that of any other site."""
        name, data = self._mutated()
        source = self._wire.origin
        if source not in self._homes or self._rng.random() < 0.3:
            source = self._rng.choice(self.network.sites).address
        self._attack(name, data, source)

    def _outside(self) -> None:
        target, now = self.network.target, self.network.now
        if self._encrypted and self._rng.random() < 0.9:
            cookie = self._rng.choice((bytes(16), self._rng.randbytes(16)))
            data = self._outsider.initiation(target.credentials.key, cookie, now)
            self._attack("outsider's call", data, OUTSIDE)
            return
        message = self._half(self._outsider.message(OUTSIDE, self._token(OUTSIDE), now))
        self._attack(f"outsider's {type(message).__name__}", message.encode(), OUTSIDE)

    def _lie(self) -> None:
        """What a member says arrives in its own time, sealed if there is a channel."""
        network, liar = self.network, self.network.liar
        if self._rng.random() < 0.3:
            name, data = self._inner.next() if self._rng.random() < 0.5 else self._inner.rebuilt()
            name = f"member's {name}"
        else:
            token = self._token(liar.address)
            address = self._rng.choice((liar.address, liar.address, self._fresh()))
            message = self._half(self._member.message(address, token, network.now))
            name, data = f"member's {type(message).__name__}", message.encode()
        self.made[name] += 1
        network.say(liar, data[:DATAGRAM_SIZE])

    def _half(self, message: Message) -> Message:
        """What somebody has signed, or with a part of it from elsewhere."""
        return message if self._rng.random() < 0.5 else self._inner.varied(message)

    def _mutated(self) -> tuple[str, bytes]:
        chance = self._rng.random()
        if self._encrypted and chance < 0.1:
            return "handshake", self._outsider.handshake()
        if self._encrypted and chance < 0.2:
            return "sealed", sealed_as(self.network.target, self._inner.next()[1], self._rng)
        if not self._encrypted and chance < 0.4:
            return self._wire.rebuilt()
        return self._wire.next()

    def _attack(self, name: str, data: bytes, source: bytes) -> None:
        refused = self.network.target.statistics.refused
        before, self._source, self._answered = refused.total(), source, 0
        self.network.attack(data, source)
        self._source = None
        self.made[name] += 1
        self.taken[name] += refused.total() == before
        if source not in self._homes and source != OUTSIDE:
            self._balance[source] += len(data) - self._answered
            if self._answered:
                self.worst_ratio = max(self.worst_ratio, self._answered / max(len(data), 1))
            if source not in REGULARS:
                del self._balance[source]

    def _note_sent(self, data: bytes, address: bytes) -> None:
        if address == self._source:
            self._answered += len(data)
        elif address not in self._homes and address != OUTSIDE:
            self.unasked[address] += len(data)

    def _tell(self, site: Site, data: bytes, address: bytes) -> bytes:
        """What a site says: overheard, and changed if it is the liar's answer to the target."""
        target, liar = self.network.target, self.network.liar
        if target not in (site, self.network.at(address)) or self.network.at(address) is None:
            return data  # what strangers are told, their tokens, stays with them
        self._inner.hear(data, site.address)
        if not self._begun or site is not liar or address != target.address:
            return data
        return in_one(self._lie_in(message) for message in messages_of(data) or ())

    def _lie_in(self, data: bytes) -> bytes:
        message = decode(data)
        if not isinstance(message, ANSWERS) or self._rng.random() < 0.5:
            return data
        return self._inner.varied(message).encode()

    def _token(self, address: bytes) -> bytes:
        """The token that an address has been given."""
        return self.network.target.node._tokens.token(address, self.network.now)  # noqa: SLF001

    def _fresh(self) -> bytes:
        kind = self._rng.random()
        host = bytes(10) + b"\xff\xff" + self._rng.randbytes(4)
        return (host if kind < 0.7 else self._rng.randbytes(16)) + self._rng.randbytes(2)
