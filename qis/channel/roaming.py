"""A session follows its peer to another address, once the peer has answered a challenge there.

A NAT that forgets gives a site another port, and a machine may change its network. What then comes
from the new address is authentic, and is taken; but nothing is sent there but a challenge, no
larger than what came, until the peer has returned it from that address (RFC 9000, 8.2 and 9.3):
whoever copies datagrams on the way could otherwise turn a session away, or against somebody else.
"""

import random
from dataclasses import dataclass
from typing import Final

from qis.channel.session import OVERHEAD, Session
from qis.channel.sessions import Sessions

TOKEN_SIZE: Final = 8
CHALLENGE: Final = b"\x00qc?"
ANSWER: Final = b"\x00qc!"
SIZE: Final = len(CHALLENGE) + TOKEN_SIZE
PATIENCE_S: Final = 3.0
"""How long the answer to a challenge is waited for."""
MOVE_EVERY_S: Final = 10.0
"""Least time between two moves of one session."""


@dataclass(frozen=True, slots=True)
class _Challenge:
    address: bytes
    token: bytes
    until: float


class Roaming:
    """The moves of all sessions of one node.

    Parameters
    ----------
    sessions
        Those of the node.
    rng
        Source of tokens, which nobody may be able to tell.

    """

    def __init__(self, sessions: Sessions, rng: random.Random) -> None:
        self._sessions = sessions
        self._rng = rng
        self._open: dict[int, _Challenge] = {}

    def came_from(self, session: Session, address: bytes, size: int, now: float) -> bytes | None:
        """Take note that an authentic datagram, newer than all before, came from elsewhere.

        Returns what to send there under the session, if anything.
        """
        if size < SIZE + OVERHEAD or now < session.moved_at + MOVE_EVERY_S:
            return None
        self._forget(now)
        known = self._open.get(session.own_number)
        if known is None or known.address != address:
            known = _Challenge(address, self._rng.randbytes(TOKEN_SIZE), now + PATIENCE_S)
            self._open[session.own_number] = known
        return CHALLENGE + known.token

    def answered(self, session: Session, plain: bytes, address: bytes, now: float) -> bool:
        """Move the session if this is the answer, from the address that was challenged."""
        known = self._open.get(session.own_number)
        if (
            known is None
            or now >= known.until
            or (known.address, known.token) != (address, plain[len(ANSWER) :])
        ):
            return False
        del self._open[session.own_number]
        self._sessions.move(session, address, now)
        return True

    def _forget(self, now: float) -> None:
        """Drop challenges that nobody has answered: all wait equally long, the oldest first."""
        while self._open:
            number, oldest = next(iter(self._open.items()))
            if now < oldest.until:
                return
            del self._open[number]


def answer_to(plain: bytes) -> bytes | None:
    """What returns a challenge; `None` if it is something else."""
    is_one = plain.startswith(CHALLENGE) and len(plain) == SIZE
    return ANSWER + plain[len(CHALLENGE) :] if is_one else None
