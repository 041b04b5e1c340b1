"""The newest result of each study, for those who ask and for those who follow."""

import asyncio
from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeVar

Result = TypeVar("Result")
Item = TypeVar("Item")

MAX_STUDIES: Final = 1_000
"""Most studies whose result is kept; the one that changed longest ago is dropped first."""


class Followed(Protocol[Item]):
    """What is followed: numbered items, and a way to wait for the next."""

    def since(self, number: int) -> list[tuple[int, Item]]:
        """Return (number, item) of those after a number, in order."""
        ...

    async def changed(self) -> None:
        """Wait for the next item, or for the end of the loop."""


class Newest(Generic[Result]):
    """Keeps the newest result of each study, numbered in the order in which they came."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[int, Result]] = OrderedDict()
        self._number = 0
        self._changed = asyncio.Event()

    def put(self, study_id: bytes, result: Result) -> None:
        """Keep a result instead of the study's former one, and wake all who wait."""
        self._number += 1
        self._kept[study_id] = self._number, result
        self._kept.move_to_end(study_id)
        if len(self._kept) > MAX_STUDIES:
            self._kept.popitem(last=False)
        self.wake()

    def of(self, study_id: bytes) -> Result | None:
        """Return the newest result of a study, if there is one."""
        found = self._kept.get(study_id)
        return None if found is None else found[1]

    def since(self, number: int) -> list[tuple[int, Result]]:
        """Return (number, result) of each study that changed after a number, in order."""
        return [found for found in self._kept.values() if found[0] > number]

    async def changed(self) -> None:
        """Wait for the next result, or for the end of the loop."""
        await self._changed.wait()

    def wake(self) -> None:
        """Wake all tasks that wait in `changed`."""
        self._changed.set()
        self._changed = asyncio.Event()
