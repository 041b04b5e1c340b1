"""Deletes a site's own expired packets and abandoned temporary files from a shared folder."""

import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from qis._guard import Guard
from qis._layout import PACKET_SIZE
from qis.errors import PeerError
from qis.identity import Issuer
from qis.packet import Packet, issuer_key
from qis.transport._shared_file import ForeignFileError, read_regular

ABANDONED_S: Final = 3_600.0
"""A temporary file that is older was left by a process that has stopped."""


class Tidied(NamedTuple):
    """Counts of this site's own packets that have expired by this machine's clock."""

    removed: int = 0
    kept: int = 0
    """The file server's clock does not call these expired: one of the two clocks is wrong."""


def tidy(folder: Path, own: Issuer, guard: Guard, *, now: float, largest: int) -> Tidied:
    """Delete own expired packets, and temporary files that a stopped process left.

    A machine whose clock is far ahead would delete what the others still need, so a packet goes
    only if it has expired by the file server's time too.
    """
    folder_time = cache(lambda: _folder_time(folder))
    removed = kept = 0
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        # Somebody else with this key may be at work: what is gone meanwhile is theirs. What may
        # not be read is not ours.
        item = guard.item("directory.tidying")
        with item, suppress(FileNotFoundError, PermissionError, ForeignFileError):
            if entry.name.startswith(f".{own}.") and entry.name.endswith(".tmp"):
                if entry.stat(follow_symlinks=False).st_mtime < folder_time() - ABANDONED_S:
                    Path(entry.path).unlink()
            elif entry.name.endswith(".qis") and _is_own_and_expired(entry, own, now, largest):
                if _is_own_and_expired(entry, own, folder_time(), largest):
                    Path(entry.path).unlink()
                    removed += 1
                else:
                    kept += 1
    return Tidied(removed, kept)


def _folder_time(folder: Path) -> float:
    """Return the modification time of a new file: the file server's clock, in Unix seconds."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".qis.", suffix=".tmp") as probe:
        return os.fstat(probe.fileno()).st_mtime


def _is_own_and_expired(entry: "os.DirEntry[str]", own: Issuer, now: float, largest: int) -> bool:
    data = read_regular(entry.path, largest)[:PACKET_SIZE]
    if len(data) != PACKET_SIZE or issuer_key(data) != own.key:
        return False
    try:
        return Packet.parse(data).expires_at <= now
    except PeerError:  # not signed by us, whatever key it names
        return False
