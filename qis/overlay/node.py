"""One node: what comes in goes to the part that it concerns; what is to be sent comes out."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from blake3 import blake3

from qis._guard import Guard
from qis.identity import Issuer
from qis.overlay.bundles import Datagram, messages_of
from qis.overlay.delivering import Arrived, Delivering, Receive
from qis.overlay.handover import Handover
from qis.overlay.interests import Interests, require_few
from qis.overlay.joining import Joining
from qis.overlay.lookup_driver import LookupDriver
from qis.overlay.message_store import Carried
from qis.overlay.messages import (
    NO_REQUEST,
    Deliver,
    Find,
    Leave,
    Message,
    Publish,
    Refused,
    Subscribe,
    decode,
)
from qis.overlay.publications import BACKLOG_LIMIT, Progress, Publications
from qis.overlay.rate_limiter import RateLimiter
from qis.overlay.record import Contact, Credentials, NodeAdmission
from qis.overlay.relaying import Inspect, Relaying
from qis.overlay.rendezvous import RendezvousNode
from qis.overlay.requests import Heard, Requests
from qis.overlay.rounds import Rounds
from qis.overlay.rpc import Rpc
from qis.overlay.subscriber import HOLDERS, REFRESH_S, Subscriber
from qis.overlay.subscription import Wanted
from qis.overlay.table import RoutingTable
from qis.overlay.timers import Timers
from qis.overlay.tokens import Tokens
from qis.refusals import RefusalCode, Refusals

Arrival = tuple[bytes, bytes, bytes | None]
"""A datagram, the address it came from, and the key that a channel has authenticated there."""


def _do_nothing(*_: object) -> None:
    """Do nothing: the default of callbacks."""


def _same(now: float) -> float:
    """Return `now` as Unix seconds, for callers with one clock for both, as in virtual time."""
    return now


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a node is made of.

    Parameters
    ----------
    credentials
        The node's key, and how it signs and verifies.
    address
        Where others reach it, 18 bytes.
    inspect, receive
        How packets are verified before they are passed on, and where they are delivered. Called
        with Unix seconds, as packets are valid by the wall clock.
    verify_ahead
        Called with several packets that `inspect` is about to be asked for, and Unix seconds.
    unix_s
        The date, in Unix seconds, of a moment of the node's own clock. Every `now` that a node is
        given is of a clock that never steps, so that timers and soft state outlive it when
        somebody sets the date.
    accepts
        Whom it talks to; a roster's `accepts`.
    refused
        Where what is refused is counted, by reason.
    guard
        Contains what a message or a timer raises, and tells the adapter.
    refusals
        Where it is kept who refuses what this node sends.
    is_own_site
        True for the keys of nodes of this site: a packet that only they have acknowledged is not
        held by another site.
    salt
        Moves the points of all routing keys.
    salt_of
        Gives the random bytes with which a key was enrolled; a node's id follows from both.
    holders
        Holders of each key.
    subnet_limit
        How many nodes of one subnet a bucket takes; see `RoutingTable`.

    """

    credentials: Credentials
    address: bytes
    inspect: Inspect
    receive: Receive
    accepts: Callable[[Issuer], bool]
    verify_ahead: Callable[[list[bytes], float], None] = _do_nothing
    unix_s: Callable[[float], float] = _same
    refused: Counter[str] = field(default_factory=Counter)
    guard: Guard = field(default_factory=Guard)
    refusals: Refusals = field(default_factory=Refusals)
    is_own_site: Callable[[bytes], bool] = lambda _: False
    salt: bytes = b""
    salt_of: Callable[[bytes], bytes] = lambda _: b""
    holders: int = HOLDERS
    subnet_limit: int | None = None


class Standing(NamedTuple):
    """How a node stands to the others.

    Parameters
    ----------
    peers
        Nodes in the routing table.
    knows_of
        Peers that it was given, or has known, and calls again when nobody is left.
    is_joining
        True until the first attempt to reach them has ended.
    unanswered
        Requests in a row that were given up, none having been answered in between.
    heard_at
        When a request was last answered, by the clock of `now`; `None` if never.
    relays
        If it has found out that it cannot be called: how many members it reaches directly, which
        forward to it what others send. `None` if it can be called, or does not know.
    seen_as
        The address, 18 bytes, that a member then saw it at.

    """

    peers: int
    knows_of: int
    is_joining: bool
    unanswered: int
    heard_at: float | None
    relays: int | None = None
    seen_as: bytes | None = None


