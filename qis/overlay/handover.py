"""What a holder does when a node turns up that is closer to its keys: it passes on what it has.

Otherwise a packet that was handed to the holders of yesterday, and a subscription that is
registered at those of today, would miss each other until both are refreshed; in a network that has
just begun to grow, where every node is new, that is all of them. The packets go to the new node as
if they were published there. A subscription is not passed on, since it has to come from the
subscriber's own address: the subscriber is told whom to ask. Whoever asks in the meantime is told
with the answer.
"""

import random
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from qis.overlay.debouncer import Debouncer
from qis.overlay.ids import ID_BITS, rendezvous_id
from qis.overlay.lookup_driver import LookupDriver
from qis.overlay.lru_cache import LruCache
from qis.overlay.message_store import Carried, MessageStore
from qis.overlay.messages import NEWS_LIMIT, Closer, Delivered, Publish, Published
from qis.overlay.record import Contact
from qis.overlay.rpc import Rpc
from qis.overlay.send_window import SendWindow
from qis.overlay.subscription import Subscription
from qis.overlay.subscription_table import SubscriptionTable
from qis.overlay.timers import Timers

HANDED_LIMIT: Final = 4_096
"""How often a packet is handed on, as heirs name others, in nodes times keys."""
NEWS_S: Final = 600.0
"""How long a node is new."""
NEW_NODES_LIMIT: Final = 1_024
"""Nodes that are new; the one met first goes first, and newcomers find it by themselves."""
REACH_LIMIT: Final = 16_384
"""Keys of which it is remembered how far their holders are; the oldest is looked up again."""
GIVERS: Final = 1
"""How many of the former holders pass a key's packets on."""


