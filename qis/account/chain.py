"""The chain of an account's lines: each has a hash over itself and the one before it."""

from typing import Final

from blake3 import blake3

from qis.account.account import Account

START: Final = bytes(32)


def append_line(account: Account, kind: str, line: str) -> None:
    """Add a line within the account's transaction."""
    row = account.execute(
        "SELECT number, chain FROM lines WHERE kind = ? ORDER BY number DESC LIMIT 1", (kind,)
    ).fetchone()
    number, chain = (0, START) if row is None else row
    account.execute(
        "INSERT INTO lines VALUES (?, ?, ?, ?)", (kind, number + 1, line, chained(chain, line))
    )
    account.set_fact(f"{kind}s", (number + 1).to_bytes(8, "big"))


def chained(chain: bytes, line: str) -> bytes:
    """The hash of a line that comes after the one with this hash."""
    return blake3(chain + line.encode()).digest()
