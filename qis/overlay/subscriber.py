"""The part of a subscriber: keep its keys registered at the closest live nodes of each.

All keys are looked up, then each holder gets one message for all keys that it is closest to. Who
does not answer is replaced by the next closest. A changed interest is a new sequence: the new
holders are told first, and the old ones then let go of what it no longer names. Holders say when a
node has turned up that is closer to a key; then that one is told too.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from qis.overlay.ids import rendezvous_id
from qis.overlay.lookup_driver import LookupDriver
from qis.overlay.messages import Subscribe, Subscribed
from qis.overlay.record import Contact, Credentials
from qis.overlay.rpc import Rpc
from qis.overlay.subscription import Subscription, Wanted
from qis.overlay.subscription_table import LIFETIME_S
from qis.overlay.timers import Timer, Timers
from qis.refusals import Refusals

HOLDERS: Final = 3
"""Holders of each key; 4 where interests share only one key as a rule."""
REPLAYERS: Final = 2
"""How many of a key's holders are asked for what they keep."""
REFRESH_S: Final = 600.0
"""Time between refreshes, ± 20 %."""


@dataclass(slots=True)
class _Round:
    """One registration of all keys: who may hold each, closest first."""

    subscription: Subscription
    waiting: int
    holders: dict[bytes, list[Contact]]
    told: dict[int, Contact]


