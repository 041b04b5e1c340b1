"""Iterative lookup: ask the closest known nodes for closer ones until none is left to ask.

Each candidate is in one of four states, and what may happen to it is one table. The lookup ends
when the `width` closest candidates that have not failed have all answered, or when its budget of
requests is spent; as nobody is asked twice, lies can cost no more than that budget.
"""

from bisect import insort
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


class LookupState(Enum):
    """What a lookup knows of a candidate."""

    HEARD_OF = "somebody named it"
    ASKED = "a request is under way"
    ANSWERED = "it has answered"
    FAILED = "it has not answered any try"


class LookupEvent(Enum):
    """What happens to a candidate."""

    ASK = "a request goes out"
    ANSWER = "its answer came"
    SILENCE = "its last try ran out"


TRANSITIONS: Final = {
    (LookupState.HEARD_OF, LookupEvent.ASK): LookupState.ASKED,
    (LookupState.ASKED, LookupEvent.ANSWER): LookupState.ANSWERED,
    (LookupState.ASKED, LookupEvent.SILENCE): LookupState.FAILED,
}
"""All that can happen; anything else changes nothing."""


@dataclass(slots=True)
class _Candidate:
    contact: Contact
    depth: int
    state: LookupState = LookupState.HEARD_OF


class Lookup:
    """One search for the live nodes closest to an id.

    Parameters
    ----------
    target
        The id, in [0, 2²⁵⁶).
    start
        Contacts to begin with.
    width
        How many of the closest must have answered.
    own_id
        This node's id; it is never asked.

    """

    def __init__(self, target: int, start: Iterable[Contact], *, width: int, own_id: int) -> None:
        self.target = target
        self.requests = 0
        self._width = width
        self._under_way = 0
        self._candidates: dict[int, _Candidate] = {}
        self._ranked: list[tuple[int, _Candidate]] = []  # by distance, which no two share
        self._own_id = own_id
        self._hear(start, 1)

    def to_ask(self) -> list[Contact]:
        """Whom to ask now, at most as many as keeps `ALPHA` under way; they count as asked."""
        asked: list[Contact] = []
        for candidate in self._front():
            if self._under_way >= ALPHA or self.requests >= REQUESTS_LIMIT:
                break
            if self._step(candidate, LookupEvent.ASK):
                self.requests += 1
                self._under_way += 1
                asked.append(candidate.contact)
        return asked

    def answered(self, node: int, contacts: Iterable[Contact]) -> None:
        """Take an answer in; from somebody not asked, or a second one, it changes nothing."""
        candidate = self._candidates.get(node)
        if candidate is not None and self._step(candidate, LookupEvent.ANSWER):
            self._under_way -= 1
            self._hear(contacts, candidate.depth + 1)

    def failed(self, node: int) -> None:
        """Note that somebody who was asked has not answered any try."""
        candidate = self._candidates.get(node)
        if candidate is not None and self._step(candidate, LookupEvent.SILENCE):
            self._under_way -= 1

    @property
    def is_done(self) -> bool:
        """True if no candidate is left whose answer could change the result."""
        is_spent = self.requests >= REQUESTS_LIMIT
        return all(
            candidate.state is LookupState.ANSWERED
            or (is_spent and candidate.state is LookupState.HEARD_OF)
            for candidate in self._front()
        )

    @property
    def is_cut_short(self) -> bool:
        """True if one of the closest was not asked, since the budget of requests was spent."""
        return any(candidate.state is LookupState.HEARD_OF for candidate in self._front())

    def result(self) -> list[Contact]:
        """Those that answered, closest first."""
        return [c.contact for _, c in self._ranked if c.state is LookupState.ANSWERED]

    @property
    def path_length(self) -> int:
        """Length of the longest chain of answers that led to one of the `width` closest."""
        found = [c.depth for _, c in self._ranked if c.state is LookupState.ANSWERED]
        return max(found[: self._width], default=0)

    def _front(self) -> list[_Candidate]:
        """The `width` closest that have not failed."""
        front: list[_Candidate] = []
        for _, candidate in self._ranked:
            if candidate.state is not LookupState.FAILED:
                front.append(candidate)
                if len(front) == self._width:
                    break
        return front

    def _step(self, candidate: _Candidate, event: LookupEvent) -> bool:
        after = TRANSITIONS.get((candidate.state, event))
        if after is None:
            return False
        candidate.state = after
        return True

    def _hear(self, contacts: Iterable[Contact], depth: int) -> None:
        for contact in contacts:
            node = contact.id
            if node not in self._candidates and node != self._own_id:
                candidate = self._candidates[node] = _Candidate(contact, depth)
                insort(self._ranked, (node ^ self.target, candidate))
        while len(self._ranked) > CANDIDATES_LIMIT and self._forget_farthest():
            pass

    def _forget_farthest(self) -> bool:
        for i in range(len(self._ranked) - 1, -1, -1):
            candidate = self._ranked[i][1]
            if candidate.state is LookupState.HEARD_OF:
                del self._ranked[i], self._candidates[candidate.contact.id]
                return True
        return False
