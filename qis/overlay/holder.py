"""The part of a rendezvous node: hold subscriptions, forward what is published, keep it."""

import random
from collections.abc import Callable, Iterable
from typing import Final

from qis.overlay.choice import chosen_keys
from qis.overlay.holdings import Holdings
from qis.overlay.links import Links
from qis.overlay.messages import Publish, Published, Subscribe, Subscribed
from qis.overlay.outflow import Outflow
from qis.overlay.record import Admission, Contact, Credentials
from qis.overlay.retained import Carried, Retained
from qis.overlay.subscription import Subscription

Inspect = Callable[[bytes, tuple[bytes, ...], float], Carried | None]
"""Verifies (packet, keys, now): the carried packet, or `None` if it is not to be passed on."""
HANDLED_LIMIT: Final = 16_384
"""(packet, key, salt) remembered as forwarded, so that a repeated request forwards nothing."""


class Holder:
    """Answers subscriptions and publications at one node."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        admission: Admission,
        links: Links,
        inspect: Inspect,
        deliver_here: Callable[[Carried, int, float], None],
        rng: random.Random,
    ) -> None:
        self.holdings = Holdings()
        self.retained = Retained()
        self.outflow = Outflow(links, credentials.key)
        self.news_for: Callable[[Iterable[bytes], float], tuple[bytes, ...]] = lambda _, __: ()
        self._own_key = credentials.key
        self._verify = credentials.verify
        self._admission = admission
        self._inspect = inspect
        self._deliver_here = deliver_here
        self._epoch = rng.randbytes(8)
        self._handled: dict[tuple[bytes, bytes, int], None] = {}

    def subscribe(self, message: Subscribe, now: float) -> Subscribed | None:
        """Hold a subscription; `None` refuses it."""
        subscription = message.subscription
        contact = self._subscriber_of(subscription)
        if contact is None or not self.holdings.put(subscription, message.places, now):
            return None
        keys = tuple(key for i, key in enumerate(subscription.keys) if message.places >> i & 1)
        if message.wants_replay and keys:
            seen = message.seen_count if message.seen_epoch == self._epoch else 0
            for carried in self.retained.after(seen, frozenset(keys), now):
                chosen = chosen_keys(
                    carried.id, 0, subscription.subscriber, carried.keys, subscription.keys
                )
                if carried.issuer != subscription.subscriber and not set(chosen).isdisjoint(keys):
                    self._forward(carried, contact, int(carried.issuer != self._own_key), now)
        return Subscribed(
            request=message.request,
            epoch=self._epoch,
            count=self.retained.count,
            news=self.news_for(keys, now),
        )

    def publish(self, message: Publish, now: float) -> Published | None:
        """Forward a packet to the subscribers that its key has been chosen for; `None` refuses."""
        key = message.keys[message.place]
        known = self.holdings.known(key, now)
        answer = Published(
            request=message.request,
            age_s=self.holdings.age_s(key, now),
            known=known,
            news=self.news_for((key,), now),
        )
        carried = self._inspect(message.packet, message.keys, now)
        if carried is None:
            return None
        self.retained.put(carried, key, now)
        handled = (carried.id, key, message.salt)
        if handled in self._handled or (known.count and known == message.known):
            return answer
        self._handled[handled] = None
        if len(self._handled) > HANDLED_LIMIT:
            del self._handled[next(iter(self._handled))]
        self._forward_under(key, carried, message, now)
        return answer

    def _forward_under(self, key: bytes, carried: Carried, message: Publish, now: float) -> None:
        for subscription in self.holdings.under(key, now):
            subscriber = subscription.subscriber
            if subscriber == carried.issuer:
                continue
            chosen = chosen_keys(
                carried.id, message.salt, subscriber, carried.keys, subscription.keys
            )
            contact = self._admission.contact(subscription.record)
            if key in chosen and contact is not None:
                self._forward(carried, contact, message.hops, now)

    def _forward(self, carried: Carried, contact: Contact, hops: int, now: float) -> None:
        if contact.record.key == self._own_key:
            self._deliver_here(carried, hops, now)
        else:
            self.outflow.deliver(carried, contact.record, hops, now)

    def _subscriber_of(self, subscription: Subscription) -> Contact | None:
        contact = self._admission.contact(subscription.record)
        if contact is None or contact.record.is_leaving:
            return None
        signed = subscription.signed_part()
        is_signed = self._verify(subscription.subscriber, signed, subscription.signature)
        return contact if is_signed else None
