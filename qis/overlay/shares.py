"""Who has how much of a bounded store, so that the one who has most gives way.

Each step takes the same time however many there are: the store is full when somebody floods it.
"""

from collections import OrderedDict


class Shares:
    """Items by owner, in the order in which they came."""

    def __init__(self) -> None:
        self._items: dict[bytes, OrderedDict[bytes, None]] = {}
        self._owners: dict[int, OrderedDict[bytes, None]] = {}
        """By number of items, who has so many."""
        self._most = 0

    def add(self, owner: bytes, item: bytes) -> None:
        """Count an item that was not there."""
        items = self._items.get(owner)
        if items is None:
            items = self._items[owner] = OrderedDict()
        items[item] = None
        count = len(items)
        self._move(owner, count - 1, count)
        self._most = max(self._most, count)

    def remove(self, owner: bytes, item: bytes) -> None:
        """Count it no longer."""
        items = self._items[owner]
        del items[item]
        self._move(owner, len(items) + 1, len(items))
        if not items:
            del self._items[owner]
        if self._most not in self._owners:
            self._most -= 1  # whoever had most has one less now

    def oldest_of_most(self) -> bytes:
        """The oldest item of the owner with most items; of several, who came to so many first."""
        owner = next(iter(self._owners[self._most]))
        return next(iter(self._items[owner]))

    def _move(self, owner: bytes, before: int, after: int) -> None:
        if before:
            owners = self._owners[before]
            del owners[owner]
            if not owners:
                del self._owners[before]
        if after:
            if after not in self._owners:
                self._owners[after] = OrderedDict()
            self._owners[after][owner] = None
