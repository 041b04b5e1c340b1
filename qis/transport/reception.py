"""The one gate between a network and its subscribers: verify once, then match.

Cheapest checks first; a packet's id enters the memory of what was seen only after its signature
has verified, or anyone could make us ignore a packet that is still to come.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from math import inf

from qis import _layout
from qis._clock import SYSTEM, Clock
from qis._guard import Guard
from qis.about import Fingerprint, Interest, carried_fingerprint, next_change
from qis.errors import (
    ExpiredError,
    NotYetValidError,
    PeerError,
    RoutingKeysError,
    SchemeMismatchError,
    UntrustedIssuerError,
)
from qis.evidence.roster import Roster
from qis.evidence.trust import distrust
from qis.health import Notices
from qis.identity import Issuer, issuer_of
from qis.overlay.delivering import Arrived
from qis.overlay.subscription import Wanted, wanted_of
from qis.overlay.validator import Validator
from qis.packet import (
    Packet,
    check_valid_at,
    content_id,
    issuer_key,
    reread,
    screen,
    verify_screened,
)
from qis.refusals import RefusalCode, Refusals
from qis.transport._early import EarlyPackets
from qis.transport._held import HeldPackets
from qis.transport._receipts import Done, Receipts
from qis.transport.base import Delivery, Statistics, is_signed_for
from qis.transport.inbox import Inbox
from qis.transport.site_clocks import SiteClocks


class Verdict(Enum):
    """The result of judging an arrival.

    Examples
    --------
    >>> from qis.transport import Verdict
    >>> sorted(verdict.name for verdict in Verdict)
    [...]

    """

    ACCEPTED = "new, verified, and given to whoever wants it"
    DUPLICATE = "seen before"
    REFUSED = "not a packet to be used"
    EARLY = "dated in the future; when that time comes it may be used"
    UNHEARD = "as EARLY, and too many forged ones came to see whether this one is: offer it again"
    FULL = "no room to keep it; it may come again"
    FAULT = "this node failed on it, and told so; it may come again"


class Reception:
    """Judges every arrival of one node, and holds the packets that have verified.

    Held packets serve three purposes: a packet that comes again is recognised, a subscription that
    opens later gets what came before it, and other nodes can be offered what they missed.

    Parameters
    ----------
    roster, statistics
        Which issuers are accepted, and the counters.
    topic_of
        Gives the topic of a packet: where packets are kept for others, a newer one replaces an
        older of the same topic. Empty: it replaces nothing.
    notices
        Told which verified packets are not held for others, and why, and what an arrival made this
        node raise. Default: the latter goes to the log only.
    clock
        The node's clock: its date decides what is valid, its steady seconds how often refused
        packets are verified.
    clocks
        Where to note what packets show of other sites' clocks; default: one of its own.
    own
        Ids of the packets that this node has published, where several receptions share them; a
        node that has one reception tells it by `hold`. They are taken for duplicates.

    """

    def __init__(
        self,
        roster: Roster,
        statistics: Statistics,
        *,
        topic_of: Callable[[Packet], bytes] = lambda _: b"",
        notices: Notices | None = None,
        clock: Clock = SYSTEM,
        clocks: SiteClocks | None = None,
        own: Container[bytes] = (),
    ) -> None:
        self.roster = roster
        self._own = own
        self._guard = Guard(notices)
        self._statistics = statistics
        self._held = HeldPackets(self._guard)
        self.clocks = SiteClocks(clock.steady) if clocks is None else clocks
        """What packets and handshakes have shown of other sites' clocks."""
        self._early_packets = EarlyPackets(self.clocks, self._guard, notices, clock)
        self.refusals = Refusals(notices, name_of=self._site_of)
        """Which peers refuse what this site sends, and why."""
        self._notices = notices
        self._topic_of = topic_of
        self._receipts = Receipts()
        self.validator = Validator(
            self.accepts,
            self._topic,
            holds=self._held.has_bytes,
            on_refusal=self.not_held,
            on_early=self._early,
        )
        """Verifies packets that the node passes on. Shared, so that nothing is verified twice."""
        self._inboxes: list[Inbox] = []
        self._keys_until = inf
        self.on_room: Callable[[], None] = lambda: None
        """Called when a full subscription has room again, so that what it kept out can come."""

    @property
    def interests(self) -> tuple[Interest, ...]:
        """The interests that are registered now."""
        return tuple(inbox.interest for inbox in self._inboxes)

    def wanted_keys(self) -> frozenset[bytes]:
        """Return all routing keys and study ids that are registered now."""
        return frozenset(key for interest in self.interests for key in interest.all_keys)

    def wanted(self) -> Wanted:
        """Return the same keys, each with the sketches that its packets have to be similar to."""
        return wanted_of(self.interests)

    def _site_of(self, key: bytes) -> str | None:
        """Return the roster's name of a site; `None` in an open one, where names prove nothing."""
        issuer = Issuer(key)
        if self.roster.is_open or not self.roster.accepts(issuer):
            return None
        return self.roster.name_of(issuer)

    def accepts(self, issuer: Issuer) -> bool:
        """True if the roster lists an issuer now."""
        return self.roster.accepts(issuer)

    def is_own(self, packet_id: bytes) -> bool:
        """True if this node has published the packet of this id, so that nobody here wants it."""
        return packet_id in self._own or self._held.is_own(packet_id)

    def is_one_site(self, key: bytes, other: bytes) -> bool:
        """True if two keys belong to one site, whose own copies do not count as held."""
        site = self.roster.site_of(Issuer(key))
        return site is not None and self.roster.site_of(Issuer(other)) == site

    def hold(self, packet: Packet, keys: tuple[bytes, ...], *, hops: int = 0) -> None:
        """Keep a packet that was signed here or has verified."""
        self._held.put(packet.id, (bytes(packet), keys, hops))

    def held(self, now: float) -> list[Arrived]:
        """Return all live packets that were published here (0 hops) or have come and verified."""
        return self._held.live(now)

    @contextmanager
    def inbox(self, interest: Interest, *, now: float) -> Iterator[Inbox]:
        """Open an inbox for an interest while the context lasts; it begins with what is held.

        If its routing keys follow the date, they are those of `now` as long as it is open.
        """
        if interest.keys_of_epoch is not None:
            interest = interest.at(now)
            self._keys_until = min(self._keys_until, next_change(now))
        self._held.want_all()
        earlier = self._earlier(self._held.live(now), interest, now)
        inbox = Inbox(interest, earlier, self._has_room)
        self._inboxes.append(inbox)
        try:
            yield inbox
        finally:
            self._inboxes.remove(inbox)
            self._has_room()  # an inbox that nobody read may have held up the others

    def _has_room(self) -> None:
        self.on_room()

    def _earlier(self, held: list[Arrived], interest: Interest, now: float) -> Iterator[Delivery]:
        """Yield what was held when a subscription opened.

        The generator keeps these packets alive, at most `HELD_LIMIT`, even if they are dropped
        meanwhile.
        """
        for data, keys, hops in held:
            fingerprint = carried_fingerprint(
                data[_layout.SKETCH],
                data[_layout.SCHEME_ID],
                data[_layout.ISSUER],
                int.from_bytes(data[_layout.SEQUENCE], "big"),
            )
            if hops and self._wants(interest, fingerprint, data[_layout.STUDY_ID], keys):
                yield self._delivery(reread(data), hops, now, keys=keys)

    def close(self) -> None:
        """End all subscriptions."""
        for inbox in self._inboxes:
            inbox.close()

    def receive(
        self,
        data: bytes,
        routing_keys: Iterable[bytes] | None,
        *,
        hops: int,
        now: float,
        done: Done | None = None,
    ) -> Verdict:
        """Check an arrival and deliver it; see `receive_many`."""
        keys = None if routing_keys is None else tuple(routing_keys)
        arrival = (bytes(data), keys, hops)
        return self.receive_many([arrival], now=now, done=() if done is None else [done])[0]

    def receive_many(
        self, arrivals: Sequence[Arrived], *, now: float, done: Sequence[Done] = ()
    ) -> list[Verdict]:
        """Check some arrivals and deliver them, in their order. Never raises, whatever the bytes.

        All signatures are verified together, which is faster. An exception that one arrival causes
        is contained and told, and does not affect the others.

        Parameters
        ----------
        arrivals
            Packets of 512 bytes, not verified, each with its routing keys (`None`: they do not
            travel) and the number of hops.
        now
            Unix seconds.
        done
            For networks that keep a packet until it is acknowledged: for each arrival what to call
            once it need not come again, because every subscription that got it has called
            `Delivery.done`, or nobody here wants it, or it is refused. Not called where the verdict
            is FULL, FAULT, EARLY or UNHEARD: such an arrival has to be offered again.

        """
        if now >= self._keys_until:
            self._tell_keys_over()
        fresh: dict[bytes, bytes] = {}
        checked = [self._checked(data, now, fresh) for data, _, _ in arrivals]
        verified = self._verified(fresh)
        verdicts = []
        waiting: Sequence[Done | None] = done or (None,) * len(arrivals)
        for each, arrived, its_done in zip(checked, arrivals, waiting, strict=True):
            try:
                verdicts.append(self._judge(each, arrived, fresh, verified, now, done=its_done))
            except Exception as error:  # noqa: BLE001  as `Guard.item`, which costs more a packet
                self._guard.contained("reception.packet", error)
                verdicts.append(Verdict.FAULT)
        return verdicts

    def _tell_keys_over(self) -> None:
        self._keys_until = inf
        if self._notices is not None:
            self._notices.tell(
                "limit",
                "routing keys of an epoch",
                "a subscription was opened in a former epoch and misses what is published now: "
                "subscribe anew, as qis.SynthesisLoop does by itself",
            )

    def why(self, data: bytes, now: float) -> RefusalCode | None:
        """Return why a packet was refused, as far as its issuer may know; `None`: it is no packet.

        It may say "the roster" or "the clock" of a packet whose signature is wrong.
        """
        try:
            issuer = issuer_of(issuer_key(screen(data, now=now)))
        except (NotYetValidError, ExpiredError):
            return RefusalCode.CLOCK
        except PeerError:
            return None
        return None if self.accepts(issuer) else RefusalCode.ROSTER

    def takes(self, arrivals: Sequence[Arrived], now: float) -> list[bool]:
        """As `receive_many`; true for each arrival that need not come again."""
        again = (Verdict.FULL, Verdict.FAULT)
        return [each not in again for each in self.receive_many(arrivals, now=now)]

    def _checked(
        self, data: bytes, now: float, fresh: dict[bytes, bytes]
    ) -> Verdict | Packet | None:
        try:
            return self._check(data, now, fresh)
        except Exception as error:  # noqa: BLE001  as `Guard.item`, which costs more a packet
            self._guard.contained("reception.check", error)
            return Verdict.FAULT

    def _verified(self, fresh: dict[bytes, bytes]) -> dict[bytes, Packet | PeerError]:
        """Verify bytes that have passed the cheap checks: by bytes, the packet or the error."""
        with self._guard.item("reception.verify"):
            found = verify_screened(list(fresh), list(fresh.values()))
            return dict(zip(fresh, found, strict=True))
        verified: dict[bytes, Packet | PeerError] = {}
        for data, packet_id in fresh.items():  # each alone: one must not take the others along
            with self._guard.item("reception.verify"):
                verified[data] = verify_screened([data], [packet_id])[0]
        return verified

    def _judge(
        self,
        checked: Verdict | Packet | None,
        arrived: Arrived,
        fresh: dict[bytes, bytes],
        verified: dict[bytes, Packet | PeerError],
        now: float,
        *,
        done: Done | None,
    ) -> Verdict:
        data = arrived[0]
        if isinstance(checked, Verdict):
            verdict = checked
        elif (fresh[data] if checked is None else checked.id) in self._held:  # by now
            verdict = self._repeated()
        else:
            found = checked or verified.get(data)
            verdict = Verdict.FAULT if found is None else self._admit(found, arrived, now, done)
        if done is not None:
            if verdict is Verdict.DUPLICATE:
                self._receipts.again(content_id(data), done)
            elif verdict is Verdict.REFUSED:
                done()
        return verdict

    def _check(self, data: bytes, now: float, fresh: dict[bytes, bytes]) -> Verdict | Packet | None:
        """Apply the cheap checks: returns a verdict, or a packet that was verified before.

        `None` means that the signature has to be verified: the bytes then stand in `fresh`, with
        the packet's id.
        """
        try:
            known = self.validator.known(data)
            if known is None:
                screen(data, now=now)
                packet_id, issuer = content_id(data), issuer_of(issuer_key(data))
            else:
                check_valid_at(now, known.issued_at, known.expires_at)
                packet_id, issuer = known.id, known.issuer
            if packet_id in self._held or packet_id in self._own:
                return self._repeated()
            if not self.roster.accepts(issuer):
                raise UntrustedIssuerError("the roster does not list the issuer", field="issuer")
        except NotYetValidError as error:
            self._refused(error)
            return Verdict.UNHEARD if self._early(data) else Verdict.EARLY
        except PeerError as error:
            return self._refused(error)
        if known is None:
            fresh[data] = packet_id
        return known

    def _admit(
        self, found: Packet | PeerError, arrived: Arrived, now: float, done: Done | None
    ) -> Verdict:
        """Apply the last checks, and deliver to all inboxes that want the packet."""
        if isinstance(found, PeerError):
            return self._refused(found)
        _, keys, hops = arrived
        if keys is None:  # a packet of its study alone says so itself
            self.validator.remember(found)
        elif not is_signed_for(found, keys):
            self.validator.remember(found)
            return self._refused(
                RoutingKeysError("not the routing keys that the issuer signed", field="keys")
            )
        about, study_id = found.fingerprint, found.outcome.study_id
        wanted = [
            each for each in self._inboxes if self._wants(each.interest, about, study_id, keys)
        ]
        for inbox in wanted:
            if inbox.is_full:
                self.validator.remember(found)
                self._statistics.dropped += 1
                self._guard.at_limit(
                    "transport.inbox.INBOX_LIMIT",
                    "",
                    "a delivery has to wait: a subscription is not read, and holds up all that "
                    "this site wants",
                )
                return Verdict.FULL
        each_done: Iterable[Done | None] = (
            (None,) * len(wanted)
            if done is None
            else self._receipts.open(found.id, len(wanted), done)
        )
        for inbox, its_done in zip(wanted, each_done, strict=True):
            inbox.put(self._delivery(found, hops, now, keys=keys, done=its_done))
        if not wanted:
            self._statistics.unmatched += 1
            if done is not None:
                done()
        self.clocks.packet(found.issuer.key, found.issued_at)
        # Last, so that an arrival on which the steps above failed can come again.
        self._held.put(found.id, arrived)
        return Verdict.ACCEPTED

    def _repeated(self) -> Verdict:
        self._statistics.duplicates += 1
        return Verdict.DUPLICATE

    def _topic(self, packet: Packet) -> bytes:
        """Return the topic under which a packet replaces others that are kept; empty: none.

        A packet that the roster refuses replaces nothing and is kept beside the accepted ones,
        since later subscribers may have other rosters.
        """
        return b"" if distrust(bytes(packet), self.roster) else self._topic_of(packet)

    def not_held(self, packet: Packet, error: PeerError) -> None:
        """Tell that this node, as a holder, refuses a packet that verified."""
        self._statistics.refused[type(error).__name__] += 1
        if self._notices is not None:
            subject = f"{type(error).__name__} of {packet.issuer}"
            self._notices.tell("refusal", subject, f"not held for others: {error}")

    def _early(self, data: bytes) -> bool:
        return self._early_packets.look(data, self.roster)

    def _refused(self, error: PeerError) -> Verdict:
        self._statistics.refused[type(error).__name__] += 1
        return Verdict.REFUSED

    def _delivery(
        self,
        packet: Packet,
        hops: int,
        now: float,
        *,
        keys: tuple[bytes, ...] | None,
        done: Done | None = None,
    ) -> Delivery:
        self._statistics.delivered += 1
        self._statistics.hops[hops] += 1
        if keys is None:
            alone = (packet.outcome.study_id,)
            keys = alone if packet.travels_under(alone) else ()
        return Delivery(packet=packet, hops=hops, received_at=now, routing_keys=keys, on_done=done)

    def _wants(
        self,
        interest: Interest,
        about: Fingerprint,
        study_id: bytes,
        keys: tuple[bytes, ...] | None,
    ) -> bool:
        try:
            return interest.matches(about, study_id, keys)
        except SchemeMismatchError as error:
            if keys is not None:  # where everything comes to everybody, that is no error
                self._statistics.refused[type(error).__name__] += 1
            return False

    def __repr__(self) -> str:
        return f"<Reception of {len(self._inboxes)} interests, {self._statistics.brief}>"