class Handover:
    """Passes on packets and subscribers to new neighbours.

    Parameters
    ----------
    lookup_driver, rpc, send_window, timers, rng
        The parts of this node that find nodes, send requests and packets, and wait.
    subscription_table, message_store
        The subscriptions and packets that this node holds.
    salt
        Shared by the members of a roster, see `node_id`.
    holders
        Holders of each key.
    tell_here
        Tells this node's own subscriptions of a closer node.

    """

    def __init__(
        self,
        *,
        lookup_driver: LookupDriver,
        rpc: Rpc,
        send_window: SendWindow,
        timers: Timers,
        rng: random.Random,
        subscription_table: SubscriptionTable,
        message_store: MessageStore,
        salt: bytes,
        holders: int,
        tell_here: Callable[[Contact, Iterable[bytes], float], object],
    ) -> None:
        self._lookup_driver = lookup_driver
        self._rpc = rpc
        self._send_window = send_window
        self._subscription_table = subscription_table
        self._message_store = message_store
        self._salt = salt
        self._holders = holders
        self._tell_here = tell_here
        self._debouncer = Debouncer(timers, rng, self._pass_on)
        self._new: LruCache[int, Contact] = LruCache(NEW_NODES_LIMIT)
        self._news: LruCache[int, tuple[Contact, float]] = LruCache(NEW_NODES_LIMIT)
        self._reach: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self._news_of: dict[bytes, list[tuple[Contact, float]]] = {}

    @property
    def is_idle(self) -> bool:
        """True if no node waits for what is held here."""
        return not self._debouncer.is_due

    def met(self, contacts: Iterable[Contact], now: float) -> None:
        """Note nodes that are new in the routing table."""
        for contact in contacts:
            self._new.put(contact.id, contact)
            self._news.put(contact.id, (contact, now))
            touched = [k for k, (at, reach) in self._reach.items() if contact.id ^ at < reach]
            for key in touched:
                del self._reach[key]
                self._news_of.pop(key, None)
        self._debouncer.ask(now)

    def forget(self, now: float) -> None:
        """Drop expired entries, and distances that were measured to nodes which have since died."""
        for node in [node for node, (_, at) in self._news.items() if at <= now - NEWS_S]:
            del self._news[node]
        self._reach.clear()
        self._news_of.clear()

    def gone(self, contact: Contact) -> None:
        """Forget a node that has left, so that it is no longer named to others."""
        self._new.pop(contact.id, None)
        self._news.pop(contact.id, None)
        self._reach.clear()
        self._news_of.clear()

    def news(self, keys: Iterable[bytes], now: float) -> tuple[bytes, ...]:
        """Records of new nodes that whoever asks for these keys may not know of."""
        found: dict[int, bytes] = {}
        for key in keys if self._news else ():
            news = self._news_of.get(key)
            if news is None:
                news = self._news_of[key] = self._look_up_news(key)
            for contact, at in news:
                if at > now - NEWS_S:
                    found[contact.id] = contact.record.encode()
        return tuple(found.values())[:NEWS_LIMIT]

    def _look_up_news(self, key: bytes) -> list[tuple[Contact, float]]:
        target, reach = self._reach_of(key)
        return [news for node, news in self._news.items() if node ^ target <= reach]

    def _reach_of(self, key: bytes) -> tuple[int, int]:
        """A key's rendezvous id, and the XOR distance to the farthest of its known holders."""
        known = self._reach.get(key)
        if known is None:
            target = rendezvous_id(key, self._salt)
            closest = self._lookup_driver.closest(target)[: self._holders]
            is_full = len(closest) == self._holders
            known = (target, closest[-1].id ^ target if is_full else 1 << ID_BITS)
            self._reach[key] = known
            if len(self._reach) > REACH_LIMIT:
                oldest, _ = self._reach.popitem(last=False)
                self._news_of.pop(oldest, None)
        return known

    def _pass_on(self, now: float) -> None:
        new = dict(self._new)
        self._new.clear()
        told: defaultdict[tuple[bytes, int], list[bytes]] = defaultdict(list)
        subscriptions: dict[bytes, Subscription] = {}
        duties: defaultdict[tuple[bytes, int], list[bytes]] = defaultdict(list)
        packets: dict[bytes, Carried] = {}
        for key in sorted(self._subscription_table.keys() | self._message_store.keys()):
            heirs = self._heirs(key, new)
            for subscription in self._subscription_table.under(key, now) if heirs else ():
                subscriptions[subscription.slot_id] = subscription
                for heir in heirs:
                    told[subscription.slot_id, heir.id].append(key)
            for carried in self._message_store.under(key, now) if heirs else ():
                for heir in heirs:
                    duties[carried.id, heir.id].append(key)
                    packets[carried.id] = carried
        # One set for all that a packet's heirs name, or those that name each other get it often.
        handed: defaultdict[bytes, set[tuple[int, bytes]]] = defaultdict(set)
        for (packet, node), keys in duties.items():
            handed[packet].update((node, key) for key in keys)
        for (packet, node), keys in duties.items():
            self._hand(packets[packet], new[node], keys, handed[packet], now)
        for (slot_id, node), keys in told.items():
            self._tell(subscriptions[slot_id], new[node], tuple(keys), now)

    def _heirs(self, key: bytes, new: dict[int, Contact]) -> list[Contact]:
        """The new nodes among a key's holders, if this is one of those that pass it on."""
        target, reach = self._reach_of(key)
        heirs = [contact for node, contact in new.items() if node ^ target <= reach]
        if not heirs:
            return []
        own = self._lookup_driver.own.id ^ target
        before = sum(
            contact.id not in new and contact.id ^ target < own
            for contact in self._lookup_driver.closest(target)
        )
        return heirs if before < GIVERS else []

    def _hand(
        self,
        carried: Carried,
        heir: Contact,
        keys: list[bytes],
        handed: set[tuple[int, bytes]],
        now: float,
    ) -> None:
        """Hand a packet on, and on to whom the heir names: it may have met them before."""

        def build(request: bytes, token: bytes) -> Publish:
            return Publish(
                request=request,
                token=token,
                attempt=0,
                hops=1 + (carried.issuer != self._lookup_driver.own.record.key),
                key_bits=sum(1 << carried.keys.index(key) for key in keys),
                keys=carried.keys,
                packet=carried.packet,
            )

        def on_answer(answer: Published, at: float) -> None:
            for contact, its_keys in self._named(answer.news, keys, handed).items():
                if len(handed) >= HANDED_LIMIT:
                    self._rpc.guard.at_limit(
                        "overlay.handover.HANDED_LIMIT",
                        carried.issuer.hex(),
                        "a packet was not handed to a new holder: it gets it when it is "
                        "published again, within an hour",
                    )
                    continue
                handed.update((contact.id, key) for key in its_keys)
                self._hand(carried, contact, its_keys, handed, at)

        self._send_window.send(
            carried, heir.record, build, now, expects=Published, on_answer=on_answer
        )

    def _named(
        self, news: Iterable[bytes], keys: list[bytes], handed: set[tuple[int, bytes]]
    ) -> dict[Contact, list[bytes]]:
        """Those in the news who are holders of some of the keys, and have not been handed to."""
        found: dict[Contact, list[bytes]] = {}
        for contact in map(self._lookup_driver.contact, news):
            if contact is None or contact.id == self._lookup_driver.own.id:
                continue
            for key in keys:
                target, reach = self._reach_of(key)
                if contact.id ^ target <= reach and (contact.id, key) not in handed:
                    found.setdefault(contact, []).append(key)
        return found

    def _tell(
        self, subscription: Subscription, heir: Contact, keys: tuple[bytes, ...], now: float
    ) -> None:
        subscriber = self._lookup_driver.contact(subscription.record)
        if subscriber is None or subscriber.id == heir.id:
            return
        if subscriber.id == self._lookup_driver.own.id:
            self._tell_here(heir, keys, now)
            return
        record = heir.record.encode()
        self._rpc.ask(
            lambda request, _: Closer(request=request, record=record, keys=keys),
            subscriber.record,
            now,
            expects=Delivered,
            on_answer=lambda _, at: None,  # noqa: ARG005  nothing is left to do
            on_silence=lambda at: None,  # noqa: ARG005  the next refresh finds the new node
        )
