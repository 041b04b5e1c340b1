"""Whether a node can be called at the address that it tells others.

A NAT lets in what comes from where something was sent to. So the node asks a member that answers it
to have it called by another, which this node has never sent anything (as the dial-backs of other
peer-to-peer networks do): if that call comes, others can call too.
"""

import math
import random
from typing import Final

from qis.relay.frames import NOBODY, NONCE_SIZE, TAG_SIZE, Here, Seek, SeenAs

CALLED_WITHIN_S: Final = 5.0
"""How long the call is waited for; it is tried three times within 3 s."""
TESTS_LIMIT: Final = 2
"""Tests that have to fail, if there are so many to make, before a node believes that it cannot."""
ASK_AGAIN_S: Final = 30.0
"""Least time until a member that turns up is kept from being called, to test once more."""


class Callability:
    """What one node knows of how it is reached.

    Parameters
    ----------
    rng
        Source of nonces.

    """

    def __init__(self, rng: random.Random) -> None:
        self.is_callable: bool | None = None
        """None: not known."""
        self.seen_as: bytes | None = None
        """The address that a member has seen this node at."""
        self._rng = rng
        self._nonce = b""
        self._asked = b""
        self._caller = NOBODY
        self._until: float | None = None
        self._wants = True
        self._asked_at = -math.inf
        self._failed = 0
        self._void = 0

    @property
    def awaited(self) -> bytes:
        """First bytes of the key of the member that is about to call, which must not be called."""
        return self._caller if self._until is not None else NOBODY

    @property
    def is_asking(self) -> bool:
        """True while the answer is waited for that says who will call."""
        return self._until is not None and self._caller == NOBODY

    @property
    def may_ask(self) -> bool:
        """True if there is something to find out, and nothing under way."""
        return self._wants and self._until is None

    def next_timer(self) -> float | None:
        """When `expire` has something to do."""
        return self._until

    def ask(self, member: bytes, address: bytes, contacted: tuple[bytes, ...], now: float) -> Seek:
        """Return the question for a member."""
        self._wants, self._asked_at = False, now
        self._nonce = self._rng.randbytes(NONCE_SIZE)
        self._asked = member
        self._caller = NOBODY
        self._until = now + CALLED_WITHIN_S
        return Seek(self._nonce, address, contacted)

    def seen(self, member: bytes, frame: SeenAs, now: float) -> None:
        """Take in how a member has seen this node, and who will call."""
        if self._until is None or (member, frame.nonce) != (self._asked, self._nonce):
            return
        self.seen_as = frame.address
        self._caller = frame.caller
        self._until = now + CALLED_WITHIN_S if frame.caller != NOBODY else now

    def called(self, member: bytes, frame: Here, *, has_called_it: bool) -> None:
        """Take in that a member has come through, which counts if it was not called before."""
        if self._until is None or (member[:TAG_SIZE], frame.nonce) != (self._caller, self._nonce):
            return
        self._until = None
        if not has_called_it:
            self.was_called()
        elif self._void < TESTS_LIMIT:  # it says nothing, so it is tried again
            self._void += 1
            self._wants = True

    def was_called(self) -> None:
        """Note that a member has called that this node had never sent anything."""
        self.is_callable, self._until, self._wants = True, None, False

    def newcomer(self, now: float) -> bool:
        """True if a member that turns up, and was never called, is wanted to test this again."""
        if self.is_callable is True or now - self._asked_at < ASK_AGAIN_S:
            return False
        self._wants = True
        return True

    def expire(self, now: float) -> None:
        """End a test whose time is over."""
        if self._until is None or now < self._until:
            return
        self._until = None
        if self._caller != NOBODY:
            self._failed += 1
            self._wants = self._failed < TESTS_LIMIT
        else:
            self._asked_at = -math.inf  # the next that turns up may be the one
        # Without another to call, one test in which nobody came through is all there is.
        if self._failed and not self._wants:
            self.is_callable = False
