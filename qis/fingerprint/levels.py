"""Levels of routing keys: how many others one meets, against how much travels.

A level turns the terms of a profile into what its routing keys are made of. It is each site's own
choice and no part of a scheme: two sites meet if any of their keys are equal.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp
from typing import Final, Protocol

from qis._gate import checked
from qis._given import real_number, whole_number
from qis.errors import InputError
from qis.fingerprint.ontology import Ontology

MAX_KEYS: Final = 32
"""Most routing keys of one profile."""
MOST_SITES: Final = 1_000
"""Largest network in which everything may go to everybody."""
_SHARE: Final = 1 << 32


class Level(Protocol):
    """What routing keys are made of.

    Examples
    --------
    >>> import qis
    >>> from qis.fingerprint import LoadBudget
    >>> toy = qis.Ontology("toy/1", {"cold": ["fever"], "fever": []}, None)
    >>> len(qis.TermScheme(toy, levels=[LoadBudget()]).routing_keys(["cold"])) > 0
    True

    """

    def contents(self, terms: Iterable[str], ontology: Ontology) -> tuple[bytes, ...]:
        """What the keys of a profile are made of, the most telling first, at most `MAX_KEYS`."""


@dataclass(frozen=True, slots=True)
class LoadBudget:
    """Keys are terms, ancestors included, whose shares of all profiles stay within a budget.

    Terms are taken in the order of how near their information is to a target, each if what is left
    of the budget holds its share, exp(−information). So the expected traffic is bounded whatever
    the profile: many rare terms or a few common ones.

    Parameters
    ----------
    budget
        Sum of the shares, in [0.01, 8].
    target_information
        Nats, in (0, 100]: rarer terms are seldom shared, commoner ones lead to everybody.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> import qis
    >>> qis.LoadBudget().budget > 0.0
    True

    """

    budget: float = 1.5
    target_information: float = 4.0

    def __post_init__(self) -> None:
        budget = real_number(self.budget, "budget", 0.01, 8.0)
        object.__setattr__(self, "budget", budget)
        target = real_number(self.target_information, "target_information", 1e-4, 100.0)
        object.__setattr__(self, "target_information", target)

    @checked
    def contents(self, terms: Iterable[str], ontology: Ontology) -> tuple[bytes, ...]:
        """The ids of the terms; of a profile that fits nowhere, its rarest; else none."""
        information: Mapping[str, float] = {
            term: ontology.information(term)
            for term in ontology.closure(terms)
            if ontology.is_used(term)
        }
        left = round(self.budget * _SHARE)
        chosen: list[str] = []
        for term in sorted(
            information, key=lambda term: (abs(information[term] - self.target_information), term)
        ):
            share = round(exp(-information[term]) * _SHARE)
            # What every profile has leads to everybody, and is within no budget.
            if share <= left and information[term] > 0.0:
                left -= share
                chosen.append(term)
            if len(chosen) == MAX_KEYS:
                break
        if not chosen and information:
            chosen = [min(information, key=lambda term: (-information[term], term))]
        return tuple(b"term " + term.encode() for term in chosen)


@dataclass(frozen=True, slots=True)
class Everything:
    """One key for everything of a scheme: for small networks.

    Parameters
    ----------
    sites
        How many sites there are, at most 1,000: every packet goes to each of them.

    Raises
    ------
    InputError
        If there are more.

    Examples
    --------
    >>> import qis
    >>> qis.Everything(sites=12).sites
    12

    """

    sites: int

    def __post_init__(self) -> None:
        sites = whole_number(self.sites, "sites", 1, 2**32)
        if sites > MOST_SITES:
            raise InputError(
                f"{sites} sites: beyond {MOST_SITES} every packet would go to too many who do not "
                "want it; take LoadBudget()",
                field="sites",
                actual=sites,
                limit=MOST_SITES,
            )
        object.__setattr__(self, "sites", sites)

    @checked
    def contents(self, terms: Iterable[str], ontology: Ontology) -> tuple[bytes, ...]:
        """The one key's content."""
        del terms, ontology  # the same for all
        return (b"everything",)
