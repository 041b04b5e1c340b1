"""One node's part in forwarding: as sender, as relay, and as the one that is reached so.

It keeps nothing of ways: an address says which relay is meant, and who sends chooses it.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from qis._guard import Guard
from qis._seldom import Bucket, Seldom
from qis.overlay.bundles import Datagram
from qis.overlay.lru_cache import LruCache
from qis.relay.callability import Callability
from qis.relay.frames import (
    FORWARD_HEAD,
    NOBODY,
    TAG_SIZE,
    Call,
    Forward,
    Forwarded,
    Here,
    RelayFrame,
    Seek,
    SeenAs,
    Unreached,
    decode,
    encode,
    is_relayed,
    relayed_address,
    tags_of,
)

SEALED_LIMIT: Final = 1_203 - FORWARD_HEAD
"""Bytes of a sealed datagram that is forwarded: with a head, and sealed once more, it is 1,232."""
BYTES_AN_HOUR: Final = 64.0 * 2**20
"""Bytes that a member may have forwarded in an hour, and at once: some four times all that a
network keeps."""
SENDERS_LIMIT: Final = 1_024
"""Members whose budgets are counted."""
CALL_AGAIN_S: Final = 60.0
"""Least time between two calls of one node that this one is asked for."""
CALLS_RATE: Final = 4.0
"""Such calls a second, of whomever."""


class Ways(Protocol):
    """What a node knows of the others, by the first 8 bytes of their keys."""

    @property
    def callability(self) -> Callability:
        """What is known of how this node is reached."""

    @property
    def own_address(self) -> bytes:
        """The address that it tells others."""

    def is_member(self, tag: bytes) -> bool:
        """True if another member of the roster has this key."""

    def path_to(self, tag: bytes) -> tuple[bytes, bytes] | None:
        """The key of a member that answers itself, and from where; 6 bytes of the key do."""

    def paths(self) -> Sequence[tuple[bytes, bytes]]:
        """All of these."""

    def contacted(self) -> tuple[bytes, ...]:
        """Those to which something was sent directly, or that were heard so."""

    def note_contact(self, tag: bytes) -> None:
        """Count a member among those that something was sent to."""

    def not_forwarded(self, tag: bytes, relay: bytes, now: float) -> None:
        """Take note that the relay of this key does not reach a member."""


class Relays:
    """The forwarding of one node.

    Parameters
    ----------
    reach
        Gives what the node knows of the others now; `None` where it forwards nothing.
    rng
        Source of choices.
    refused
        Where what is refused is counted, by reason.
    guard
        Tells whose budget is used up.

    """

    def __init__(
        self,
        reach: Callable[[], Ways | None],
        *,
        rng: random.Random,
        refused: Counter[str],
        guard: Guard,
    ) -> None:
        self._reach = reach
        self._rng = rng
        self._refused = refused
        self._guard = guard
        self._spent: LruCache[bytes, tuple[float, float]] = LruCache(SENDERS_LIMIT)
        self._called: Seldom[bytes] = Seldom(CALL_AGAIN_S)
        self._calls = Bucket(CALLS_RATE)
        self._out: list[Datagram] = []

    def __repr__(self) -> str:
        return f"<Relays: {len(self._out)} datagrams to be sealed>"

    def datagrams(self) -> list[Datagram]:
        """What has to be sealed and sent now; taken once."""
        found, self._out = self._out, []
        return found

    def send(self, sealed: bytes, address: bytes) -> None:
        """Have a sealed datagram brought to a relayed address."""
        reach = self._reach()
        tag, relay = tags_of(address)
        path = None if reach is None else reach.path_to(relay)
        if path is None or len(sealed) > SEALED_LIMIT:
            self._refused["no_relay"] += 1
        else:
            self._say(Forward(tag, sealed), path[1], path[0])

    def receive(
        self, data: bytes, address: bytes, key: bytes, now: float
    ) -> tuple[bytes, bytes] | None:
        """Take a frame in from a member; a sealed datagram and its source, if it carries one.

        Parameters
        ----------
        data
            What a channel's datagram has carried, beginning with `MAGIC`.
        address, key
            Where it comes from, and whose it is.

        """
        reach, frame = self._reach(), decode(data)
        if frame is None:
            self._refused["malformed"] += 1
        elif reach is None or is_relayed(address) or not reach.is_member(key[:TAG_SIZE]):
            self._refused["sender"] += 1
        elif isinstance(frame, Forwarded):
            # Whose it is, the channel finds out: until then it is what any stranger may send.
            return frame.sealed, relayed_address(frame.origin, key)
        else:
            self._take(reach, frame, address, key, now)
        return None

    def next_timer(self) -> float | None:
        """When `handle_timer` has something to do."""
        reach = self._reach()
        return None if reach is None else reach.callability.next_timer()

    def handle_timer(self, now: float) -> None:
        """Find out whether this node can be called, once somebody answers it."""
        reach = self._reach()
        if reach is None:
            return
        callability = reach.callability
        callability.expire(now)
        if callability.may_ask and (paths := reach.paths()):
            key, address = self._rng.choice(paths)
            seek = callability.ask(key, reach.own_address, reach.contacted(), now)
            self._say(seek, address, key)

    def _take(self, reach: Ways, frame: RelayFrame, address: bytes, key: bytes, now: float) -> None:
        match frame:
            case Forward():
                self._pass_on(reach, frame, address, key, now)
            case Unreached(to):
                reach.not_forwarded(to, key, now)
            case Seek():
                self._have_called(reach, frame, address, key)
            case SeenAs():
                reach.callability.seen(key, frame, now)
            case Here():
                has_called_it = key[:TAG_SIZE] in reach.contacted()
                reach.callability.called(key, frame, has_called_it=has_called_it)
            case Call():
                self._call(reach, frame, now)

    def _pass_on(self, reach: Ways, frame: Forward, address: bytes, key: bytes, now: float) -> None:
        path = reach.path_to(frame.to)
        if path is None or path[0] == key or not self._may_spend(key, len(frame.sealed), now):
            self._say(Unreached(frame.to), address, key)
        else:
            self._say(Forwarded(key[:TAG_SIZE], frame.sealed), path[1], path[0])

    def _may_spend(self, key: bytes, size: int, now: float) -> bool:
        spent, at = self._spent.get(key, (0.0, now))
        spent = max(0.0, spent - BYTES_AN_HOUR / 3_600.0 * max(0.0, now - at))
        may = spent + size <= BYTES_AN_HOUR
        self._spent.put(key, (spent + size * may, max(at, now)))
        if not may:
            self._refused["budget"] += 1
            self._guard.at_limit(
                "relay.relays.BYTES_AN_HOUR",
                key.hex(),
                "datagrams of this member are not forwarded: it has had as much forwarded as an "
                "hour allows; it may ask others, and here again later",
            )
        return may

    def _have_called(self, reach: Ways, frame: Seek, address: bytes, key: bytes) -> None:
        """Say how a member is seen, and have another call it."""
        known = {*frame.tags, key[:TAG_SIZE]}
        others = [each for each in reach.paths() if each[0][:TAG_SIZE] not in known]
        caller = NOBODY
        if others:
            other_key, other_address = self._rng.choice(others)
            caller = other_key[:TAG_SIZE]
            self._say(Call(frame.nonce, frame.address, key), other_address, other_key)
        self._say(SeenAs(frame.nonce, address, caller), address, key)

    def _call(self, reach: Ways, frame: Call, now: float) -> None:
        """Call a member at the address that it has told: at most three small datagrams a minute."""
        if is_relayed(frame.address) or not reach.is_member(frame.key[:TAG_SIZE]):
            self._refused["sender"] += 1
        elif reach.callability.awaited == frame.key[:TAG_SIZE]:
            self._refused["awaited"] += 1  # its own call tells this node something, if not called
        elif not self._called.would_allow(frame.key, now) or self._calls.is_full(now):
            self._refused["budget"] += 1
        else:
            self._called.allows(frame.key, now)
            reach.note_contact(frame.key[:TAG_SIZE])  # or its call would find this node's NAT open
            self._say(Here(frame.nonce), frame.address, frame.key)

    def _say(self, frame: RelayFrame, address: bytes, key: bytes) -> None:
        self._out.append((encode(frame), address, key))
