"""Whether a shared folder is still the folder that it was.

Where a share is no longer mounted, its mount point is an empty folder that can be read and
written. Read as the share, it says that every site has taken back all it had; what is written
into it reaches nobody, and is hidden as soon as the share is back.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

LEAST_FILES: Final = 2
"""Of the same folder: one file alone is taken back by its site every day."""


class FolderState(Enum):
    """What a look at the folder makes of it."""

    SAME = "the folder that was opened, or one that has its files"
    EMPTIED = "on the same device, and all packets have gone at once"
    REPLACED = "on another device, and without any packet that was there"


class Mark(NamedTuple):
    """What the system calls a folder by: its device and its number there."""

    device: int
    number: int


class FolderWatch:
    """Compares each look at the folder with the one before.

    Parameters
    ----------
    mark
        Of the folder when it was opened.

    """

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self._names: set[str] = set()
        self.state = FolderState.SAME

    def is_suspect(self, mark: Mark) -> bool:
        """Whether the folder has to be listed before anything is written into it."""
        return mark.device != self._mark.device or self.state is FolderState.REPLACED

    def look(self, mark: Mark, names: set[str]) -> FolderState:
        """What the folder is, now that it has this mark and packets of these names.

        A share that is mounted anew may have another device number: its packets tell. One that is
        mounted only after it was opened, while nothing was there, is taken as it is.
        """
        if names & self._names:
            self.state = FolderState.SAME
        elif mark.device != self._mark.device:
            self.state = FolderState.SAME if names and not self._names else FolderState.REPLACED
        else:
            least = LEAST_FILES if mark == self._mark else 1
            is_lost = not names and len(self._names) >= least
            self.state = FolderState.EMPTIED if is_lost else FolderState.SAME
        if self.state is FolderState.SAME:
            self._mark, self._names = mark, set(names)
        return self.state

    def forget(self, names: Iterable[str]) -> None:
        """These files were deleted by this site itself."""
        self._names.difference_update(names)
