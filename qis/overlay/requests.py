"""What other nodes ask of this one: each request goes to the part that it concerns, or is refused.

Nothing larger than the request goes to an address that has not proven itself, and nothing is held
for it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from qis._seldom import Seldom
from qis.overlay.delivering import Receive
from qis.overlay.interests import Interests
from qis.overlay.lookup_driver import LookupDriver
from qis.overlay.messages import (
    NO_REQUEST,
    Closer,
    Deliver,
    Delivered,
    Find,
    Found,
    Leave,
    Message,
    Prove,
    Publish,
    Refused,
    Relay,
    Subscribe,
)
from qis.overlay.record import Contact, NodeAdmission
from qis.overlay.relaying import Relaying
from qis.overlay.rendezvous import RendezvousNode
from qis.overlay.rpc import Rpc
from qis.overlay.table import RoutingTable
from qis.overlay.tokens import Tokens
from qis.packet import issuer_key
from qis.refusals import TELL_EVERY_S, RefusalCode

Heard = tuple[Deliver, bytes, bytes | None]
"""A message, the address it came from, and the key that a channel has authenticated there."""


class Requests:
    """Answers requests; the arguments are the other parts of the node."""

    def __init__(
        self,
        *,
        admission: NodeAdmission,
        tokens: Tokens,
        table: RoutingTable,
        lookup_driver: LookupDriver,
        rpc: Rpc,
        rendezvous: RendezvousNode,
        interests: Interests,
        relaying: Relaying,
        receive: Receive,
        gone: Callable[[Contact], object],
        refused: Counter[str],
    ) -> None:
        self._admission = admission
        self._tokens = tokens
        self._table = table
        self._lookup_driver = lookup_driver
        self._rpc = rpc
        self._rendezvous = rendezvous
        self._interests = interests
        self._relaying = relaying
        self._receive = receive
        self._gone = gone
        self._refused = refused
        self._told: Seldom[tuple[bytes, int]] = Seldom(TELL_EVERY_S)

    def answer(self, message: Message, address: bytes, now: float) -> bool:
        """Do what is asked; whether the message is a request at all."""
        handler = _HANDLERS.get(type(message))
        if handler is None:
            return False
        handler(self, message, address, now)
        return True

    def deliver(self, heard: list[Heard], now: float) -> None:
        """Give packets to the application, and acknowledge those that need not come again."""
        arrived = [(message.packet, message.keys, message.hops) for message, _, _ in heard]
        taken: dict[tuple[bytes, bytes | None], list[bytes]] = {}
        for (message, address, sender), is_taken in zip(
            heard, self._receive(arrived, now), strict=True
        ):
            if is_taken:
                self._relaying.note(message)
                taken.setdefault((address, sender), []).append(message.request)
        for (address, self._rpc.asked_by), requests in taken.items():
            self._rpc.acknowledge(requests, address)

    def tell_full(self, key: bytes, now: float) -> None:
        """Tell a node, if it is known, that it loses by a limit here; it asks nothing now."""
        contact = self._table.get(self._admission.id_of(key))
        if contact is not None and self._told.allows((key, RefusalCode.FULL), now):
            self._rpc.send(Refused(request=NO_REQUEST, code=RefusalCode.FULL), contact.record)

    def _on_find(self, message: Find, address: bytes, now: float) -> None:
        asker = self._admission.contact(message.record)
        if asker is None or asker.record.is_leaving:
            self._refused["record"] += 1
            return
        is_proven = self._tokens.proves(address, message.token, now)
        if not is_proven and any(message.token):
            self._ask_for_proof(message, address, now)
            return
        if is_proven and asker.record.address == address:
            self._table.add(asker)
        records = tuple(c.record.encode() for c in self._lookup_driver.closest(message.target))
        token = self._tokens.token(address, now)
        self._rpc.answer(Found(request=message.request, token=token, records=records), address)

    def _on_subscribe(self, message: Subscribe, address: bytes, now: float) -> None:
        if message.subscription.address != address:  # or a victim could be subscribed
            self._refused["address"] += 1
        elif self._proves(message, message.token, address, now):
            self._answer(self._rendezvous.subscribe(message, now), address, now)

    def _on_publish(self, message: Publish, address: bytes, now: float) -> None:
        if self._proves(message, message.token, address, now):
            asked_by = self._rpc.asked_by
            answer = self._rendezvous.publish(message, now, asked_by=asked_by)
            # What becomes of a packet is its own site's business, and nobody else's: another could
            # ask by made-up packets whom this node's roster lists.
            if isinstance(answer, Refused) and asked_by not in (None, issuer_key(message.packet)):
                answer = None
            self._answer(answer, address, now)

    def _on_closer(self, message: Closer, address: bytes, now: float) -> None:
        if not self._interests.hears_from(address):
            self._refused["unasked"] += 1
            return
        contact = self._lookup_driver.contact(message.record)
        if contact is None:
            self._refused["record"] += 1
            return
        self._rpc.answer(Delivered(request=message.request), address)
        self._interests.closer(contact, message.keys, now)

    def _on_relay(self, message: Relay, address: bytes, now: float) -> None:
        if not self._interests.hears_from(address):
            self._refused["unasked"] += 1
            return
        refusal = self._relaying.relay(message, address, now)
        if refusal is None:
            self._rpc.answer(Delivered(request=message.request), address)
        else:
            self._refused[refusal] += 1

    def _on_leave(self, message: Leave, _address: bytes, _now: float) -> None:
        contact = self._admission.contact(message.record)
        if contact is None or not contact.record.is_leaving:
            self._refused["record"] += 1
            return
        known = self._table.get(contact.id)
        if known is not None and contact.record.sequence > known.record.sequence:
            self._table.remove(contact.id)
            self._gone(known)

    def _proves(self, message: Message, token: bytes, address: bytes, now: float) -> bool:
        if self._tokens.proves(address, token, now):
            return True
        self._ask_for_proof(message, address, now)
        return False

    def _ask_for_proof(self, message: Message, address: bytes, now: float) -> None:
        token = self._tokens.token(address, now)
        self._rpc.answer(Prove(request=message.request, token=token), address)

    def _answer(self, answer: Message | None, address: bytes, now: float) -> None:
        if answer is None or isinstance(answer, Refused):
            self._refused["request"] += 1
        if answer is not None and self._may_say(answer, address, now):
            self._rpc.answer(answer, address)

    def _may_say(self, answer: Message, address: bytes, now: float) -> bool:
        """True if an answer is due: a peer is told the same reason only now and then."""
        if not isinstance(answer, Refused):
            return True
        return self._told.allows((self._rpc.asked_by or address, answer.code), now)


_HANDLERS: Final[dict[type[Message], Callable[[Requests, Any, bytes, float], None]]] = {
    Find: Requests._on_find,  # noqa: SLF001  the table of this class's own handlers
    Subscribe: Requests._on_subscribe,  # noqa: SLF001
    Publish: Requests._on_publish,  # noqa: SLF001
    Leave: Requests._on_leave,  # noqa: SLF001
    Closer: Requests._on_closer,  # noqa: SLF001
    Relay: Requests._on_relay,  # noqa: SLF001
}
