"""The part of a rendezvous node: hold subscriptions, forward what is published, keep it."""

from collections.abc import Callable, Iterable
from typing import Final

from qis.overlay.choice import chosen_keys
from qis.overlay.lru_cache import LruCache
from qis.overlay.message_store import Carried, MessageStore
from qis.overlay.messages import Publish, Published, Refused, Subscribe, Subscribed
from qis.overlay.record import Contact, Credentials, NodeAdmission
from qis.overlay.relaying import Inspect, Spreading
from qis.overlay.rpc import Rpc
from qis.overlay.send_window import SendWindow
from qis.overlay.subscriber import REFRESH_S
from qis.overlay.subscription import Subscription
from qis.overlay.subscription_table import SubscriptionTable
from qis.refusals import RefusalCode

HANDLED_LIMIT: Final = 16_384
"""(packet, key, attempt) remembered as forwarded, so that a repeated request forwards nothing."""


class RendezvousNode:
    """Answers subscriptions and publications at one node."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        admission: NodeAdmission,
        rpc: Rpc,
        inspect: Inspect,
        deliver_here: Callable[[Carried, int, float], None],
        unix_s: Callable[[float], float],
        epoch: bytes,
    ) -> None:
        self.subscription_table = SubscriptionTable(rpc.guard)
        self.message_store = MessageStore(unix_s=unix_s, guard=rpc.guard)
        self.send_window = SendWindow(rpc, credentials.key)
        self._spreading = Spreading(self.send_window)
        self.news_for: Callable[[Iterable[bytes], float], tuple[bytes, ...]] = lambda _, __: ()
        self._own_key = credentials.key
        self._verify = credentials.verify
        self._admission = admission
        self._inspect = inspect
        self._deliver_here = deliver_here
        self._epoch = epoch
        self._handled: LruCache[tuple[bytes, bytes, int], None] = LruCache(HANDLED_LIMIT)

    def subscribe(self, message: Subscribe, now: float) -> Subscribed | Refused | None:
        """Hold a subscription, or say that there is no room; `None` refuses it without a word."""
        subscription = message.subscription
        contact = self._subscriber_of(subscription)
        if contact is None or self.subscription_table.is_stale(subscription):
            return None
        if not self.subscription_table.put(subscription, message.key_bits, now):
            return Refused(request=message.request, code=RefusalCode.FULL)
        keys = tuple(key for i, key in enumerate(subscription.keys) if message.key_bits >> i & 1)
        if message.wants_replay and keys:
            seen = message.seen_count if message.seen_epoch == self._epoch else 0
            for carried in self.message_store.after(seen, frozenset(keys), now):
                chosen = _chosen(carried, 0, subscription)
                if carried.issuer != subscription.subscriber and not set(chosen).isdisjoint(keys):
                    self._forward(carried, contact, int(carried.issuer != self._own_key), now)
        return Subscribed(
            request=message.request,
            epoch=self._epoch,
            count=self.message_store.count,
            news=self.news_for(keys, now),
        )

    def publish(
        self, message: Publish, now: float, *, asked_by: bytes | None = None
    ) -> Published | Refused | None:
        """Forward a packet to the subscribers that one of the keys has been chosen for, once each.

        It may be refused, or not kept, for a reason that its issuer may know; `None` refuses it
        without a word. `asked_by` is the key of who asks, if a channel has authenticated it: only
        a packet's own issuer has it forwarded again, by the number of the repetition.
        """
        carried = self._inspect(message.packet, message.keys, now)
        if not isinstance(carried, Carried):
            if carried is None:
                return None
            return Refused(request=message.request, code=carried)
        if asked_by not in (None, carried.issuer):
            message.attempt = 0
        keys = [key for i, key in enumerate(message.keys) if message.key_bits >> i & 1]
        young_bits = sum(
            1 << i
            for i, key in enumerate(message.keys)
            if message.key_bits >> i & 1 and self.subscription_table.age_s(key, now) < REFRESH_S
        )
        is_kept = self.message_store.put(carried, keys, now)
        self._take_here(keys, carried, message, now)
        fresh = [
            key
            for i, key in enumerate(message.keys)
            if (message.key_bits & ~message.quiet_bits) >> i & 1
            and self.subscription_table.count(key)
            and self._is_first(carried, key, message.attempt)
        ]
        if fresh:
            self._forward_under(fresh, carried, message, now)
        if not is_kept:  # forwarded, but not held: to say so would end the publisher's search
            return Refused(request=message.request, code=RefusalCode.FULL)
        return Published(
            request=message.request, young_bits=young_bits, news=self.news_for(keys, now)
        )

    def _take_here(self, keys: list[bytes], carried: Carried, message: Publish, now: float) -> None:
        """Give this node's own application what one of these keys has been chosen for.

        Whoever else knows of it: what is here already need not wait for another to send it.
        """
        if carried.issuer == self._own_key:
            return
        for subscription, under in self.subscription_table.of(self._own_key, now):
            chosen = under.intersection(_chosen(carried, message.attempt, subscription))
            if not chosen.isdisjoint(keys) and self._is_first(carried, b"", message.attempt):
                self._deliver_here(carried, message.hops, now)
                return

    def _is_first(self, carried: Carried, key: bytes, attempt: int) -> bool:
        handled = (carried.id, key, attempt)
        if handled in self._handled:
            return False
        self._handled.put(handled, None)
        return True

    def _forward_under(
        self, keys: list[bytes], carried: Carried, message: Publish, now: float
    ) -> None:
        subscriptions: dict[bytes, tuple[Subscription, set[bytes]]] = {}
        for key in keys:
            for subscription in self.subscription_table.under(key, now):
                found = subscriptions.setdefault(subscription.slot_id, (subscription, set()))
                found[1].add(key)
        carried_keys = frozenset(carried.keys)
        receivers: dict[Contact, int] = {}
        for subscription, under in subscriptions.values():
            subscriber = subscription.subscriber
            if subscriber in (carried.issuer, self._own_key):
                continue
            if under.isdisjoint(_chosen(carried, message.attempt, subscription)):
                continue
            contact = self._admission.contact(subscription.record)
            if contact is not None:
                receivers[contact] = len(carried_keys.intersection(subscription.keys))
        self._spreading.spread(
            carried,
            receivers,
            attempt=message.attempt,
            hops=message.hops,
            line=max(keys, key=self.subscription_table.count),
            now=now,
        )

    def _forward(self, carried: Carried, contact: Contact, hops: int, now: float) -> None:
        if contact.record.key == self._own_key:
            self._deliver_here(carried, hops, now)
        else:
            self.send_window.deliver(carried, contact.record, hops, now)

    def _subscriber_of(self, subscription: Subscription) -> Contact | None:
        contact = self._admission.contact(subscription.record)
        if contact is None or contact.record.is_leaving:
            return None
        signed = subscription.signed_part()
        is_signed = self._verify(subscription.subscriber, signed, subscription.signature)
        return contact if is_signed else None


def _chosen(carried: Carried, attempt: int, subscription: Subscription) -> list[bytes]:
    """The keys under which a packet goes to a subscriber; none if it is not wanted there."""
    wanted = subscription.wants_under(carried.keys, carried.scheme_id, carried.sketch)
    return chosen_keys(carried.id, attempt, subscription.subscriber, wanted)
