"""A folder of a bucket or of a server, by fsspec: each call runs in a thread, and may fail.

A connection that has failed is made anew by the next call; fsspec would keep the broken one.
"""

import asyncio
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from qis.errors import InputError, MissingExtraError, TransportError

_RENAMED: Final = frozenset({"sftp", "ssh", "file", "local"})
"""Where an object shows while it is still being written: there it is renamed when it is whole."""
LIST_TRIES: Final = 8
"""How often a folder is listed in which files vanish meanwhile."""
_SSH: Final = {
    # Else sshfs takes any server for the right one. Empty: the account's own file, as ssh has it.
    "known_hosts": (),
    "connect_timeout": 30,
    # So that a call over a dead connection ends.
    "keepalive_interval": 15,
    "keepalive_count_max": 3,
}


class Listed(NamedTuple):
    """What is in a folder: paths."""

    folders: list[str]
    files: list[str]


class Store:
    """A folder of an object store or server.

    Parameters
    ----------
    url, options
        Where, and the arguments of the fsspec file system.
    largest
        Bytes of the largest object that is listed and read.
    is_away
        Called after each call: with what went wrong, in words, or an empty text.

    Raises
    ------
    InputError
        If it is no address, or of an unknown kind.
    MissingExtraError
        If what fsspec needs for this kind is not installed.

    """

    def __init__(
        self, url: str, options: Mapping[str, Any], *, largest: int, is_away: Callable[[str], None]
    ) -> None:
        given: object = url
        if not isinstance(given, str) or "://" not in given:
            raise InputError("url is s3://bucket/folder or sftp://host/folder", field="url")
        protocol = given.partition("://")[0]
        try:
            import fsspec  # noqa: PLC0415  an extra

            kind = fsspec.get_filesystem_class(protocol)
        except ImportError as error:
            raise MissingExtraError(
                f'{given:.40} needs the extra [cloud]: pip install "qis-protocol[cloud]"',
                field="cloud",
            ) from error
        except ValueError as error:
            raise InputError(f"url: {error}", field="url") from error
        self.url = url
        self.root: str = kind._strip_protocol(url).rstrip("/")  # noqa: SLF001  as fsspec's own core
        self._largest = largest
        self._is_away = is_away
        self._renames = protocol in _RENAMED
        self._options = {**(_SSH if protocol in {"sftp", "ssh"} else {}), **options}
        self._kind: Any = kind
        url_to_fs: Any = fsspec.core.url_to_fs
        self._connect: Callable[[], Any] = lambda: url_to_fs(url, **self._options)[0]
        self._connecting = threading.Lock()
        self._files: Any = None
        self.files_read = 0
        """Objects whose content was read."""

    async def make(self, folder: str) -> None:
        """Make a folder, unless it is there; where there are no folders nothing happens."""
        await self._call("makedirs", folder, exist_ok=True)

    async def write(self, path: str, content: bytes) -> None:
        """Write an object; it shows as a whole, or not at all."""
        if not self._renames:
            await self._call("pipe_file", path, content)
            return
        folder, _, name = path.rpartition("/")
        draft = f"{folder}/.{name}.{secrets.token_hex(8)}.tmp"
        await self._call("pipe_file", draft, content)
        await self._call("mv", draft, path)

    async def has(self, path: str) -> bool:
        """Tell whether an object is there."""
        return bool(await self._call("exists", path))

    async def remove(self, path: str) -> None:
        """Delete an object, if it is there."""
        try:
            await self._call("rm_file", path)
        except FileNotFoundError:
            return

    async def listed(self, folder: str) -> Listed:
        """List a folder: other folders, and files that are not too large; empty if it is gone."""
        for _ in range(LIST_TRIES):
            try:
                found = await self._call("ls", folder, detail=True)
                break
            except FileNotFoundError:  # the folder, or a draft in it that was renamed meanwhile
                if not await self.has(folder):
                    return Listed([], [])
        else:
            raise self._failed(FileNotFoundError(f"{folder} changes while it is listed"))
        folders = [each["name"].rstrip("/") for each in found if each["type"] == "directory"]
        files = [
            each["name"]
            for each in found
            if each["type"] == "file" and 0 < (each["size"] or 0) <= self._largest
        ]
        return Listed(folders, files)

    async def read(self, paths: Sequence[str]) -> list[bytes | Exception]:
        """Read some objects at once: contents, at most a byte more than the largest, or errors."""
        found: list[bytes | Exception] = await self._call(
            "cat_ranges", list(paths), 0, self._largest + 1, on_error="return"
        )
        self.files_read += sum(isinstance(each, bytes) for each in found)
        errors = [each for each in found if isinstance(each, Exception)]
        errors = [each for each in errors if not isinstance(each, FileNotFoundError)]
        if errors and len(errors) == len(found):  # not the objects': the store's
            raise self._failed(errors[0]) from errors[0]
        return found

    async def time(self) -> float | None:
        """Return the store's clock, in Unix seconds, by writing an object; `None`: cannot tell."""
        probe = f"{self.root}/.{secrets.token_hex(8)}.tmp"
        await self._call("pipe_file", probe, b"time")
        try:
            found = await self._call("info", probe)
        finally:
            await self.remove(probe)
        modified = found.get("LastModified") or found.get("mtime")
        if isinstance(modified, datetime):
            return modified.timestamp()
        return float(modified) if isinstance(modified, int | float) else None

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            found = await asyncio.to_thread(self._do, method, arguments, options)
        except FileNotFoundError:
            self._is_away("")
            raise
        except Exception as error:
            raise self._failed(error) from error
        self._is_away("")
        return found

    def _do(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        with self._connecting:
            if self._files is None:
                self._files = self._connect()
            files = self._files
        files.invalidate_cache()  # others write too
        return getattr(files, method)(*arguments, **options)

    def _failed(self, error: Exception) -> TransportError:
        self._files = None
        self._kind.clear_instance_cache()  # or fsspec gives the broken one again
        text = f"{self.url} cannot be used: {type(error).__name__}: {error}"
        self._is_away(text)
        return TransportError(text)
