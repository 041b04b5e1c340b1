"""One publication of a packet: handed to one live holder of each of its keys.

A holder that is asked to hold several of the packet's keys is asked once for all of them. Holders
are remembered, so that a second publication under known keys needs no lookup. Holders name nodes
that have turned up closer to a key; those are handed the packet too. A bounded number of rounds is
under way at once, so that a burst is handed over as fast as holders acknowledge it and no faster.
A lookup that meets silent nodes takes long; what the others have found is handed over meanwhile.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Final

from qis.overlay.handing import Round
from qis.overlay.ids import rendezvous_id
from qis.overlay.lookup_driver import LookupDriver
from qis.overlay.lru_cache import LruCache
from qis.overlay.messages import Publish, Published, Refused
from qis.overlay.record import Contact
from qis.overlay.rpc import Rpc
from qis.overlay.timers import Timers
from qis.refusals import Refusals

ROUNDS_LIMIT: Final = 64
"""Rounds under way; the others wait."""
REPEATS_LIMIT: Final = 32
"""Rounds under way of packets that are held already: what is new never waits for them."""
REMEMBERED_KEYS_LIMIT: Final = 4_096
"""Keys whose holders are remembered; the oldest goes first."""
HOLDERS_KNOWN_S: Final = 1_200.0
"""How long remembered holders are used before they are looked up again."""
PATIENCE_S: Final = 1.5
"""How long keys whose holders are known wait for the lookups of the others, to be handed over with
them: who holds several is asked once. Without silent nodes all lookups have ended by then."""


class Rounds:
    """Hands one node's packets over, some at once."""

    def __init__(
        self,
        *,
        lookup_driver: LookupDriver,
        rpc: Rpc,
        timers: Timers,
        hold_here: Callable[[Publish, float], Published | Refused | None],
        refusals: Refusals,
        salt: bytes,
        holders: int,
        is_own_site: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self._is_own_site = is_own_site
        self.sent = 0
        self._lookup_driver = lookup_driver
        self._rpc = rpc
        self._timers = timers
        self._hold_here = hold_here
        self._refusals = refusals
        self._salt = salt
        self._holders = holders
        self._known: LruCache[bytes, tuple[float, list[Contact]]] = LruCache(REMEMBERED_KEYS_LIMIT)
        self._waiting: deque[Round] = deque()
        self._waiting_repeats: deque[Round] = deque()
        self._under_way = 0
        self._repeating = 0
        self._is_starting = False

    def __len__(self) -> int:
        """Rounds, under way or waiting, of packets that are not held yet."""
        return self._under_way - self._repeating + len(self._waiting)

    def begin(self, current: Round, now: float) -> None:
        """Find the holders of each key, then hand the packet to the first of each: in its turn."""
        (self._waiting_repeats if current.is_repeat else self._waiting).append(current)
        self._go_on_waiting(now)

    def gone(self, contact: Contact) -> None:
        """Look up again whatever a node was a holder of that has left."""
        for key, (_, holders) in list(self._known.items()):
            if any(holder.id == contact.id for holder in holders):
                del self._known[key]

    def _next(self) -> Round | None:
        if self._under_way < ROUNDS_LIMIT:
            if self._waiting:
                return self._waiting.popleft()
            if self._waiting_repeats and self._repeating < REPEATS_LIMIT:
                return self._waiting_repeats.popleft()
        return None

    def _go_on_waiting(self, now: float) -> None:
        if self._is_starting:  # by a round that ended at once: the loop below goes on
            return
        self._is_starting = True
        try:
            while (current := self._next()) is not None:
                self._under_way += 1
                self._repeating += current.is_repeat
                self._step(current, now, partial(self._start, current, now))
        finally:
            self._is_starting = False

    def _step(self, current: Round, now: float, step: Callable[[], None]) -> None:
        """Go a step further, unless the round is over; one that fails ends it.

        Others may start then, and its packet is tried again under the keys where it is not held.
        """
        if not current.is_over:
            with self._rpc.guard.item("overlay.round") as item:
                step()
            if item.failed:
                self._end(current, now)

    def _end(self, current: Round, now: float) -> None:
        if current.is_over:
            return
        current.is_over = True
        if current.patience is not None:
            current.patience.cancel()
        self._under_way -= 1
        self._repeating -= current.is_repeat
        with self._rpc.guard.item("overlay.round_end"):
            current.then(current, now)
        self._go_on_waiting(now)

    def _start(self, current: Round, now: float) -> None:
        for key_index in current.handings:
            self._find(current, key_index, current.carried.keys[key_index], now)
        if current.unfound:
            self._hand_found_soon(current, now)

    def _find(self, current: Round, key_index: int, key: bytes, now: float) -> None:
        def then(found: list[Contact], at: float) -> None:
            holders = found[: self._holders]
            if any(holder.id != self._lookup_driver.own.id for holder in holders):
                self._known.put(key, (at + HOLDERS_KNOWN_S, holders))
            self._step(current, at, partial(found_holders, holders, at))

        def found_holders(holders: list[Contact], at: float) -> None:
            current.handings[key_index].holders = list(holders)
            current.unfound.remove(key_index)
            current.found.append(key_index)
            if not current.unfound:
                self._hand_found(current, at)

        known_until, holders = self._known.get(key, (0.0, []))
        if known_until > now and holders:
            found_holders(holders, now)
        else:
            target = rendezvous_id(key, self._salt)
            self._lookup_driver.find(target, width=self._holders, now=now, then=then)

    def _hand_found_soon(self, current: Round, now: float) -> None:
        current.patience = self._timers.start(
            now + PATIENCE_S,
            lambda at: self._step(current, at, partial(self._hand_found, current, at)),
        )

    def _hand_found(self, current: Round, now: float) -> None:
        """Hand the packet over under the keys whose holders have been found, and again later."""
        if current.unfound:
            self._hand_found_soon(current, now)
        elif current.patience is not None:
            current.patience.cancel()
        self._go_on(current, current.take_found(), now)

    def _go_on(self, current: Round, key_indices: list[int], now: float) -> None:
        """Hand the packet to the next holder of each of these keys, as far as there is one."""
        groups: defaultdict[Contact, list[int]] = defaultdict(list)
        for key_index in key_indices:
            handing = current.handings[key_index]
            if handing.next < len(handing.holders):
                groups[handing.holders[handing.next]].append(key_index)
                handing.next += 1
        current.asked += len(groups)
        for contact, group in groups.items():
            self._ask(current, contact, group, now)
        if not current.asked and not groups and not current.unfound:
            self._end(current, now)

    def _ask(self, current: Round, contact: Contact, key_indices: list[int], now: float) -> None:
        carried = current.carried
        is_here = contact.id == self._lookup_driver.own.id
        covered = [i for i in key_indices if current.trusts and current.handings[i].is_covered]

        def build(request: bytes, token: bytes) -> Publish:
            return Publish(
                request=request,
                token=token,
                attempt=current.attempt,
                hops=0 if is_here else 1,
                key_bits=sum(1 << key_index for key_index in key_indices),
                keys=carried.keys,
                packet=carried.packet,
                quiet_bits=sum(1 << key_index for key_index in covered),
            )

        def on_answer(answer: Published, at: float) -> None:
            self._step(current, at, partial(answered, answer, at))

        def answered(answer: Published, at: float) -> None:
            current.asked -= 1
            self._go_on(current, self._heard(current, contact, key_indices, answer), at)

        def on_silence(at: float) -> None:
            self._step(current, at, partial(fell_silent, at))

        def fell_silent(at: float) -> None:
            current.asked -= 1
            for key_index in key_indices:
                self._known.pop(carried.keys[key_index], None)
            self._go_on(current, key_indices, at)

        if is_here:
            answer = self._hold_here(build(bytes(8), bytes(16)), now)
            if isinstance(answer, Published):
                on_answer(answer, now)
            else:
                on_silence(now)
            return
        self.sent += 1
        self._rpc.ask(
            build,
            contact.record,
            now,
            expects=Published,
            on_answer=on_answer,
            on_silence=on_silence,
            on_refusal=partial(self._refusals.heard, contact.record.key),
        )

    def _heard(
        self, current: Round, contact: Contact, key_indices: list[int], answer: Published
    ) -> list[int]:
        """Indices of the keys that have to go on to their next holder."""
        is_here = contact.id == self._lookup_driver.own.id
        self._refusals.accepted(contact.record.key)
        named = [
            found for found in map(self._lookup_driver.contact, answer.news) if found is not None
        ]
        going_on = []
        for key_index in key_indices:
            is_young = bool(answer.young_bits >> key_index & 1)
            has_news = self._take_news(current, key_index, named)
            handing = current.handings[key_index]
            # What only this site keeps is gone when it goes.
            if not is_here and not self._is_own_site(contact.record.key):
                handing.is_held = True
                current.acknowledged(key_index, contact)
            handing.is_covered |= not is_young
            if current.to_all or is_here or has_news or is_young:
                going_on.append(key_index)
        return going_on

    def _take_news(self, current: Round, key_index: int, named: list[Contact]) -> bool:
        """True if a holder has named a node that is closer to the key than one of the holders."""
        key = current.carried.keys[key_index]
        handing = current.handings[key_index]
        has_news = False
        for contact in named:
            if contact in handing.holders:
                continue
            target = rendezvous_id(key, self._salt)
            ranked = sorted([*handing.holders, contact], key=lambda node: node.id ^ target)
            if contact in ranked[: self._holders]:
                handing.holders.append(contact)
                self._known.pop(key, None)
                has_news = True
        return has_news
