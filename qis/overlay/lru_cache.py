"""A memory of bounded size in which the oldest entry gives way to the newest.

An `OrderedDict`, since taking the first entry of a `dict` passes over all that were deleted before
it: measured, 8 µs in one of 16,384 entries that is full.
"""

from collections import OrderedDict
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class LruCache(OrderedDict[_Key, _Value]):
    """The entries that were put last.

    Parameters
    ----------
    limit
        How many.

    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def put(self, key: _Key, value: _Value) -> None:
        """Make this the newest entry, and let the oldest go if there are too many."""
        self[key] = value
        self.move_to_end(key)
        if len(self) > self.limit:
            self.popitem(last=False)
