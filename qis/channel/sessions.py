"""The sessions of one node, bounded.

A session that this node was asked for counts for nothing until its caller has shown that it holds
the keys: such ones are few, die young, and cannot push out those that are in use.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Container
from typing import Final

from qis._guard import Guard
from qis.channel.session import Session

SESSIONS_LIMIT: Final = 4_096
"""Sessions in use; the one used longest ago goes first."""
SESSIONS_OF_ONE_LIMIT: Final = 8
"""Sessions in use with one node, or one that calls again and again would push out all others."""
UNCONFIRMED_LIMIT: Final = 512
"""Sessions that wait for their caller; the oldest goes first."""
UNCONFIRMED_S: Final = 10.0
"""How long one waits."""
FORMER_LIMIT: Final = 4
"""Former addresses of a session: what is to be sent there goes where its peer is now."""

Endpoint = tuple[bytes, bytes]
"""A node's key and its address."""


class Sessions:
    """Finds sessions by their number here, by peer, and by address."""

    def __init__(self, rng: random.Random, guard: Guard | None = None) -> None:
        self._guard = guard or Guard()
        self._rng = rng
        self._in_use: OrderedDict[int, Session] = OrderedDict()
        self._unconfirmed: OrderedDict[int, tuple[Session, float]] = OrderedDict()
        self._of_peer: dict[bytes, deque[Session]] = {}
        self._ends: deque[tuple[float, int]] = deque()
        self._newest: dict[Endpoint, Session] = {}
        self._at_address: dict[bytes, Endpoint] = {}

    def __len__(self) -> int:
        return len(self._in_use) + len(self._unconfirmed)

    @property
    def peers(self) -> int:
        """With how many nodes there is a session in use."""
        return len(self._of_peer)

    @property
    def clocks_s(self) -> dict[bytes, float]:
        """By the key of each peer, its date (Unix seconds) less our `now`, of a steady clock."""
        return {session.peer: session.clock_s for session in self._newest.values()}

    def new_number(self, taken: Container[int]) -> int:
        """A number that no session and none of `taken` has."""
        while True:
            number = self._rng.getrandbits(32)
            if not any(number in used for used in (self._in_use, self._unconfirmed, taken)):
                return number

    def get(self, number: int, now: float) -> Session | None:
        """The live session of a number."""
        if number in self._unconfirmed:
            session, until = self._unconfirmed[number]
            return session if now < until else None
        found = self._in_use.get(number)
        return found if found is not None and now < found.expires_at else None

    def newest(self, endpoint: Endpoint, now: float) -> Session | None:
        """The session to send by to a node."""
        found = self._newest.get(endpoint)
        return found if found is not None and now < found.expires_at else None

    def endpoint_at(self, address: bytes) -> Endpoint | None:
        """Who was last heard at an address."""
        return self._at_address.get(address)

    def expect(self, session: Session, now: float) -> None:
        """Hold a session until its caller confirms it."""
        self._unconfirmed[session.own_number] = (session, now + UNCONFIRMED_S)
        if len(self._unconfirmed) > UNCONFIRMED_LIMIT:
            _, (oldest, _) = self._unconfirmed.popitem(last=False)
            self._guard.at_limit(
                "channel.sessions.UNCONFIRMED_LIMIT",
                oldest.peer.hex(),
                "a call of this node was forgotten before it was confirmed: too many call at "
                "once; it has to call again",
            )

    def use(self, session: Session) -> None:
        """Note that something authentic has passed; the newest confirmed one is sent by.

        The one before stays open for what is under way.
        """
        number = session.own_number
        if number in self._in_use:
            self._in_use.move_to_end(number)
            return
        self._unconfirmed.pop(number, None)
        self._in_use[number] = session
        self._note_end(session)
        self._newest[session.endpoint] = session
        self._at_address[session.address] = session.endpoint
        of_peer = self._of_peer.setdefault(session.peer, deque())
        of_peer.append(session)
        if len(of_peer) > SESSIONS_OF_ONE_LIMIT:
            self._drop(of_peer[0])
        elif len(self._in_use) > SESSIONS_LIMIT:
            oldest = next(iter(self._in_use.values()))
            self._guard.at_limit(
                "channel.sessions.SESSIONS_LIMIT",
                oldest.peer.hex(),
                "the channel to this node was closed for others: what was under way in it is "
                "sent again after a new handshake",
            )
            self._drop(oldest)

    def is_in_use(self, number: int) -> bool:
        """True if a session of this number is confirmed."""
        return number in self._in_use

    def is_confirmed(self, session: Session) -> bool:
        """True if the peer has shown that it holds the keys."""
        return session.own_number in self._in_use

    def move(self, session: Session, address: bytes, now: float) -> None:
        """Send to another address from now on, also what is meant for the one before."""
        former, session.address, session.moved_at = session.address, address, now
        if self._at_address.get(former) == (session.peer, former):
            del self._at_address[former]
        if self._newest.get((session.peer, former)) is session:
            session.former_addresses.append(former)
            self._newest[session.endpoint] = session
            self._at_address[address] = session.endpoint
            if len(session.former_addresses) > FORMER_LIMIT:
                self._forget_address(session, session.former_addresses.pop(0))

    def expire(self, now: float) -> None:
        """Forget what is over, with its keys."""
        while self._ends and self._ends[0][0] <= now:
            found = self._in_use.get(self._ends.popleft()[1])
            if found is not None and found.expires_at <= now:
                self._drop(found)
        for number in [n for n, (_, until) in self._unconfirmed.items() if until <= now]:
            del self._unconfirmed[number]

    def keep(self, is_kept: Callable[[bytes], bool]) -> None:
        """Forget the sessions with all peers but those whose key this is true of."""
        for session in [each for each in self._in_use.values() if not is_kept(each.peer)]:
            self._drop(session)
        waiting = [n for n, (each, _) in self._unconfirmed.items() if not is_kept(each.peer)]
        for number in waiting:
            del self._unconfirmed[number]

    def next_expiry(self) -> float | None:
        """A time by which something may be over."""
        times = [until for _, until in list(self._unconfirmed.values())[:1]]
        if self._ends:  # all live equally long, so they end in the order in which they began
            times.append(self._ends[0][0])
        return min(times, default=None)

    def _note_end(self, session: Session) -> None:
        self._ends.append((session.expires_at, session.own_number))
        if len(self._ends) > 2 * SESSIONS_LIMIT:
            self._ends = deque(end for end in self._ends if end[1] in self._in_use)

    def _drop(self, session: Session) -> None:
        self._in_use.pop(session.own_number, None)
        of_peer = self._of_peer[session.peer]
        of_peer.remove(session)
        if not of_peer:
            del self._of_peer[session.peer]
        for address in (session.address, *session.former_addresses):
            self._forget_address(session, address)

    def _forget_address(self, session: Session, address: bytes) -> None:
        endpoint = session.peer, address
        if self._newest.get(endpoint) is session:
            del self._newest[endpoint]
            if self._at_address.get(address) == endpoint:
                del self._at_address[address]
