"""Finding the live nodes closest to an id, and thereby learning of others."""

from collections.abc import Callable, Iterable
from typing import Final

from qis.overlay.lookup import Lookup
from qis.overlay.lru_cache import LruCache
from qis.overlay.messages import RECORDS_LIMIT, Find, Found
from qis.overlay.record import Contact, NodeAdmission, NodeRecord
from qis.overlay.rpc import Rpc
from qis.overlay.table import RoutingTable

TARGETS_LIMIT: Final = 1_024
"""Ids remembered with the nodes found closest to them; the one looked up longest ago goes first."""

Finished = Callable[[list[Contact], float], None]


class LookupDriver:
    """Runs lookups for one node; `own` is its contact, which results include.

    Who was found near an id is asked first when it is looked for again, as each refresh does:
    they know who has come since, as newcomers ask their neighbours. It takes some 4 requests then.
    """

    def __init__(
        self, own: Contact, table: RoutingTable, admission: NodeAdmission, rpc: Rpc
    ) -> None:
        self.own = own
        self._table = table
        self._admission = admission
        self._rpc = rpc
        self._running: dict[tuple[int, int], list[Finished]] = {}
        self._near: LruCache[int, tuple[Contact, ...]] = LruCache(TARGETS_LIMIT)
        self.finished: Callable[[Lookup], None] = lambda _: None

    def find(self, target: int, *, width: int, now: float, then: Finished) -> None:
        """Call `then` with the closest live nodes, this one included, closest first."""
        waiting = self._running.get((target, width))
        if waiting is not None:  # publisher and subscriber often look for the same
            waiting.append(then)
            return
        self._running[target, width] = [then]

        def finished(found: list[Contact], at: float) -> None:
            for each in self._running.pop((target, width), ()):
                with self._rpc.guard.item("overlay.found"):
                    each(list(found), at)

        start = [*self._table.closest(target, RECORDS_LIMIT), *self._near.get(target, ())]
        lookup = Lookup(target, start, width=width, own_id=self.own.id)
        self._go_on(lookup, finished, now)

    def call(self, stranger: Contact, *, now: float, then: Callable[[float], None]) -> None:
        """Ask a node whose record is not known for itself, and take it into the table."""

        def on_answer(found: Found, at: float) -> None:
            for contact in self._contacts(found):
                if contact.id == stranger.id:
                    self._table.add(contact)
            then(at)

        self._ask(stranger, stranger.id, now, on_answer, then)

    def contact(self, record: bytes) -> Contact | None:
        """The node that 122 bytes of record describe, or `None` if it is not to be used."""
        contact = self._admission.contact(record)
        if contact is not None and contact.id == self.own.id:
            self._look_at_namesake(contact.record)
        return None if contact is None or contact.record.is_leaving else contact

    def _look_at_namesake(self, record: NodeRecord) -> None:
        """Tell if a newer record of our own key gives another address: others call that one now."""
        own = self.own.record
        if record.sequence > own.sequence and record.address != own.address:
            self._rpc.guard.foreign_use(
                "another node has this node's key",
                "others were told, with a valid signature of this node's key, of another address "
                "and since this node was opened: a second machine has the key, and of two nodes "
                "with one key others reach only the one that was opened last",
            )

    def closest(self, target: int) -> list[Contact]:
        """The closest nodes that this one knows without asking, itself included."""
        known = self._table.closest(target, RECORDS_LIMIT)
        if len(known) < RECORDS_LIMIT or known[-1].id ^ target > self.own.id ^ target:
            known.append(self.own)
            known.sort(key=lambda contact: contact.id ^ target)
        return known[:RECORDS_LIMIT]

    def remember(self, target: int, found: Iterable[Contact]) -> None:
        """Begin here, beside the own table, when this id is looked for again."""
        self._near.put(target, tuple(found)[:RECORDS_LIMIT])

    def gone(self, contact: Contact) -> None:
        """Begin no lookup at a node that has left."""
        for target, near in list(self._near.items()):
            if any(each.id == contact.id for each in near):
                self._near[target] = tuple(each for each in near if each.id != contact.id)

    def _go_on(self, lookup: Lookup, then: Finished, now: float) -> None:
        with self._rpc.guard.item("overlay.lookup") as item:
            for contact in lookup.to_ask():
                self._ask_for(lookup, contact, then, now)
            if lookup.is_done:
                if lookup.is_cut_short:
                    self._rpc.guard.at_limit(
                        "overlay.lookup.REQUESTS_LIMIT",
                        "",
                        "a lookup ended early: closer nodes may exist than those it has found",
                    )
                self.finished(lookup)
                self.remember(lookup.target, lookup.result())
        # A lookup that cannot go on ends with what it has found: others wait for it.
        if lookup.is_done or item.failed:
            found = [*lookup.result(), self.own]
            then(sorted(found, key=lambda c: c.id ^ lookup.target), now)

    def _ask_for(self, lookup: Lookup, contact: Contact, then: Finished, now: float) -> None:
        def on_answer(found: Found, at: float) -> None:
            self._table.add(contact)
            if not lookup.is_done:  # what comes later is learnt from, but ends nothing twice
                lookup.answered(contact.id, self._contacts(found))
                self._go_on(lookup, then, at)

        was_asked = not self._rpc.is_full

        def on_silence(at: float) -> None:
            if was_asked:
                self._table.silence(contact.id)
            if not lookup.is_done:  # what comes later is learnt from, but ends nothing twice
                lookup.failed(contact.id)
                self._go_on(lookup, then, at)

        self._ask(contact, lookup.target, now, on_answer, on_silence)

    def _ask(
        self,
        contact: Contact,
        target: int,
        now: float,
        on_answer: Callable[[Found, float], None],
        on_silence: Callable[[float], None],
    ) -> None:
        own = self.own.record.encode()
        self._rpc.ask(
            lambda request, token: Find(request=request, token=token, record=own, target=target),
            contact.record,
            now,
            expects=Found,
            on_answer=on_answer,
            on_silence=on_silence,
        )

    def _contacts(self, found: Found) -> list[Contact]:
        contacts = map(self.contact, found.records)
        return [contact for contact in contacts if contact is not None]
