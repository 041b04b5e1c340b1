"""What simulated agents want, and what concerns them: not the same where routing misses some."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from qis.about import Interest, canonical_routing_keys
from qis.errors import InputError
from qis.fingerprint.scheme import Scheme
from qis.overlay.subscription import Wanted, all_under, wanted_of
from qis.simulation.letters import fingerprint_of, study_of


@dataclass(frozen=True, slots=True)
class Member:
    """One agent's wishes.

    Parameters
    ----------
    keys
        The routing keys that it subscribes to, sorted.
    interest
        Decides what its application takes; without one, every packet under its keys.

    """

    keys: tuple[bytes, ...]
    interest: Interest | None = None

    @property
    def wanted(self) -> Wanted:
        """What it registers."""
        if self.interest is not None:
            return wanted_of((self.interest,))
        return all_under(self.keys)

    def takes(self, letter: bytes, keys: Iterable[bytes]) -> bool:
        """True if the application would take this packet under these keys."""
        fingerprint = fingerprint_of(letter)
        if self.interest is None or fingerprint is None:
            return not set(self.keys).isdisjoint(keys)
        return self.interest.matches(fingerprint, study_of(letter), keys)

    def is_concerned(self, letter: bytes, keys: Iterable[bytes]) -> bool:
        """True if this packet is for the agent, whether or not they share a routing key."""
        if self.interest is None or fingerprint_of(letter) is None:
            return self.takes(letter, keys)
        return self.takes(letter, self.interest.routing_keys or keys)


def member(wanted: Interest | Iterable[bytes], now: float = 0.0) -> Member:
    """The agent with this interest at a date in Unix seconds, or with these routing keys."""
    if isinstance(wanted, Interest):
        wanted = wanted.at(now)
        return Member(wanted.all_keys, wanted)
    return Member(canonical_routing_keys(wanted))


def members(wanted: Sequence[Any], scheme: Scheme[Any] | None) -> list[Member]:
    """One agent for each interest, each list of routing keys or, with a scheme, each features."""
    found = []
    for number, each in enumerate(wanted):
        try:
            found.append(member(each if scheme is None else scheme.interest(each)))
        except InputError as error:
            raise InputError(
                f"wanted[{number}]: {error}",
                field="wanted",
                actual=error.actual,
                limit=error.limit,
            ) from error
    return found
