"""A key that many want: its holder sends to some of them, and each of these to some of the others.

A holder that sent every packet to each of n subscribers would do all the work for a popular topic.
Beyond `DIRECT_LIMIT` it deals them out: some √n of them are relays, and each is asked to pass the
packet on to some √n others, whose records the holder names. A relay that is silent is replaced
once; what it had to do then is done directly. The next packet, and the same one published again,
have other relays.

A relay that drops what it should pass on is not noticed. So whoever shares more keys with the
packet than most do, and so is likeliest to want it, has it from the holder itself.

A relay obeys only its own holders, and only for what came to it: see `Relaying`.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Final, Literal

from blake3 import blake3

from qis.overlay.lru_cache import LruCache
from qis.overlay.message_store import Carried
from qis.overlay.messages import CHARGES_LIMIT, Deliver, Delivered, Relay
from qis.overlay.record import Contact, NodeAdmission
from qis.overlay.send_window import SendWindow
from qis.refusals import RefusalCode

DIRECT_LIMIT: Final = 64
"""Subscribers that a holder sends one packet to itself."""
RELAYS_TRIED: Final = 2
"""How many relays one after the other are given a group; then it is served directly."""
LATELY_LIMIT: Final = 1_024
"""Packets that a node remembers to have been sent; the oldest goes first."""
OBEYED_LIMIT: Final = 4_096
"""Requests to relay that are remembered, so that a repetition sends nothing; the oldest goes."""

Inspect = Callable[[bytes, tuple[bytes, ...], float], Carried | RefusalCode | None]
"""Verifies (packet, keys, now): the carried packet, or why it is not passed on: a code if
its issuer may know, else `None`."""
Refusal = Literal["relay", "record"]


def dealt(packet_id: bytes, attempt: int, receivers: Mapping[Contact, int]) -> list[list[Contact]]:
    """Groups of receivers, each once; the first of a group gets the packet for the others.

    Up to `DIRECT_LIMIT` of them each is a group of its own. Of more, at most so many that share
    more keys than most do; the others, n of them, are in ⌊√n⌋ + 1 groups of equal size or one less.

    Parameters
    ----------
    packet_id
        32 bytes.
    attempt
        In [0, 255]: that of the publication. Another one makes other groups.
    receivers
        In any order, with the number of routing keys that each shares with the packet.

    """
    if len(receivers) <= DIRECT_LIMIT:
        return [[contact] for contact in receivers]
    prefix = packet_id + bytes([attempt])
    rank = {contact: blake3(prefix + contact.record.key).digest() for contact in receivers}
    usual = sorted(receivers.values())[len(receivers) // 2]
    near = [contact for contact, shared in receivers.items() if shared > usual]
    near.sort(key=lambda contact: (-receivers[contact], rank[contact]))
    direct = near[:DIRECT_LIMIT]
    others = sorted(receivers.keys() - direct, key=rank.__getitem__)
    # r relays cost the holder r packets and each relay n/r: the larger is least where r = √n.
    relays = isqrt(len(others)) + 1
    return [[contact] for contact in direct] + [others[first::relays] for first in range(relays)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    """What a packet's groups have in common; `line` is that of the send window."""

    carried: Carried
    digest: bytes
    hops: int
    line: bytes


