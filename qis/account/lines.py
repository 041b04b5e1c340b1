"""Lines of an account: what was released, what was paid. Each is chained to the one before it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, Generic, TypeVar

from qis._paths import file_path
from qis.account.account import Account
from qis.account.chain import START, append_line, chained
from qis.account.taking_over import followed, is_lines, take_over, take_over_lines
from qis.errors import StorageDamagedError

Line = TypeVar("Line")


class Lines(Generic[Line]):
    """The lines of one kind in an account, read as they come, by this process or another.

    Parameters
    ----------
    given
        An account; the path of one; or the path of a file of JSON lines, as former versions kept
        them: it is taken over once into ``<path>.account`` and stays as it is. `None`: in memory.
    kind
        "emission" or "payment".
    made
        Builds a line from its JSON.

    Raises
    ------
    StorageDamagedError
        If a line is not what was written, or some are missing.
    StorageError
        If the file cannot be opened.

    """

    def __init__(
        self,
        given: Account | str | PathLike[str] | None,
        kind: str,
        made: Callable[[dict[str, Any]], Line],
    ) -> None:
        self.kind = kind
        self._made = made
        self.account: Account | None = None
        self.lines: list[Line] = []
        self._contents: list[dict[str, Any]] = []  # of what is in memory only
        if given is not None:
            self._begin(given if isinstance(given, Account) else _opened(given, kind))

    def _begin(self, account: Account) -> Account:
        self.account = account
        self.lines, self._contents = [], []
        self._chain = START
        self.refresh()
        return account

    def _open(self) -> Account | None:
        """The account, opened again if the loop that it belonged to has closed it."""
        account = self.account
        if account is None or account.is_open or account.path is None:
            return account
        return self._begin(followed(Account(account.path), to_other_key=True))

    def refresh(self) -> None:
        """Read what was added.

        Raises
        ------
        StorageDamagedError
            If a line cannot be read, or lines are missing.

        """
        account = self._open()
        if account is None:
            return
        read = len(self.lines)
        with account.translated():
            rows = account.execute(
                "SELECT number, line, chain FROM lines WHERE kind = ? AND number > ? "
                "ORDER BY number",
                (self.kind, read),
            ).fetchall()
            (last,) = account.execute(
                "SELECT coalesce(max(number), 0) FROM lines WHERE kind = ?", (self.kind,)
            ).fetchone()
            promised = int.from_bytes(account.fact(f"{self.kind}s") or b"", "big")
        if max(read, promised) > last:
            raise self._damage(last + 1, "and those after it are gone")
        for number, line, chain in rows:
            expected = chained(self._chain, line)
            if number != len(self.lines) + 1:
                raise self._damage(len(self.lines) + 1, "is gone")
            if chain != expected:
                raise self._damage(number, "is not what was written")
            try:
                self.lines.append(self._made(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise self._damage(number, "cannot be read") from error
            self._chain = expected

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the account, with all lines read; may be entered again by its holder.

        Raises
        ------
        AccountError
            If the account is in doubt.
        StorageError
            If the file cannot be written, or another process holds it for long.
        StorageDamagedError
            As `refresh`.

        """
        account = self._open()
        if account is None:
            yield
            return
        read, chain = len(self.lines), self._chain
        try:
            with account.transaction():
                account.require_settled()
                self.refresh()
                yield
        except BaseException:  # what was read back may never have been committed
            del self.lines[read:]
            self._chain = chain
            raise

    def append(self, content: dict[str, Any]) -> None:
        """Add a line; it is on disk when the transaction ends, by default when this returns.

        Raises
        ------
        StorageError
            If it cannot be written; then nothing was added, and nothing may be released.

        """
        with self.writing():
            if self.account is None:
                self._contents.append(content)
                self.lines.append(self._made(content))
            else:
                append_line(self.account, self.kind, json.dumps(content))
                self.refresh()

    def unknown(self, column: str) -> list[Line]:
        """What packets of this key that the site does not know must have added."""
        account = self._open()
        if account is None:
            return []
        with account.translated():
            rows = account.execute(
                f"SELECT {column} FROM unknown WHERE {column} IS NOT NULL"  # noqa: S608  ours
            ).fetchall()
        return [self._made(json.loads(line)) for (line,) in rows]

    def move_to(self, account: Account) -> None:
        """Go on in another account, which takes over everything that is in this one."""
        former = self._open()
        if former is None:
            with account.transaction():
                for content in self._contents:
                    append_line(account, self.kind, json.dumps(content))
        elif former is not account and former.name != account.name:
            take_over(account, former)
        if former is not account:
            self._begin(account)
            if former is not None:
                former.close()

    def close(self) -> None:
        """Close the account; idempotent."""
        if self.account is not None:
            self.account.close()

    def _damage(self, number: int, what: str) -> StorageDamagedError:
        return StorageDamagedError(
            f"{self.account and self.account.path}: {self.kind} {number} {what}; bring "
            "the file back from a backup, since without it nobody knows what was released",
            field="ledger",
            actual=number,
        )

    def __repr__(self) -> str:
        return f"<Lines of the kind {self.kind!r}>"


def _opened(given: str | PathLike[str], kind: str) -> Account:
    """Open the account that a path stands for."""
    path = file_path(given, without="None")
    beside = path.with_name(f"{path.name}.account")
    has_former = beside.exists() or is_lines(path)
    account = Account(beside if has_former else path)
    try:
        if has_former:
            take_over_lines(account, path, kind)
        return followed(account, to_other_key=True)
    except BaseException:
        account.close()
        raise
