"""Messages as somebody of ill will makes them who has a key: well formed and validly signed."""

import dataclasses
import random
from collections import deque

from _mutations import HEARD_LIMIT
from _site import LIFETIME_S, NOW, TOPICS, packet_about
from blake3 import blake3

import qis
from qis.about import MAX_ROUTING_KEYS, Near
from qis.channel.handshake import Initiation, Response, encode_cookie
from qis.overlay.messages import (
    CHARGES_LIMIT,
    NEWS_LIMIT,
    RECORDS_LIMIT,
    Closer,
    Deliver,
    Find,
    Found,
    Leave,
    Message,
    Publish,
    Published,
    Relay,
    Subscribe,
    Subscribed,
)
from qis.overlay.record import Credentials
from qis.overlay.subscription import SLOTS_LIMIT, Subscription


class Signer:
    """Makes well-formed messages that are validly signed by somebody of ill will.

    Parameters
    ----------
    identity
        His key.
    rng
        His chance.

    """

    def __init__(self, identity: qis.Identity, rng: random.Random) -> None:
        self.credentials = Credentials.of(identity)
        self._identity = identity
        self._rng = rng
        self._sequence = int(NOW * 1_000_000)
        self._published = 1_000
        self._packets: deque[tuple[bytes, tuple[bytes, ...]]] = deque(maxlen=HEARD_LIMIT)

    def message(self, address: bytes, token: bytes, now: float) -> Message:
        """Any message that one may send unasked."""
        make = self._rng.choice(
            (
                self._find,
                self.subscribe,
                self.subscribe,
                self._publish,
                self._deliver,
                self._closer,
                self._leave,
                self._relay,
                self._answer,
            )
        )
        return make(address, token, now)

    def flood(self, address: bytes, token: bytes, now: float) -> list[Message]:
        """Each makes the receiver remember something new."""
        self._packets.clear()
        packet, keys = self._packet(now, lifetime_s=LIFETIME_S)
        request = self._bytes(8)
        publish = Publish(
            request=request,
            token=token,
            attempt=0,
            hops=1,
            key_bits=2 ** len(keys) - 1,
            keys=keys,
            packet=packet,
        )
        deliver = Deliver(request=request, hops=1, keys=keys, packet=packet)
        relay = [self._relay(address, token, now)] if self._rng.random() < 0.02 else []
        return [deliver, publish, self._find(address, token, now), *relay]

    def record(self, address: bytes) -> bytes:
        """His record of an address, newer than all before, or as old as can be."""
        return self.credentials.record(address, self._next_sequence()).encode()

    def initiation(self, responder: bytes, cookie: bytes, now: float) -> bytes:
        """A call to the channel, signed for whom it is sent to."""
        call = Initiation(
            session=self._rng.getrandbits(32),
            ephemeral=self._rng.choice((bytes(32), b"\x01".ljust(32, b"\0"), self._bytes(32))),
            key=self.credentials.key,
            time_ms=self._rng.choice((0, int(now * 1000), 2**64 - 1)),
            cookie=cookie,
        )
        signature = self.credentials.sign(call.signed_part(responder))
        return dataclasses.replace(call, signature=signature).encode()

    def handshake(self) -> bytes:
        """A response or cookie that nobody has asked for."""
        if self._rng.random() < 0.5:
            return encode_cookie(self._rng.getrandbits(32), self._bytes(16))
        number, other = self._rng.getrandbits(32), self._rng.getrandbits(32)
        return Response(to=number, session=other, ephemeral=self._bytes(32), time_ms=0).encode()

    def _find(self, address: bytes, token: bytes, _now: float) -> Message:
        target = self._rng.getrandbits(256)
        record = self.record(address)
        return Find(request=self._bytes(8), token=token, record=record, target=target)

    def _nears(self) -> frozenset[Near]:
        """None, as for an open key, or some."""
        return frozenset(
            Near(
                self._bytes(8),
                self._bytes(32),
                2 ** self._rng.randrange(5),
                self._rng.randrange(256),
            )
            for _ in range(self._rng.choice((0, 0, 1, 3)))
        )

    def subscribe(self, address: bytes, token: bytes, _now: float) -> Message:
        """A subscription, mostly to new keys."""
        keys = self._keys()
        subscription = Subscription.signed(
            self.credentials,
            record=self.record(address),
            sequence=self._next_sequence(),
            lifetime_s=self._rng.choice((0, 1, 1_500, 1_500, 65_535)),
            wanted={key: self._nears() for key in keys},
            slot=self._rng.randrange(SLOTS_LIMIT),
        )
        return Subscribe(
            request=self._bytes(8),
            token=token,
            key_bits=self._rng.choice((2 ** len(keys) - 1, self._rng.getrandbits(len(keys)), 0)),
            wants_replay=self._rng.random() < 0.3,
            seen_epoch=bytes(8),
            seen_count=self._rng.choice((0, 2**64 - 1)),
            subscription=subscription,
        )

    def _publish(self, _address: bytes, token: bytes, now: float) -> Message:
        packet, keys = self._packet(now)
        key_bits = self._rng.choice((2 ** len(keys) - 1, 1 << self._rng.randrange(len(keys))))
        return Publish(
            request=self._bytes(8),
            token=token,
            attempt=self._rng.randrange(256),
            hops=self._rng.randrange(256),
            key_bits=key_bits,
            keys=keys,
            packet=packet,
            quiet_bits=self._rng.choice((0, key_bits)),
        )

    def _deliver(self, _address: bytes, _token: bytes, now: float) -> Message:
        packet, keys = self._packet(now)
        hops = self._rng.randrange(256)
        return Deliver(request=self._bytes(8), hops=hops, keys=keys, packet=packet)

    def _closer(self, address: bytes, _token: bytes, _now: float) -> Message:
        return Closer(request=self._bytes(8), record=self.record(address), keys=self._keys()[:48])

    def _relay(self, address: bytes, _token: bytes, now: float) -> Message:
        """An errand with something of his that he has sent, to wherever he likes."""
        packet, _ = self._rng.choice(self._packets) if self._packets else self._packet(now)
        many = self._rng.randint(1, CHARGES_LIMIT)
        return Relay(
            request=self._bytes(8),
            digest=blake3(packet).digest(),
            hops=self._rng.randrange(256),
            records=tuple(self.record(self._elsewhere(address)) for _ in range(many)),
        )

    def _leave(self, address: bytes, _token: bytes, _now: float) -> Message:
        gone = self._rng.choice((address[:16] + bytes(2), address))
        return Leave(request=self._bytes(8), record=self.record(gone))

    def _answer(self, address: bytes, token: bytes, _now: float) -> Message:
        request = self._bytes(8)
        records = tuple(self.record(self._elsewhere(address)) for _ in range(RECORDS_LIMIT))
        news, young_bits = records[:NEWS_LIMIT], self._rng.choice((0, 2**64 - 1))
        return self._rng.choice(
            (
                Found(request=request, token=token, records=records),
                Subscribed(request=request, epoch=request, count=2**64 - 1, news=news),
                Published(request=request, young_bits=young_bits, news=news),
            )
        )

    def _next_sequence(self) -> int:
        """A new one, mostly: the highest of all shuts out what comes after it."""
        self._sequence += 1
        chance = self._rng.random()
        return self._sequence if chance > 0.1 else 2**64 - 1 if chance < 0.0005 else 0

    def _elsewhere(self, address: bytes) -> bytes:
        return self._rng.choice((address, self._rng.randbytes(18)))

    def _keys(self) -> tuple[bytes, ...]:
        many = self._rng.choice((1, 8, MAX_ROUTING_KEYS))
        return tuple(sorted(self._bytes(8) for _ in range(many)))

    def _packet(self, now: float, lifetime_s: int = 0) -> tuple[bytes, tuple[bytes, ...]]:
        """A packet of his, under keys that nobody wants; now and then one that he has sent."""
        if len(self._packets) == HEARD_LIMIT and self._rng.random() < 0.7:
            return self._rng.choice(self._packets)
        self._published += 1
        packet, keys = packet_about(
            self._identity,
            self._rng.randrange(len(TOPICS)),
            self._published,
            int(now),
            others=self._keys()[:24],
            lifetime_s=lifetime_s or self._rng.choice((10, 1_000, LIFETIME_S)),
        )
        self._packets.append((bytes(packet), keys))
        return self._packets[-1]

    def _bytes(self, size: int) -> bytes:
        return self._rng.randbytes(size)