class Subscriber:
    """Registers one node's keys, and refreshes them while there are any."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        lookup_driver: LookupDriver,
        rpc: Rpc,
        timers: Timers,
        rng: random.Random,
        hold_here: Callable[[Subscribe, float], object],
        refusals: Refusals,
        unix_s: Callable[[float], float],
        salt: bytes,
        holders: int = HOLDERS,
        slot: int = 0,
    ) -> None:
        self.wanted: Wanted = {}
        self._slot = slot
        self._credentials = credentials
        self._lookup_driver = lookup_driver
        self._rpc = rpc
        self._timers = timers
        self._rng = rng
        self._hold_here = hold_here
        self._refusals = refusals
        self._unix_s = unix_s
        self._salt = salt
        self._holders = holders
        self._sequence = 0
        self._current: _Round | None = None
        self._told: dict[int, Contact] = {}
        self._seen: dict[int, tuple[bytes, int, tuple[bytes, ...]]] = {}
        self._refresh: Timer | None = None

    def want(self, wanted: Wanted, now: float) -> None:
        """Register these keys from now on, instead of any before."""
        if any(self.wanted.get(key, nears) != nears for key, nears in wanted.items()):
            self._seen.clear()  # what was not wanted under these keys may be now
        self.wanted = wanted
        self._register(now)

    def hears_from(self, address: bytes) -> bool:
        """True if a holder of this subscription is at this address."""
        return any(contact.record.address == address for contact in self._told.values())

    def closer(self, contact: Contact, keys: Iterable[bytes], now: float) -> None:
        """Register these keys at a node too if it is closer to them than a present holder."""
        current = self._current
        if current is None:
            return
        key_bits = 0
        for key in set(keys).intersection(current.holders):
            holders = current.holders[key]
            if contact in holders:
                continue
            others = [holder for holder in holders if holder.id != contact.id]
            target = rendezvous_id(key, self._salt)
            ranked = sorted([*others, contact], key=lambda node: node.id ^ target)
            if contact in ranked[: self._holders]:
                current.holders[key] = ranked
                key_bits |= 1 << current.subscription.keys.index(key)
        if key_bits:
            self._tell(current, contact, key_bits, now)
            self._told[contact.id] = contact

    def assume(
        self, wanted: Wanted, found: Callable[[bytes], Iterable[Contact]], now: float
    ) -> Subscription:
        """Go on as if these keys had been registered at that time, and tell nobody.

        Parameters
        ----------
        wanted
            What is wanted; nothing has been before.
        found
            The nodes closest to a key, closest first, whoever knows them.
        now
            When it would have been.

        Returns
        -------
        Subscription
            What each of the `holders` closest would hold.

        """
        self.wanted = wanted
        current = self._begin(now)
        for key in current.subscription.keys:
            current.holders[key] = list(found(key))
            current.told.update((node.id, node) for node in current.holders[key][: self._holders])
        self._told = current.told
        return current.subscription

    def _register(self, now: float) -> None:
        current = self._begin(now)
        if not self.wanted:
            self._withdraw(current, now)
        for key in current.subscription.keys:
            self._find(current, key, now)

    def _begin(self, now: float) -> _Round:
        """A new subscription, and the time of its refresh."""
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None
        # Of the wall clock, so that those of the next process are higher.
        self._sequence = max(self._sequence + 1, int(self._unix_s(now) * 1_000_000))
        subscription = Subscription.signed(
            self._credentials,
            record=self._lookup_driver.own.record.encode(),
            sequence=self._sequence,
            lifetime_s=LIFETIME_S if self.wanted else 0,
            wanted=self.wanted,
            slot=self._slot,
        )
        if self.wanted:
            pause_s = REFRESH_S * self._rng.uniform(0.8, 1.2)
            self._refresh = self._timers.start(now + pause_s, self._register)
        self._current = _Round(subscription, len(self.wanted), {}, {})
        return self._current

    def _find(self, current: _Round, key: bytes, now: float) -> None:
        def then(found: list[Contact], at: float) -> None:
            current.holders[key] = found
            current.waiting -= 1
            # Another sequence: interests have changed since, and a newer round is under way.
            if not current.waiting and current.subscription.sequence == self._sequence:
                self._tell_all(current, at)

        target = rendezvous_id(key, self._salt)
        self._lookup_driver.find(target, width=self._holders, now=now, then=then)

    def _tell_all(self, current: _Round, now: float) -> None:
        key_bits: defaultdict[int, int] = defaultdict(int)
        replay: set[int] = set()
        contacts: dict[int, Contact] = {}
        for key_index, key in enumerate(current.subscription.keys):
            for rank, contact in enumerate(current.holders[key][: self._holders]):
                contacts[contact.id] = contact
                key_bits[contact.id] |= 1 << key_index
                if rank < REPLAYERS:
                    replay.add(contact.id)
        for node, contact in contacts.items():
            self._tell(current, contact, key_bits[node], now, wants_replay=node in replay)
        # After the new holders have been told, so that no packet falls between old and new ones.
        self._withdraw(current, now)

    def _withdraw(self, current: _Round, now: float) -> None:
        """Tell the holders of before that are none now."""
        for node in set(self._told).difference(current.told):
            self._tell(current, self._told[node], 0, now)
        self._told = {
            node: contact
            for node, contact in current.told.items()
            if current.subscription.lifetime_s
        }
        self._seen = {node: seen for node, seen in self._seen.items() if node in self._told}

    def _tell(
        self,
        current: _Round,
        contact: Contact,
        key_bits: int,
        now: float,
        *,
        wants_replay: bool = True,
    ) -> None:
        if key_bits:
            current.told[contact.id] = contact
        keys = tuple(key for i, key in enumerate(current.subscription.keys) if key_bits >> i & 1)
        epoch, count, seen_keys = self._seen.get(contact.id, (bytes(8), 0, ()))
        if not set(keys).issubset(seen_keys):  # what is old under the others may be new under these
            count = 0

        def message(request: bytes, token: bytes) -> Subscribe:
            return Subscribe(
                request=request,
                token=token,
                key_bits=key_bits,
                wants_replay=wants_replay and bool(key_bits),
                seen_epoch=epoch,
                seen_count=count,
                subscription=current.subscription,
            )

        def on_answer(answer: Subscribed, at: float) -> None:
            if key_bits and wants_replay:
                self._seen[contact.id] = (answer.epoch, answer.count, keys)
                self._take_news(answer, keys, at)

        def on_silence(at: float) -> None:
            self._seen.pop(contact.id, None)
            if key_bits:
                self._replace(current, contact, key_bits, at)

        if contact.id == self._lookup_driver.own.id:
            self._hold_here(message(bytes(8), bytes(16)), now)
            return
        self._rpc.ask(
            message,
            contact.record,
            now,
            expects=Subscribed,
            on_answer=on_answer,
            on_silence=on_silence,
            on_refusal=partial(self._refusals.heard, contact.record.key),
        )

    def _take_news(self, answer: Subscribed, keys: tuple[bytes, ...], now: float) -> None:
        for found in map(self._lookup_driver.contact, answer.news):
            if found is not None:
                self.closer(found, keys, now)

    def _replace(self, current: _Round, dead: Contact, key_bits: int, now: float) -> None:
        """Give the keys of a holder that did not answer to the next closest."""
        current.told.pop(dead.id, None)
        self._told.pop(dead.id, None)
        for key_index, key in enumerate(current.subscription.keys):
            holders = current.holders.get(key, [])
            if key_bits >> key_index & 1 and dead in holders:
                holders.remove(dead)
                if len(holders) >= self._holders:
                    heir = holders[self._holders - 1]
                    self._tell(current, heir, 1 << key_index, now)
                    self._told[heir.id] = heir
