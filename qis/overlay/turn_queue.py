"""A queue in which those who have put something in take turns, each in its own order."""

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class TurnQueue(Generic[Item]):
    """Items of several owners, taken from each in turn."""

    __slots__ = ("_of_owner", "_size")

    def __init__(self) -> None:
        self._of_owner: dict[Hashable, deque[Item]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Item]:
        for items in self._of_owner.values():
            yield from items

    def put(self, owner: Hashable, item: Item) -> None:
        """Add an item after all that its owner has put in."""
        self._of_owner.setdefault(owner, deque()).append(item)
        self._size += 1

    def take(self) -> Item:
        """Take the oldest item of the owner whose turn it is; it is last in the next round."""
        owner = next(iter(self._of_owner))
        items = self._of_owner.pop(owner)
        item = items.popleft()
        if items:
            self._of_owner[owner] = items
        self._size -= 1
        return item