def _derived(secret: bytes, purpose: str) -> bytes:
    """One of several independent keys of 32 bytes (BLAKE3's key derivation)."""
    return blake3(secret, derive_key_context=f"qis overlay 2026-11 {purpose}").digest()


class OverlayNode:
    """The state machine of one node.

    Parameters
    ----------
    settings
        The node's key, address, limits and callbacks.
    rng
        Source of jitter and random choices. Nothing that has to stay secret comes from it, since
        what others see of a generator's numbers tells them the next.
    secret
        32 bytes that nobody else knows, from the system's source of randomness; all tokens, and the
        numbers of requests, come from it. Two nodes made with the same `rng` and `secret` behave
        identically.
    now
        Seconds of a clock that never steps, as everywhere in a node.
    admission
        Verified records, if several nodes of one process share their memory of them.

    """

    def __init__(
        self,
        settings: Settings,
        *,
        rng: random.Random,
        secret: bytes,
        now: float,
        admission: NodeAdmission | None = None,
    ) -> None:
        credentials, unix_s = settings.credentials, settings.unix_s

        def inspect(
            packet: bytes, keys: tuple[bytes, ...], at: float
        ) -> Carried | RefusalCode | None:
            return settings.inspect(packet, keys, unix_s(at))

        self.refused = settings.refused
        self._settings = settings
        self._admission = admission or NodeAdmission(
            credentials.verify, settings.accepts, settings.salt_of
        )
        # What is wanted and published before the first peer has answered waits: looked up among
        # nobody, all of it would come to be held here.
        self._wanted: Wanted = {}
        self._unpublished: list[Carried] = []
        self._guard = settings.guard
        self._timers = Timers(settings.guard)
        self._tokens = Tokens(_derived(secret, "tokens"))
        self._rate_limiter = RateLimiter(settings.guard)
        record = credentials.record(settings.address, int(unix_s(now) * 1_000_000))
        own = Contact(self._admission.id_of(credentials.key), record)
        self.table = RoutingTable(own.id, subnet_limit=settings.subnet_limit)
        self._rpc = Rpc(self._timers, rng, _derived(secret, "request numbers"))
        self.lookup_driver = LookupDriver(own, self.table, self._admission, self._rpc)
        self.interests = Interests(
            lambda slot: Subscriber(
                credentials=credentials,
                lookup_driver=self.lookup_driver,
                rpc=self._rpc,
                timers=self._timers,
                rng=rng,
                hold_here=self.rendezvous.subscribe,
                refusals=settings.refusals,
                unix_s=unix_s,
                salt=settings.salt,
                holders=settings.holders,
                slot=slot,
            )
        )
        self.delivering = Delivering(self._receive, self._timers, self.refused)
        self.rendezvous = RendezvousNode(
            credentials=credentials,
            admission=self._admission,
            rpc=self._rpc,
            inspect=inspect,
            deliver_here=self.delivering.deliver,
            unix_s=unix_s,
            epoch=_derived(secret, "holder's epoch")[:8],
        )
        self.relaying = Relaying(
            admission=self._admission, inspect=inspect, send_window=self.rendezvous.send_window
        )
        self._rounds = Rounds(
            lookup_driver=self.lookup_driver,
            rpc=self._rpc,
            timers=self._timers,
            hold_here=self.rendezvous.publish,
            refusals=settings.refusals,
            salt=settings.salt,
            holders=settings.holders,
            is_own_site=settings.is_own_site,
        )
        self.publisher = Publications(self._rounds, self._timers, unix_s=unix_s)
        self.handover = Handover(
            lookup_driver=self.lookup_driver,
            rpc=self._rpc,
            send_window=self.rendezvous.send_window,
            timers=self._timers,
            rng=rng,
            subscription_table=self.rendezvous.subscription_table,
            message_store=self.rendezvous.message_store,
            salt=settings.salt,
            holders=settings.holders,
            tell_here=self.interests.closer,
        )
        self.rendezvous.news_for = self.handover.news
        self._requests = Requests(
            admission=self._admission,
            tokens=self._tokens,
            table=self.table,
            lookup_driver=self.lookup_driver,
            rpc=self._rpc,
            rendezvous=self.rendezvous,
            interests=self.interests,
            relaying=self.relaying,
            receive=self._receive,
            gone=self._gone,
            refused=self.refused,
        )
        self.rendezvous.message_store.dropped = self._requests.tell_full
        self._joining = Joining(
            self.lookup_driver,
            self.table,
            self._timers,
            rng,
            id_of=self._admission.id_of,
            entered=self._entered,
        )
        self._timers.start(now + REFRESH_S, self._tidy)

    # --- what the adapter calls -------------------------------------------------------------

    @property
    def contact(self) -> Contact:
        """The signed record and the id of this node."""
        return self.lookup_driver.own

    def datagrams(self) -> list[Datagram]:
        """What has to be sent now: bytes, address, and the key expected there; taken once."""
        return self._rpc.take()

    def next_timer(self) -> float | None:
        """When `handle_timer` has to be called next, by the clock of `now`."""
        return self._timers.next_at()

    @property
    def is_idle(self) -> bool:
        """True if it has joined, and nothing is under way that would bring a packet further."""
        is_in = self._joining.is_in and self._joining.has_peers
        is_held = self.publisher.is_idle and self.handover.is_idle
        return is_in and is_held and not self.rendezvous.send_window.own_under_way

    def all_held(self, now: float) -> bool:
        """True if another node has acknowledged all that was published here, under every key.

        Not so before it has joined, or has found that nobody answers.
        """
        return self._joining.is_in and not self._unpublished and self.publisher.all_held(now)

    def progress(self, packet_id: bytes) -> Progress | None:
        """How far a packet has come that was published here; `None` if nothing is known of it."""
        for carried in self._unpublished:
            if carried.id == packet_id:
                return Progress(len(carried.keys), 0, 0, 0)
        return self.publisher.progress(packet_id)

    @property
    def standing(self) -> Standing:
        """How the node stands to the others."""
        return Standing(
            peers=len(self.table),
            knows_of=self._joining.knows_of,
            is_joining=not self._joining.is_in,
            unanswered=self._rpc.unanswered,
            heard_at=self._rpc.heard_at,
        )

    @property
    def is_full(self) -> bool:
        """True if the application should wait before it publishes more packets."""
        return self.publisher.is_full or len(self._unpublished) >= BACKLOG_LIMIT

    @property
    def is_busy(self) -> bool:
        """True if it waits for an answer, or passes on what it holds."""
        return self._rpc.is_waiting or not self.handover.is_idle

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._timers.run(now)
        self._notice_changes(now)

    def receive_datagram(
        self, data: bytes, address: bytes, now: float, *, sender: bytes | None = None
    ) -> None:
        """Take in a datagram; see `receive_datagrams`."""
        self.receive_datagrams([(data, address, sender)], now)

    def receive_datagrams(self, arrivals: Iterable[Arrival], now: float) -> None:
        """Take in what has come, packets for this node first. Never raises, whatever the bytes.

        Where a channel has authenticated the sender, nobody else's record or subscription is taken
        from it. Packets are verified together, which is faster.
        """
        delivered: list[Heard] = []
        others: list[tuple[Message, bytes, bytes | None]] = []
        for data, address, sender in arrivals:
            try:
                for message in self._messages(data, address, now, sender):
                    if type(message) is Deliver:  # nearly all; and it claims no sender
                        delivered.append((message, address, sender))
                    else:
                        others.append((message, address, sender))
            except Exception as error:  # noqa: BLE001  as `Guard.item`, which costs more a datagram
                self._guard.contained("overlay.datagram", error)
        if delivered:
            with self._guard.item("overlay.delivery"):  # not acknowledged, so it comes again
                self._requests.deliver(delivered, now)
        published = [message.packet for message, _, _ in others if isinstance(message, Publish)]
        if len(published) > 1:
            with self._guard.item("overlay.verify_ahead"):  # each is verified when its turn comes
                self._settings.verify_ahead(published, self._settings.unix_s(now))
        for message, address, sender in others:
            with self._guard.item("overlay.message"):
                self._rpc.asked_by = sender
                is_request = self._requests.answer(message, address, now)
                if not is_request and not self._rpc.hear(message, address, now):
                    self._unasked(message, sender, now)
        self._rpc.asked_by = None
        self._notice_changes(now)

    def _messages(
        self, data: bytes, address: bytes, now: float, sender: bytes | None
    ) -> Iterator[Message]:
        """What a datagram says, as far as it may be heard."""
        for part in self._parts(data, address, now, sender):
            message = decode(part)
            if message is None:
                self.refused["malformed"] += 1
            elif (
                type(message) is not Deliver
                and sender is not None
                and _claimed(message) not in {None, sender}
            ):
                self.refused["sender_mismatch"] += 1
            else:
                yield message

    def _unasked(self, message: Message, sender: bytes | None, now: float) -> None:
        """What answers nothing; a peer may say so that it has let go of what is this node's."""
        if isinstance(message, Refused) and message.request == NO_REQUEST and sender is not None:
            self._settings.refusals.heard(sender, message.code, now)
        else:
            self.refused["unasked"] += 1

    def _parts(
        self, data: bytes, address: bytes, now: float, sender: bytes | None
    ) -> Sequence[bytes]:
        """The messages of a datagram, if they may be looked at."""
        parts = messages_of(data)
        if parts is None:
            self.refused["malformed"] += 1
        elif not self._rate_limiter.allows(address, now, sender=sender, messages=len(parts)):
            self.refused["budget"] += 1
            if sender is not None:
                self._requests.tell_full(sender, now)
        else:
            return parts
        return ()

    def want(self, wanted: Wanted, now: float) -> None:
        """Register these keys from now on, instead of any before; see `Interests.want`."""
        require_few(wanted)  # now, to whoever asks, not when the first peer answers
        if self._joining.is_in:
            self.interests.want(wanted, now)
        else:
            self._wanted = wanted

    def publish(self, carried: Carried, now: float) -> None:
        """Hand a packet to the network, now and again while it lives."""
        if self._joining.is_in:
            self.publisher.publish(carried, now)
        else:
            self._unpublished.append(carried)

    def spread(self, now: float) -> None:
        """Hand all own packets that live to all of their holders, so that this node may go."""
        self.publisher.spread(now)

    def own(self) -> list[Carried]:
        """What was published here and is repeated while it lives."""
        return [*self.publisher.own(), *self._unpublished]

    def withdraw(self, packet_ids: Iterable[bytes]) -> None:
        """Repeat and keep these packets no more; what others hold stays there."""
        for packet_id in packet_ids:
            self.publisher.withdraw(packet_id)
            self.rendezvous.message_store.withdraw(packet_id)
            self._unpublished = [each for each in self._unpublished if each.id != packet_id]

    def join(
        self,
        bootstrap: Iterable[tuple[bytes, bytes]],
        now: float,
        *,
        then: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Enter the network by known peers, given as (key, address); `then` once it is done."""
        self._joining.join(bootstrap, now, then)

    def judge_again(self) -> None:
        """Whom it accepts has changed: who is no longer among them is in none of its tables."""
        self._admission.forget()
        self.table.keep(lambda contact: self._settings.accepts(Issuer(contact.record.key)))

    def leave(self, now: float) -> None:
        """Withdraw all subscriptions and say good-bye to everybody in the table."""
        self.interests.want({}, now)
        gone = self._settings.address[:16] + bytes(2)
        former = self.contact.record.sequence
        sequence = max(int(self._settings.unix_s(now) * 1_000_000), former + 1)
        record = self._settings.credentials.record(gone, sequence)
        for contact in self.table:
            message = Leave(request=self._rpc.new_number(), record=record.encode())
            self._rpc.send(message, contact.record)

    # --- its parts --------------------------------------------------------------------------

    def _receive(self, arrived: Sequence[Arrived], now: float) -> list[bool]:
        return self._settings.receive(arrived, self._settings.unix_s(now))

    def _gone(self, contact: Contact) -> None:
        self.lookup_driver.gone(contact)
        self._rounds.gone(contact)
        self.handover.gone(contact)

    def _notice_changes(self, now: float) -> None:
        with self._guard.item("overlay.changes"):
            if news := self._joining.notice(now):
                self.handover.met(news, now)
                self.publisher.met(now)

    def _entered(self, now: float) -> None:
        self.interests.want(self._wanted, now)
        unpublished, self._unpublished = self._unpublished, []
        for carried in unpublished:
            self.publisher.publish(carried, now)

    def _tidy(self, now: float) -> None:
        self._timers.start(now + REFRESH_S, self._tidy)
        self.rendezvous.subscription_table.expire(now)
        self.rendezvous.message_store.expire(now)
        self.handover.forget(now)
        self._joining.look_for_lost(now)


def _claimed(message: Message) -> bytes | None:
    """The key of the node that a message says it is from, if it does."""
    if isinstance(message, Find):
        return message.record[:32]
    return message.subscription.subscriber if isinstance(message, Subscribe) else None
