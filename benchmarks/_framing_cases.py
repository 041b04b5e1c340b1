"""Attempts to frame a site, or to have a lie believed, by way of refusals; with and without checks.

Each attempt is one datagram, packet or word of an attacker. It succeeds if an event or a reason of
health names a site that did nothing, if a lie of too few is believed, or if the attacker learns
whom a roster lists. The same attempts are made once more without the checks, by the former rules:
an attack that succeeds there shows that it is one.
"""

import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from unittest import mock

import qis
from qis._clock import Clock
from qis.channel import Channels
from qis.channel.cookies import Cookies
from qis.channel.handshake import REFUSAL, CallRefused, Initiation
from qis.health import Notices
from qis.overlay.addresses import pack_address
from qis.overlay.bundles import messages_of
from qis.overlay.messages import Publish, Refused, decode
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.record import Credentials
from qis.packet import reread
from qis.refusals import RefusalCode
from qis.testing import VirtualClock
from qis.transport.base import Statistics
from qis.transport.reception import Reception

NOW = 1_800_000_000.0
DAY_S = 86_400.0
SCHEME = qis.VectorScheme(dimensions=4, bands=6)
NEAR = [1.0, 0.5, -0.2, 0.1]
STUDY = qis.Study(question="a vs b | death", measure="OR", model="fixed")
KEYS = tuple(sorted({*SCHEME.routing_keys(NEAR), STUDY.id}))
NAMES = ("own", "victim", "liar", "north", "south", "east")
IDENTITIES = [qis.Identity.from_seed(bytes([number] * 32)) for number in range(1, 8)]
OWN, VICTIM, LIAR = range(3)
ROSTER = qis.Roster(
    tuple(qis.Site.of(name, IDENTITIES[number].issuer) for number, name in enumerate(NAMES))
)
ADDRESSES = [pack_address(f"192.0.2.{number}", 4_000) for number in range(1, 8)]
FORGED_PER_KIND = 40


def packet_of(site: int, days: float, *, ahead_s: float = 0.0, number: int = 0) -> bytes:
    """A packet of a site, issued so many days from now, perhaps numbered ahead."""
    issued_at = int(NOW + days * DAY_S)
    packet = qis.Packet.sign(
        IDENTITIES[site],
        outcome=qis.Effect(
            study=STUDY, measure="OR", estimate=number / 1_000, standard_error=0.2, n=400
        ),
        fingerprint=SCHEME.fingerprint(NEAR),
        issued_at=issued_at,
        lifetime_s=30 * 86_400,
        sequence=int((issued_at + ahead_s) * 1e6),
        routing_keys=SCHEME.routing_keys(NEAR),
    )
    return bytes(packet)


def forged(site: int, days: float, ahead_s: float) -> Iterator[bytes]:
    """Packets that a site never signed, and one bit of which it did."""
    rng = random.Random(1)
    for number in range(FORGED_PER_KIND):
        real = packet_of(site, days, ahead_s=ahead_s, number=number)
        by_liar = packet_of(LIAR, days, ahead_s=ahead_s, number=number)[-64:]
        flipped = bytearray(real)
        flipped[rng.randrange(-64, 0)] ^= 1 << rng.randrange(8)
        yield from (real[:-64] + rng.randbytes(64), real[:-64] + by_liar, bytes(flipped))


class Gate:
    """One node's reception, and what it tells."""

    def __init__(self, roster: qis.Roster = ROSTER) -> None:
        self.clock = VirtualClock(now=NOW)
        notices = Notices(logging.getLogger("benchmark"))
        self.told: list[str] = []
        notices.listen(lambda notice: self.told.append(notice.subject))
        self.reception = Reception(
            roster, Statistics(), notices=notices, clock=Clock.of(self.clock)
        )

    def names_victim(self) -> bool:
        """Whether anything told since the last call names the victim."""
        told, self.told[:] = list(self.told), []
        key = IDENTITIES[VICTIM].issuer.key.hex()
        return any(each.endswith((" of victim", key, "by victim")) for each in told)


