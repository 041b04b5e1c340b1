"""How a site is, asked on a Unix socket of its folder: whoever gets an answer has seen it live.

A process that hangs does not answer, a clock that was set changes nothing, and what a killed
process has left behind is a name to which nobody listens. The answer is one line of JSON without
any number of patients; nothing is read from whoever connects.
"""

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from qis import __version__
from qis.errors import StorageError
from qis.health import Health

_LONGEST_NAME: Final = 100
"""Bytes of a path that every system takes for a socket; the kernel's limit is 104 or 108."""
_LARGEST_ANSWER: Final = 1 << 20
_WAITING: Final = 16
"""How many may wait for their answer."""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Bind a socket that only this account may use; its name goes when the block is left.

    Raises
    ------
    StorageError
        If it cannot be made, or another process answers there.

    """
    with _near(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            _clear(path, name)
            listener.bind(name)
            path.chmod(0o600)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror or error}", field="health") from error
        listener.listen(_WAITING)
        listener.setblocking(False)  # noqa: FBT003  its one parameter
        try:
            yield listener
        finally:
            with suppress(OSError):
                path.unlink()


async def answering(listener: socket.socket, health: Callable[[], Health]) -> asyncio.Server:
    """Answer whoever connects with how it is at that moment."""

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(_line(health()))
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, sock=listener)


def ask(path: Path, *, within_s: float) -> dict[str, Any]:
    """What the site that has bound this socket says.

    Raises
    ------
    StorageError
        If nobody has answered within so many seconds.

    """
    answer = b""
    try:
        with _near(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(within_s)
            asking.connect(name)
            while len(answer) < _LARGEST_ANSWER and (some := asking.recv(65_536)):
                answer += some
        said = json.loads(answer)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or "no answer in time"
        raise StorageError(f"{path}: nobody says how the site is: {why}", field="health") from error
    if not isinstance(said, dict) or not {"state", "reasons"} <= said.keys():
        raise StorageError(f"{path}: another program answers", field="health")
    return said


def _line(health: Health) -> bytes:
    said = {
        "state": health.state.value,
        "since": health.since,
        "reasons": [{"code": each.code, "text": each.text} for each in health.reasons],
        "version": __version__,
    }
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


def _clear(path: Path, name: str) -> None:
    """Remove what a killed process has left."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(None, "there is a file of this name, which is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        try:
            other.connect(name)
        except OSError:
            path.unlink()
        else:
            raise OSError(None, "another process answers there: give each site a socket of its own")


@contextmanager
def _near(path: Path) -> Iterator[str]:
    """A name of a socket that the system takes, however long its folder's path is."""
    if len(os.fsencode(path)) <= _LONGEST_NAME:
        yield str(path)
        return
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", field="health") from error
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
