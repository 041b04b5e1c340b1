"""Proof of address without state: only who receives at an address knows its token."""

import hmac
from typing import Final

from blake3 import blake3

from qis.overlay.messages import TOKEN_SIZE

TOKEN_PERIOD_S: Final = 600
"""A token is good in the period that it was made in and in the next."""


class Tokens:
    """Makes and checks the tokens of one node.

    Parameters
    ----------
    key
        32 secret bytes: whoever knows them can prove any address.

    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, address: bytes, now: float) -> bytes:
        """The 16 bytes that prove this address to this node."""
        return self._token(address, int(now // TOKEN_PERIOD_S))

    def proves(self, address: bytes, token: bytes, now: float) -> bool:
        """True if the sender of the token has lately proven that it receives at this address."""
        period = int(now // TOKEN_PERIOD_S)
        return any(
            hmac.compare_digest(token, self._token(address, at)) for at in (period, period - 1)
        )

    def _token(self, address: bytes, period: int) -> bytes:
        return blake3(address + period.to_bytes(8, signed=True), key=self._key).digest(TOKEN_SIZE)