def forged_packets() -> Iterator[bool]:
    """Packets in a victim's name with a wrong date or number, to a reader and to a holder."""
    for days, ahead_s in ((2.0, 0.0), (400.0, 0.0), (0.0, 301.0), (0.0, 1e9)):
        for data in forged(VICTIM, days, ahead_s):
            for is_holder in (False, True):
                gate = Gate()
                if is_holder:
                    gate.reception.validator(data, KEYS, NOW)
                else:
                    gate.reception.receive(data, KEYS, hops=1, now=NOW)
                heard = gate.reception.clocks.opinion(
                    ROSTER, IDENTITIES[OWN].issuer, unix_s=NOW
                ).heard
                yield gate.names_victim() or heard > 0


def lies() -> Iterator[bool]:
    """Lies of one in five, of one with two keys, of strangers by the dozen: is one believed."""
    two_keys = tuple(qis.SiteKey(issuer=IDENTITIES[number].issuer) for number in (LIAR, 6))
    own_keys = qis.Roster(
        (*(s for s in ROSTER.sites if s.name != "liar"), qis.Site(name="liar", keys=two_keys))
    )
    known = [identity.issuer.key for identity in IDENTITIES[:6]]
    strangers = [qis.Identity.from_seed(bytes([n] * 32)).issuer.key for n in range(100, 130)]
    for code in (*RefusalCode, 77):
        for roster, saying in (
            (ROSTER, known[LIAR : LIAR + 1] * 1_000),
            (own_keys, [known[LIAR], IDENTITIES[6].issuer.key]),
            (ROSTER, strangers),
            (qis.Roster.open(), strangers),
        ):
            refusals = Gate(roster).reception.refusals
            for key in saying:
                refusals.heard(key, code, NOW)
            yield any(claim.is_believed for claim in refusals.claims(known, NOW))


def node_of(site: int, gate: Gate) -> OverlayNode:
    """A node of the overlay that nobody else is connected to."""
    settings = Settings(
        credentials=Credentials.of(IDENTITIES[site]),
        address=ADDRESSES[site],
        inspect=gate.reception.validator,
        receive=gate.reception.takes,
        accepts=gate.reception.accepts,
        refusals=gate.reception.refusals,
    )
    return OverlayNode(settings, rng=random.Random(1), secret=bytes(32), now=NOW)


def parts_of(node: OverlayNode) -> list[bytes]:
    """The messages that a node sends now."""
    return [part for data, _, _ in node.datagrams() for part in messages_of(data) or ()]


def questions_to_a_holder() -> Iterator[bool]:
    """Made-up packets of others handed over by a liar: does the answer tell of the roster."""
    listed = [IDENTITIES[number].issuer for number in (OWN, LIAR, 3)]
    gate = Gate(qis.Roster(tuple(qis.Site.of(issuer.key.hex()[:8], issuer) for issuer in listed)))
    node = node_of(OWN, gate)
    token = node._tokens.token(ADDRESSES[LIAR], NOW)  # noqa: SLF001  what a proven asker has
    for site in (VICTIM, 3, 4, 5):
        for days in (0.0, 2.0, -40.0):
            for number in range(8):
                real = packet_of(site, days, number=number)
                message = Publish(
                    request=bytes([number]) * 8,
                    token=token,
                    attempt=0,
                    hops=1,
                    key_bits=1,
                    keys=KEYS,
                    packet=real[:-1] + bytes([real[-1] ^ 1]),
                )
                asker = IDENTITIES[LIAR].issuer.key
                node.receive_datagrams([(message.encode(), ADDRESSES[LIAR], asker)], NOW)
                parts = parts_of(node)
                yield any(isinstance(decode(part), Refused) for part in parts)


def channels(site: int, listed: bytes, told: Callable[[bytes, int, float], object]) -> Channels:
    """The channels of a node whose roster lists one key."""
    return Channels(
        IDENTITIES[site],
        accepts=lambda issuer: issuer.key == listed,
        rng=random.Random(site),
        secret=bytes([site + 1]) * 32,
        told=told,
    )


