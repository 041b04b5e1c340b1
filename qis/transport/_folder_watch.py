"""Recognises whether a shared folder is still the folder that was opened.

Where a share is no longer mounted, its mount point is an empty folder that can be read and
written. Read as the share, it says that every site has taken back all it had; what is written
into it reaches nobody, and is hidden as soon as the share is back.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

LEAST_FILES: Final = 2
"""Files that must disappear at once from an unchanged folder to be suspicious: sites delete single
files of their own every day."""


class FolderState(Enum):
    """What the folder was found to be."""

    SAME = "the folder that was opened, or one that has its files"
    EMPTIED = "on the same device, and all packets have gone at once"
    REPLACED = "on another device, and without any packet that was there"


class FolderMark(NamedTuple):
    """How the system identifies a folder: its device and its inode number there."""

    device: int
    number: int


class FolderWatch:
    """Compares each look at the folder with the one before.

    Parameters
    ----------
    mark
        Device and inode number of the folder when it was opened.

    """

    def __init__(self, mark: FolderMark) -> None:
        self._mark = mark
        self._names: set[str] = set()
        self.state = FolderState.SAME

    def is_suspect(self, mark: FolderMark) -> bool:
        """True if the folder has to be listed before anything is written into it."""
        return mark.device != self._mark.device or self.state is FolderState.REPLACED

    def look(self, mark: FolderMark, names: set[str]) -> FolderState:
        """Compare with the last look: the folder has this mark and packets of these names now.

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
        """Expect these files no longer: this site has deleted them itself."""
        self._names.difference_update(names)
