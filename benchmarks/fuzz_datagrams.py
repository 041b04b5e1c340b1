"""Fuzzing of a live node: datagrams of every kind, from strangers, spoofed, and from a bad member.

``python benchmarks/fuzz_datagrams.py [--count 1000000] [--seed 0] [--encrypted | --clear]``
``[--empty] [--json]``. Half of the datagrams come to a bare core, half to one under the encrypted
channel. The target is one of eight sites that subscribe, publish, refresh, leave and come back
meanwhile; an hour of virtual time passes. Who attacks:

- strangers at ever new addresses, and some that come again; they hear all that passes, change it
  and send it from their own addresses or from somebody else's;
- an outsider, whose key is not on the roster but whose address is proven and whose messages and
  packets are validly signed;
- a member of the roster, who answers the target's own questions with lies, and floods it with
  subscriptions, packets and records of its own.

The run fails if the target raises, sends a stranger more than it has got from there, believes
anything that no member has signed, loses anything that an honest member has there, or goes beyond a
limit. Memory is what the target holds, counted object by object, at each third; first the member
fills all that the target remembers up to its limits, so that memory has to stay where it is.
"""

import argparse
import json
import random
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))
from _bounds import held_bytes, resident_bytes, sizes
from _judge import Judge
from _live_network import Network
from _mutations import Mutator, in_one, sealed_as
from _signer import Signer
from _site import TOPICS, Site

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
VIRTUAL_S: Final = 4_000.0
"""How long the attack lasts on the target's clock: refreshes, expiries, all repetitions."""
PUBLISH_EVERY_S: Final = 60
LEAVES_S: Final = 1_000
RETURNS_S: Final = 1_100
REGULARS: Final = tuple(pack_address(f"198.51.{number}.9", 9_000) for number in range(64))
OUTSIDE: Final = pack_address("203.0.113.5", 9_000)
FILL: Final = 17_000
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
        if target not in (site, self.network.at(address)):
            return data
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


def live(network: Network, since_s: float, until_s: float) -> None:
    """What honest members do from one second to the other: publish, leave, come back."""
    leaver = network.sites[3]
    for second in range(int(since_s) + 1, int(until_s) + 1):
        number, is_time = divmod(second, PUBLISH_EVERY_S)
        if second == LEAVES_S:
            network.leave(leaver)
        elif second == RETURNS_S:
            network.return_home(leaver)
        elif not is_time and not LEAVES_S <= second <= RETURNS_S:
            network.publish(int(number) % (SITES - 1), int(number) // 2 % len(TOPICS))


def still_works(network: Network) -> list[str]:
    """What the target no longer does once all is over."""
    faults = []
    target, neighbour = network.target, network.sites[2]
    before = target.statistics.delivered, neighbour.statistics.delivered
    network.publish(1, 0)
    network.publish(0, 0)
    network.run(60.0)
    if target.statistics.delivered != before[0] + 1:
        faults.append("a new packet does not come to the target")
    if neighbour.statistics.delivered != before[1] + 2:
        faults.append("a packet of the target comes to nobody")
    due = sum(0 < place < SITES - 1 and not topic for _, place, topic in network.published)
    if target.statistics.delivered != due:
        faults.append(f"{due} packets were for the target, {target.statistics.delivered} came")
    return faults


def attack(
    count: int,
    seed: int,
    *,
    encrypted: bool,
    seconds: float = VIRTUAL_S,
    filled: bool = False,
) -> dict[str, Any]:
    """Attack a network with so many datagrams in so much virtual time; what came of it."""
    trial = Attack(seed, encrypted=encrypted)
    if filled:
        trial.fill()
    network, judge = trial.network, Judge(trial.network)
    target, start = network.target, network.now
    memory, resident, faults = [held_bytes(target)], [resident_bytes()], judge.faults()
    largest: Counter[str] = Counter()
    for number in range(count):
        before = network.now - start
        network.run_until(start + seconds * (number + 1) / count)
        live(network, before, network.now - start)
        trial.step()
        if (number + 1) % max(count // 30, 1) == 0:
            largest |= Counter({name: size for name, (size, _) in sizes(target).items()})
        if (number + 1) % max(count // 3, 1) == 0:
            memory.append(held_bytes(target))
            resident.append(resident_bytes())
            faults += judge.faults()
    faults += still_works(network)
    if trial.worst_ratio > 1.0:
        faults.append(f"a stranger got {trial.worst_ratio} times what it sent")
    return {
        "datagrams": sum(trial.made.values()),
        "raised": dict(network.raised),
        "faults": faults,
        "held_bytes_at_thirds": memory,
        "resident_bytes_at_thirds": resident,
        "worst_reply_ratio": round(trial.worst_ratio, 3),
        "unasked_bytes": sum(trial.unasked.values()),
        "unasked_bytes_to_one": max(trial.unasked.values(), default=0),
        "sizes": {name: (largest[name], limit) for name, (_, limit) in sizes(target).items()},
        "refused": dict(target.statistics.refused.most_common()),
        "made": dict(sorted(trial.made.items())),
        "not_refused": dict(sorted(trial.taken.items())),
    }


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--clear", action="store_true", help="only without the channel")
    only.add_argument("--encrypted", action="store_true", help="only under the channel")
    parser.add_argument("--empty", action="store_true", help="begin with nothing remembered")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    modes = [options.encrypted] if options.clear or options.encrypted else [False, True]
    results = {
        "encrypted" if mode else "clear": attack(
            options.count // len(modes), options.seed, encrypted=mode, filled=not options.empty
        )
        for mode in modes
    }
    if options.json:
        print(json.dumps(results))
    else:
        for mode, result in results.items():
            print(f"-- {mode}")
            for name, value in result.items():
                print(f"{name:26}{value}")
    if any(result["faults"] or result["raised"] for result in results.values()):
        raise SystemExit("the target did not stand it")


if __name__ == "__main__":
    main()