def refused_call() -> tuple[Channels, bytes, bytes, list[int]]:
    """A caller, its call and the refusal that is its due, which it has not got yet."""
    told: list[int] = []
    key = IDENTITIES[VICTIM].issuer.key
    caller = channels(OWN, key, lambda _key, code, _now: told.append(code))
    called = channels(VICTIM, key, lambda *_: None)
    caller.send(b"hello", ADDRESSES[VICTIM], key, NOW)
    while True:
        ((call, _),) = caller.datagrams()
        called.receive(call, ADDRESSES[OWN], NOW)
        ((answer, _),) = called.datagrams()
        if answer[0] == REFUSAL:
            return caller, call, answer, told
        caller.receive(answer, ADDRESSES[VICTIM], NOW)


def forged_refusals_of_a_call() -> Iterator[bool]:
    """Somebody on the network says in the victim's name that it refuses a call."""
    rng = random.Random(2)
    for number in range(100):
        caller, call, real, told = refused_call()
        initiation, refusal = Initiation.decode(call), CallRefused.decode(real)
        if initiation is None or refusal is None:
            raise AssertionError("the messages of a handshake are no such messages")
        part = refusal.signed_part(initiation.transcript(IDENTITIES[VICTIM].issuer.key))
        signature = IDENTITIES[LIAR].sign(part) if number % 2 else rng.randbytes(64)
        for address in (ADDRESSES[VICTIM], ADDRESSES[LIAR]):
            data = replace(refusal, code=1 + number % 4, signature=signature).encode()
            caller.receive(data, address, NOW)
            yield bool(told)
            told.clear()


def calls_in_another_s_name() -> Iterator[bool]:
    """Calls in the name of keys on the roster and off it: does any answer tell which is which."""
    for site in (VICTIM, 3):
        for is_proven in (False, True):
            caller = channels(site, bytes(32), lambda *_: None)
            caller.send(b"hello", ADDRESSES[OWN], IDENTITIES[OWN].issuer.key, NOW)
            ((call, _),) = caller.datagrams()
            called = channels(OWN, IDENTITIES[VICTIM].issuer.key, lambda *_: None)
            initiation = Initiation.decode(call)
            if initiation is None:
                raise AssertionError("a call is no call")
            cookie = Cookies(bytes([OWN + 1]) * 32).cookie(ADDRESSES[LIAR], NOW)
            more = {"cookie": cookie} if is_proven else {}
            for number in range(10):
                signature = bytes([number]) * 64
                data = replace(initiation, signature=signature, **more).encode()
                called.receive(data, ADDRESSES[LIAR], NOW)
                yield bool(called.datagrams())


ATTACKS = (
    forged_packets,
    lies,
    questions_to_a_holder,
    forged_refusals_of_a_call,
    calls_in_another_s_name,
)


@contextlib.contextmanager
def without_checks() -> Iterator[None]:
    """The former rules: times before signatures, one word is enough, an answer is for everybody."""
    believe = mock.patch("qis.refusals.BELIEVED_FROM", 1)
    with (
        believe,
        mock.patch.object(Reception, "_site_of", lambda _, key: key.hex()),
        mock.patch("qis.transport.reception.Packet.parse", reread),
        mock.patch("qis.overlay.validator.Packet.parse", reread),
        mock.patch("qis.overlay.requests.issuer_key", return_value=IDENTITIES[LIAR].issuer.key),
        mock.patch("qis.channel.initiator.verify"),
        mock.patch("qis.channel.responder.verify"),
    ):
        yield


def figures(full: bool) -> dict[str, float]:  # noqa: ARG001, FBT001  there is one form
    """How many attempts there are, and how many succeed with and without the checks."""
    results = [list(attack()) for attack in ATTACKS]
    with without_checks():
        former = [list(attack()) for attack in ATTACKS]
    return {
        "framing_kinds": len(ATTACKS),
        "framing_attempts": sum(map(len, results)),
        "framing_succeeded": sum(map(sum, results)),
        "framing_succeeded_without_checks": sum(map(sum, former)),
        "framing_kinds_that_succeed_without_checks": sum(map(any, former)),
    }
