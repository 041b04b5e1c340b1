"""All keys that one node wants, in as many subscriptions as they take.

A subscription fits one datagram, so it holds 48 keys. A key stays in the subscription that it is
in, so that a changed interest touches no more of them than it must.
"""

from collections.abc import Callable, Iterable

from qis.about import MAX_ROUTING_KEYS
from qis.errors import InputError
from qis.overlay.record import Contact
from qis.overlay.subscriber import Subscriber
from qis.overlay.subscription import SLOTS_LIMIT, Subscription, Wanted

WANTED_LIMIT = SLOTS_LIMIT * MAX_ROUTING_KEYS
"""Keys that one node may want at once."""


def require_few(wanted: Wanted) -> None:
    """Raise `InputError` if there are more keys than one node may want."""
    if len(wanted) > WANTED_LIMIT:
        raise InputError(
            f"{len(wanted)} routing keys and studies are wanted; one node may want "
            f"{WANTED_LIMIT}: use fewer interests at once",
            field="interest",
            actual=len(wanted),
            limit=WANTED_LIMIT,
        )


class Interests:
    """The subscriptions of one node.

    Parameters
    ----------
    subscriber
        Makes the subscriber of a slot, in [0, 8).

    """

    def __init__(self, subscriber: Callable[[int], Subscriber]) -> None:
        self._subscriber = subscriber
        self._slots: list[Subscriber] = []
        self.wanted: Wanted = {}
        """All that is wanted."""

    def want(self, wanted: Wanted, now: float) -> None:
        """Register these keys from now on, instead of any before.

        Raises
        ------
        InputError
            If there are more than `WANTED_LIMIT`.

        """
        require_few(wanted)
        new = sorted(wanted.keys() - self.wanted.keys())
        self.wanted = wanted
        for slot in self._slots:
            kept = sorted(wanted.keys() & slot.wanted.keys())
            room = MAX_ROUTING_KEYS - len(kept)
            registered = {key: wanted[key] for key in (*kept, *new[:room])}
            new = new[room:]
            if registered != slot.wanted:
                slot.want(registered, now)
        while new:
            slot = self._subscriber(len(self._slots))
            self._slots.append(slot)
            slot.want({key: wanted[key] for key in new[:MAX_ROUTING_KEYS]}, now)
            new = new[MAX_ROUTING_KEYS:]

    def assume(
        self, wanted: Wanted, found: Callable[[bytes], Iterable[Contact]], now: float
    ) -> list[Subscription]:
        """Go on as if these keys had been registered; see `Subscriber.assume`."""
        self.wanted = wanted
        keys = sorted(wanted)
        starts = range(0, len(keys), MAX_ROUTING_KEYS)
        self._slots = [self._subscriber(slot) for slot in range(len(starts))]
        return [
            slot.assume(
                {key: wanted[key] for key in keys[start : start + MAX_ROUTING_KEYS]}, found, now
            )
            for slot, start in zip(self._slots, starts, strict=True)
        ]

    def hears_from(self, address: bytes) -> bool:
        """True if a holder of one of the subscriptions is at this address."""
        return any(slot.hears_from(address) for slot in self._slots)

    def closer(self, contact: Contact, keys: Iterable[bytes], now: float) -> None:
        """Register keys at a node too that is closer to them than a present holder."""
        wanted = frozenset(keys)
        for slot in self._slots:
            slot.closer(contact, wanted, now)
