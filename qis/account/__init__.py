"""The account of a key: one file with all that has left, waits or was paid, and its witness."""

from qis.account.account import Account
from qis.account.findings import AccountFinding
from qis.account.lines import Lines

__all__ = ["Account", "AccountFinding", "Lines"]
