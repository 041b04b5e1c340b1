"""A small network of real nodes in virtual time, of which one is attacked.

Everything is as in a deployment, but for the clock and the wires: Ed25519 keys, a roster, signed
packets that every holder verifies, a gate before the application, and the encrypted channel if it
is wanted. Whatever the target raises is counted, and so is what it contains.
"""

import heapq
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from _site import NOW, TOPICS, Site, packet_about

import qis
from qis.overlay.ids import rendezvous_id
from qis.overlay.subscriber import HOLDERS

LATENCY_S: Final = (0.005, 0.05)


class Network:
    """The sites of a roster, joined and subscribed; the first is the target, the last may lie."""

    def __init__(self, size: int, seed: int, *, encrypted: bool) -> None:
        rng = random.Random(seed)
        self.now = NOW
        identities = [qis.Identity.from_seed(rng.randbytes(32)) for _ in range(size)]
        self.roster = qis.Roster(
            tuple(
                qis.Site.of(f"site {number}", identity.issuer)
                for number, identity in enumerate(identities)
            )
        )
        self.sites = [
            Site(identity, number, self.roster, rng.getrandbits(64), encrypted=encrypted)
            for number, identity in enumerate(identities)
        ]
        self.target, self.liar = self.sites[0], self.sites[-1]
        self.published: list[tuple[qis.Packet, int, int]] = []
        self.heard: Callable[[bytes, bytes], None] = lambda _, __: None
        """Called with what is sent to the target or by it, and where from."""
        self.sent: Callable[[bytes, bytes], None] = lambda _, __: None
        """Called with what the target sends, and where to."""
        self._raised: Counter[str] = Counter()
        self._rng = rng
        self._at = {site.address: site for site in self.sites}
        self._events: list[tuple[float, int, Site, bytes, bytes]] = []
        self._order = count()
        self._away: set[Site] = set()

    @property
    def raised(self) -> Counter[str]:
        """What the target has raised, where, contained or not: nothing, if all is well."""
        contained = {
            subject: count
            for (kind, subject), count in self.target.notices.counts.items()
            if kind == "fault"
        }
        return self._raised + Counter(contained)

    def settle(self) -> None:
        """Let all join and subscribe, and each publish something."""
        for number, site in enumerate(self.sites):
            if number:
                self.join(site)
            self.run(1.0)
            self.listen(site)
            self.publish(number, number % len(TOPICS))
        self.run(60.0)

    def join(self, site: Site) -> None:
        """Let a site enter by the target."""
        self._away.discard(site)
        site.node.join([self.target.peer], self.now)
        self._flush(site)

    def listen(self, site: Site) -> None:
        """Let a site subscribe to its topic."""
        site.listen(self.sites.index(site) % len(TOPICS), self.now)
        self._flush(site)

    def leave(self, site: Site) -> None:
        """Let a site say good-bye; it comes back by `return_home`."""
        site.node.leave(self.now)
        self._flush(site)
        self._away.add(site)

    def return_home(self, site: Site) -> None:
        """Let a site that has left begin anew."""
        site.start(self.now)
        self.join(site)
        site.node.want(site.wanted(), self.now)
        self._flush(site)

    def publish(self, number: int, topic: int) -> qis.Packet:
        """Let a site publish something about a topic."""
        site = self.sites[number]
        packet, keys = packet_about(site.identity, topic, len(self.published), int(self.now))
        site.publish(packet, keys, self.now)
        self.published.append((packet, number, topic))
        self._flush(site)
        return packet

    def say(self, site: Site, message: bytes) -> None:
        """Let a site send anything to the target."""
        if site.channels is None:
            self._send(site, message, self.target.address)
        else:
            site.channels.send(message, self.target.address, self.target.credentials.key, self.now)
            self._flush(site)

    def attack(self, data: bytes, source: bytes) -> None:
        """Let a datagram come to the target now, from anywhere."""
        self._take(self.target, data, source)

    def run(self, seconds: float) -> None:
        """Let time pass, and all that is due happen."""
        self.run_until(self.now + seconds)

    def run_until(self, end: float) -> None:
        """Let time pass, and all that is due happen."""
        while True:
            here = [site for site in self.sites if site not in self._away]
            first = min(here, key=Site.wakes_at)
            at = first.wakes_at()
            if self._events and self._events[0][0] <= at:
                at = self._events[0][0]
                if at > end:
                    break
                self.now = max(self.now, at)
                _, _, site, data, source = heapq.heappop(self._events)
                if site not in self._away:
                    self._take(site, data, source)
            elif at <= end:
                self.now = max(self.now, at)
                with self._watched(first):
                    first.wake(self.now)
                self._flush(first)
            else:
                break
        self.now = end

    def at(self, address: bytes) -> Site | None:
        """The site at an address."""
        return self._at.get(address)

    def honest(self) -> list[Site]:
        """The sites that are there and do not lie, the target included."""
        return [site for site in self.sites if site is not self.liar and site not in self._away]

    def holds(self, key: bytes) -> bool:
        """Whether the target is one of a key's holders."""
        target_id = rendezvous_id(key)
        ranked = sorted(self.sites, key=lambda site: site.node.contact.id ^ target_id)
        return self.target in ranked[:HOLDERS]

    def _take(self, site: Site, data: bytes, source: bytes) -> None:
        with self._watched(site):
            site.take(data, source, self.now)
        self._flush(site)

    @contextmanager
    def _watched(self, site: Site) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if site is not self.target:
                raise
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self._raised[f"{type(error).__name__} in {frame.name}: {error}"[:200]] += 1

    def _flush(self, site: Site) -> None:
        for data, address in site.sends(self.now):
            if site is self.target:
                self.sent(data, address)
            self._send(site, data, address)

    def _send(self, site: Site, data: bytes, address: bytes) -> None:
        receiver = self._at.get(address)
        if receiver is not None:
            if self.target in (receiver, site):
                self.heard(data, site.address)
            when = self.now + self._rng.uniform(*LATENCY_S)
            event = (when, next(self._order), receiver, data, site.address)
            heapq.heappush(self._events, event)