class Spreading:
    """The holder's part: sends a packet to all of its receivers, by relays if they are many.

    Parameters
    ----------
    send_window
        Sends this node's packets.

    """

    def __init__(self, send_window: SendWindow) -> None:
        self._send_window = send_window

    def spread(
        self,
        carried: Carried,
        receivers: Mapping[Contact, int],
        *,
        attempt: int,
        hops: int,
        line: bytes,
        now: float,
    ) -> None:
        """Send a packet that has come here with so many hops to nodes that are not this one.

        `receivers` and `attempt` are as for `dealt`, `line` is that of the send window.
        """
        digest = blake3(carried.packet).digest()
        errand = _Errand(carried=carried, digest=digest, hops=hops, line=line)
        for group in dealt(carried.id, attempt, receivers):
            self._entrust(errand, group, RELAYS_TRIED, now)

    def _entrust(self, errand: _Errand, group: list[Contact], tries: int, now: float) -> None:
        relay, charges = group[0], group[1:]
        if not charges:
            self._deliver(errand, relay, now)
            return
        self._send_window.deliver(
            errand.carried,
            relay.record,
            errand.hops,
            now,
            line=errand.line,
            on_answer=lambda _, at: self._ask(errand, relay, charges, tries, at),
            on_silence=lambda at: self._replace(errand, charges, tries, at),
        )

    def _ask(
        self, errand: _Errand, relay: Contact, charges: list[Contact], tries: int, now: float
    ) -> None:
        """Ask a relay that has the packet to pass it on, to as many at a time as a message names.

        The next ones are named when it has answered, so that it is not overrun either.
        """
        if not charges:
            return
        named, others = charges[:CHARGES_LIMIT], charges[CHARGES_LIMIT:]
        records = tuple(contact.record.encode() for contact in named)

        def build(request: bytes, _: bytes) -> Relay:
            return Relay(
                request=request,
                digest=errand.digest,
                hops=min(errand.hops + 1, 255),
                records=records,
            )

        self._send_window.send(
            errand.carried,
            relay.record,
            build,
            now,
            expects=Delivered,
            on_answer=lambda _, at: self._ask(errand, relay, others, tries, at),
            on_silence=lambda at: self._replace(errand, charges, tries, at),
            line=errand.line,
            is_packet=False,
        )

    def _replace(self, errand: _Errand, charges: list[Contact], tries: int, now: float) -> None:
        if tries > 1:
            self._entrust(errand, charges, tries - 1, now)
            return
        for contact in charges:
            self._deliver(errand, contact, now)

    def _deliver(self, errand: _Errand, to: Contact, now: float) -> None:
        self._send_window.deliver(errand.carried, to.record, errand.hops, now, line=errand.line)


class Relaying:
    """The relay's part: passes on what it was sent, when its holder asks for it.

    Whether it is its holder that asks is for the caller to see. What makes a relay send is then
    bounded: to nodes whose records are signed, each address once a request, and only a packet that
    has come here lately and verifies.

    Parameters
    ----------
    admission
        Decides which records are believed.
    inspect
        Verifies a packet before it is passed on.
    send_window
        Sends this node's packets.

    """

    def __init__(
        self, *, admission: NodeAdmission, inspect: Inspect, send_window: SendWindow
    ) -> None:
        self._admission = admission
        self._inspect = inspect
        self._send_window = send_window
        self._arrived: deque[Deliver] = deque(maxlen=LATELY_LIMIT)
        self._lately: LruCache[bytes, Deliver] = LruCache(LATELY_LIMIT)
        self._obeyed: LruCache[tuple[bytes, bytes], None] = LruCache(OBEYED_LIMIT)

    def note(self, message: Deliver) -> None:
        """Remember what has come here."""
        self._arrived.append(message)

    def relay(self, message: Relay, address: bytes, now: float) -> Refusal | None:
        """Do what a holder at this address asks for, once; or say why not."""
        request = (address, message.request)
        if request in self._obeyed:
            return None
        carried = self._find(message.digest, now)
        if carried is None:
            return "relay"
        charges = [self._admission.contact(record) for record in message.records]
        contacts = [each for each in charges if each is not None and not each.record.is_leaving]
        addresses = {contact.record.address for contact in contacts}
        if len(addresses) < len(message.records):
            return "record"
        self._obeyed.put(request, None)
        for contact in contacts:
            self._send_window.deliver(carried, contact.record, message.hops, now, line=address)
        return None

    def _find(self, digest: bytes, now: float) -> Carried | None:
        """The packet of this digest, if it came lately and is valid.

        Digests are made when the first is asked for: few of all packets are ever relayed.
        """
        while self._arrived:
            arrived = self._arrived.popleft()
            self._lately.put(blake3(arrived.packet).digest(), arrived)
        found = self._lately.get(digest)
        if found is None:
            return None
        carried = self._inspect(found.packet, found.keys, now)
        return carried if isinstance(carried, Carried) else None
