"""Proof of address before any signature is checked, when many strangers call."""

import hmac
from typing import Final

from blake3 import blake3

from qis._seldom import Bucket

COOKIE_SIZE: Final = 16
NO_COOKIE: Final = bytes(COOKIE_SIZE)
PERIOD_S: Final = 120
"""A cookie is good in the period that it was made in and in the next."""
CALM_RATE: Final = 50.0
"""Initiations a second from unproven addresses that are answered without a cookie."""


class Cookies:
    """Makes and checks the cookies of one node, and knows when it needs them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._calm = Bucket(CALM_RATE)

    def is_needed(self, now: float) -> bool:
        """True if so many call that this one has to prove its address; counts the call."""
        return self._calm.is_full(now)

    def cookie(self, address: bytes, now: float) -> bytes:
        """What proves this address."""
        return self._cookie(address, int(now // PERIOD_S))

    def proves(self, address: bytes, cookie: bytes, now: float) -> bool:
        """True if the sender has received at this address, within the last 4 minutes at most."""
        period = int(now // PERIOD_S)
        return any(
            hmac.compare_digest(cookie, self._cookie(address, at)) for at in (period, period - 1)
        )

    def _cookie(self, address: bytes, period: int) -> bytes:
        text = address + period.to_bytes(8, "big", signed=True)
        return blake3(text, key=self._key).digest(COOKIE_SIZE)
