"""Iterative lookup: ask the closest known nodes for closer ones until none is left to ask.

Each candidate is in one of four states, and what may happen to it is one table. The lookup ends
when the `width` closest candidates that have not failed have all answered, or when its budget of
requests is spent; as nobody is asked twice, lies can cost no more than that budget.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from qis.overlay.record import Contact

ALPHA: Final = 3
"""Requests under way at once."""
REQUESTS_LIMIT: Final = 64
"""Most requests of one lookup."""
CANDIDATES_LIMIT: Final = 64
"""Candidates kept; the farthest that has not been asked goes first."""


class State(Enum):
    """What a lookup knows of a candidate."""

    HEARD_OF = "somebody named it"
    ASKED = "a request is under way"
    ANSWERED = "it has answered"
    FAILED = "it has not answered any try"


class Event(Enum):
    """What happens to a candidate."""

    ASK = "a request goes out"
    ANSWER = "its answer came"
    SILENCE = "its last try ran out"


TRANSITIONS: Final = {
    (State.HEARD_OF, Event.ASK): State.ASKED,
    (State.ASKED, Event.ANSWER): State.ANSWERED,
    (State.ASKED, Event.SILENCE): State.FAILED,
}
"""All that can happen; anything else changes nothing."""


@dataclass(slots=True)
class _Candidate:
    contact: Contact
    depth: int
    state: State = State.HEARD_OF


class Lookup:
    """One search for the live nodes closest to a place.

    Parameters
    ----------
    target
        The place.
    start
        Contacts to begin with.
    width
        How many of the closest must have answered.
    own_id
        This node's place, which is never asked.

    """

    def __init__(self, target: int, start: Iterable[Contact], *, width: int, own_id: int) -> None:
        self.target = target
        self.requests = 0
        self._width = width
        self._own_id = own_id
        self._candidates: dict[int, _Candidate] = {}
        self._order: list[int] = []
        self._hear(start, 1)

    def to_ask(self) -> list[Contact]:
        """Whom to ask now, at most as many as keeps `ALPHA` under way; they count as asked."""
        under_way = sum(c.state is State.ASKED for c in self._candidates.values())
        asked: list[Contact] = []
        for candidate in self._front():
            if under_way + len(asked) >= ALPHA or self.requests >= REQUESTS_LIMIT:
                break
            if self._step(candidate, Event.ASK):
                self.requests += 1
                asked.append(candidate.contact)
        return asked

    def answered(self, node: int, contacts: Iterable[Contact]) -> None:
        """Take an answer in; from somebody not asked, or a second one, it changes nothing."""
        candidate = self._candidates.get(node)
        if candidate is not None and self._step(candidate, Event.ANSWER):
            self._hear(contacts, candidate.depth + 1)

    def failed(self, node: int) -> None:
        """Note that somebody who was asked has not answered any try."""
        candidate = self._candidates.get(node)
        if candidate is not None:
            self._step(candidate, Event.SILENCE)

    @property
    def is_done(self) -> bool:
        """Whether nobody is left whose answer could change the result."""
        front = self._front()
        if self.requests >= REQUESTS_LIMIT:
            return all(candidate.state is not State.ASKED for candidate in front)
        return all(candidate.state is State.ANSWERED for candidate in front)

    def result(self) -> list[Contact]:
        """Those that answered, closest first."""
        return [c.contact for c in self._ranked() if c.state is State.ANSWERED]

    @property
    def path_length(self) -> int:
        """Length of the longest chain of answers that led to one of the `width` closest."""
        found = [c.depth for c in self._ranked() if c.state is State.ANSWERED]
        return max(found[: self._width], default=0)

    def _front(self) -> list[_Candidate]:
        alive = []
        for candidate in self._ranked():
            if candidate.state is not State.FAILED:
                alive.append(candidate)
                if len(alive) == self._width:
                    break
        return alive

    def _ranked(self) -> Iterable[_Candidate]:
        return (self._candidates[node] for node in self._order)

    def _step(self, candidate: _Candidate, event: Event) -> bool:
        after = TRANSITIONS.get((candidate.state, event))
        if after is None:
            return False
        candidate.state = after
        return True

    def _hear(self, contacts: Iterable[Contact], depth: int) -> None:
        for contact in contacts:
            if contact.id != self._own_id and contact.id not in self._candidates:
                self._candidates[contact.id] = _Candidate(contact, depth)
        self._order = sorted(self._candidates, key=lambda node: node ^ self.target)
        for node in reversed(self._order):
            if len(self._candidates) <= CANDIDATES_LIMIT:
                break
            if self._candidates[node].state is State.HEARD_OF:
                del self._candidates[node]
        self._order = [node for node in self._order if node in self._candidates]
