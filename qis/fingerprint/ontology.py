"""Ontologies: terms, what they are kinds of, and how much it says to have one.

Information is kept in whole ten-thousandths of a nat, so that no rounding of a logarithm decides
anything: the same release gives the same sketches on every machine.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from os import PathLike
from typing import Any, Final, Self, TypeVar

from blake3 import blake3

from qis._canonical import encode
from qis._gate import checked
from qis.errors import InputError
from qis.fingerprint.term_ids import as_id, short_id
from qis.picture.html import HasTable

Value = TypeVar("Value")

UNIT: Final = 10_000
"""Whole numbers of information are in nats divided by this."""
_MOST_INFORMATION: Final = 1_000.0
_SHOWN: Final = 5
_BRANCHES: Final = ("HP:0000118",)
"""Roots of the branches that annotations count: of HPO, phenotypic abnormality."""


@dataclass(frozen=True, slots=True)
class Resolution(HasTable):
    """What became of the terms that were given.

    Parameters
    ----------
    terms
        Those that are used: known, current, distinct, sorted.
    replaced
        Given id → the current id that the ontology gives for it (merged or replaced).
    obsolete
        Ids that the ontology has retired without a replacement; not used.
    unknown
        Ids that the release does not have; not used.
    outside
        Id → id and name of a term that is not in the ontology's branch, such as an onset or a mode
        of inheritance; not used.
    branch
        Id and name of the branch's root, for the warnings.

    Examples
    --------
    >>> import qis
    >>> toy = qis.Ontology("toy/1", {"cold": ["fever"]}, None, replacements={"chill": "cold"})
    >>> toy.resolve(["chill"]).terms
    ('cold',)

    """

    terms: tuple[str, ...]
    replaced: Mapping[str, str] = field(default_factory=dict)
    obsolete: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    outside: Mapping[str, str] = field(default_factory=dict)
    branch: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """In words, everything that was not used as it was given."""
        said = [f"{old} was replaced by {new}" for old, new in sorted(self.replaced.items())]
        said += [f"{term} is obsolete and has no replacement: not used" for term in self.obsolete]
        said += [f"{term} is not in this release: not used" for term in self.unknown]
        said += [
            f"{named} is no kind of {self.branch}: not used"
            for _, named in sorted(self.outside.items())
        ]
        return tuple(said)


class Ontology:
    """A release of an ontology: a directed acyclic graph of terms with information content.

    Parameters
    ----------
    release
        Names the release, such as ``"hp/2025-01-16"``.
    parents
        Term → the terms that it is a kind of. Terms that are parents only need no entry. Ids are
        texts or whole numbers (OMOP's concept ids), here and below; a whole number is the text of
        its digits.
    information
        Term → information content in nats, -log of the share of profiles that have the term or one
        of its descendants; `None`: from the graph alone (Seco, Veale & Hayes 2004), which is a poor
        substitute.
    names
        Term → its name, for people.
    replacements
        Merged or replaced id → current id.
    obsolete
        Ids that were retired.
    vocabulary
        Names what the ids mean, whatever the release: sketches of two ontologies are compared if
        their vocabulary is the same. Default: the prefix that all ids share, such as ``"HP"``;
        where they share none, the release up to its first slash.
    root
        The branch that fingerprints are made of: this term and all that are kinds of it. What lies
        outside, such as onset and inheritance, is named in warnings and not weighed, since nobody
        counted it. Default: ``"HP:0000118"`` (phenotypic abnormality) where there is such a term,
        else no branch: every term is used.

    Raises
    ------
    InputError
        If there is no term, the graph has a cycle, a term lacks information, the root is no term,
        or a replacement leads nowhere.

    Examples
    --------
    >>> ontology = Ontology("toy/1", {"cold": ["fever"], "fever": []}, None)
    >>> ontology.resolve(["cold", "flu"]).warnings
    ('flu is not in this release: not used',)

    """

    @checked
    def __init__(
        self,
        release: str,
        parents: Mapping[Any, Iterable[str | int]],
        information: Mapping[Any, float] | None,
        *,
        names: Mapping[Any, str] | None = None,
        replacements: Mapping[Any, str | int] | None = None,
        obsolete: Iterable[str | int] = (),
        vocabulary: str | None = None,
        root: str | int | None = None,
    ) -> None:
        graph = {as_id(term): frozenset(map(as_id, above)) for term, above in parents.items()}
        for above in list(graph.values()):
            for term in above:
                graph.setdefault(term, frozenset())
        if not graph:
            raise InputError("an ontology needs terms", field="parents", actual=0, limit=1)
        self.release = release
        self.terms: tuple[str, ...] = tuple(sorted(graph))
        self._parents = graph
        self._ancestors = _ancestors(graph)
        if information is None:
            self._information = self._checked(self._from_structure())
        else:
            self._information = self._checked(_by_id(information))
        self._names = _by_id(names or {})
        self._replacements = {
            old: as_id(new) for old, new in _by_id(replacements or {}).items() if old not in graph
        }
        self._obsolete = frozenset(map(as_id, obsolete)) - graph.keys() - self._replacements.keys()
        self.vocabulary = _vocabulary(graph, release) if vocabulary is None else vocabulary
        if root is None:
            root = next((known for known in _BRANCHES if known in graph), None)
        else:
            root = as_id(root)
            if root not in graph:
                raise InputError(f"the root {root!r:.60} is no term", field="root", actual=root)
        self.root = root
        for old, new in self._replacements.items():
            if new not in graph:
                raise InputError(
                    f"{old} is replaced by {new}, which is no term",
                    field="replacements",
                    actual=new,
                )

    @classmethod
    @checked
    def from_obographs(
        cls,
        path: str | PathLike[str],
        annotations: str | PathLike[str] | Mapping[str, Iterable[str]] | None = None,
        *,
        release: str | None = None,
    ) -> Self:
        """Read an ontology in OBO Graphs JSON, such as ``hp.json``; also compressed (.gz).

        Parameters
        ----------
        path
            The file.
        annotations
            From which information follows: ``phenotype.hpoa``, or profiles as a map of name →
            terms.
        release
            Default: as the file says.

        Raises
        ------
        InputError
            If a file is not of its form.
        StorageError
            If it cannot be read.

        """
        from qis.fingerprint.ontology_files import read_obographs  # noqa: PLC0415  it makes these

        return cls._from_file(read_obographs(path), annotations, release)

    @classmethod
    @checked
    def from_obo(
        cls,
        path: str | PathLike[str],
        annotations: str | PathLike[str] | Mapping[str, Iterable[str]] | None = None,
        *,
        release: str | None = None,
    ) -> Self:
        """Read an ontology in OBO format 1.2 or 1.4; also compressed (.gz).

        Parameters
        ----------
        path
            The file.
        annotations
            From which information follows: ``phenotype.hpoa``, or profiles as a map of name →
            terms.
        release
            Default: as the file says.

        Raises
        ------
        InputError
            If a file is not of its form.
        StorageError
            If it cannot be read.

        """
        from qis.fingerprint.ontology_files import read_obo  # noqa: PLC0415  it makes these

        return cls._from_file(read_obo(path), annotations, release)

    @classmethod
    def _from_file(
        cls,
        content: dict[str, Any],
        annotations: str | PathLike[str] | Mapping[str, Iterable[str]] | None,
        release: str | None,
    ) -> Self:
        from qis.fingerprint.ontology_files import read_annotations  # noqa: PLC0415

        if release is not None:
            content["release"] = release
        bare = cls(**content, information=None)
        if annotations is None:
            return bare
        if not isinstance(annotations, Mapping):
            annotations = read_annotations(annotations)
        return cls(**content, information=bare.information_from(annotations))

    @checked
    def information_from(self, profiles: Mapping[str, Iterable[str]]) -> dict[str, float]:
        """Information content of each term from profiles that are annotated with terms.

        ``log((N + 1) / (n + 1))`` with n the profiles that have the term or a descendant, of N.
        Ids that were merged are followed; unknown ones do not count.
        """
        counts = dict.fromkeys(self.terms, 0)
        for terms in profiles.values():
            for term in self.closure(self.resolve(terms).terms):
                counts[term] += 1
        # One is added to both counts, so that a term nobody has still gets a finite value.
        total = math.log(len(profiles) + 1)
        return {term: total - math.log(count + 1) for term, count in counts.items()}

    @checked
    def resolve(self, terms: Iterable[str | int]) -> Resolution:
        """Follow merged ids, and say what is obsolete, unknown or outside the branch.

        Ids are taken in every usual spelling: ``HP:0001250``, ``HP_0001250``, ``hp:0001250``, an
        IRI that ends so, with white space around it, and whole numbers (OMOP's concept ids).
        """
        used: set[str] = set()
        replaced: dict[str, str] = {}
        obsolete: set[str] = set()
        unknown: set[str] = set()
        outside: dict[str, str] = {}
        for given in terms:
            term = self._spelled(given)
            if term in self._replacements:
                replaced[term] = self._replacements[term]
                term = replaced[term]
            if self.is_used(term):
                used.add(term)
            elif term in self._parents:
                outside[term] = self._named(term)
            else:
                (obsolete if term in self._obsolete else unknown).add(term)
        return Resolution(
            tuple(sorted(used)),
            replaced,
            tuple(sorted(obsolete)),
            tuple(sorted(unknown)),
            outside,
            "" if self.root is None else self._named(self.root),
        )

    @checked
    def is_used(self, term: str) -> bool:
        """True if it is a term of the branch that fingerprints are made of."""
        above = self._ancestors.get(term)
        return above is not None and (self.root is None or self.root in above)

    def _spelled(self, given: object) -> str:
        """The id as this ontology spells it; as it was given where that is no term."""
        term = as_id(given)
        if self._is_id(term):
            return term
        compact = short_id(term.strip())
        if not self._is_id(compact):
            prefix, colon, rest = compact.replace("_", ":", 1).partition(":")
            compact = prefix.upper() + colon + rest
        return compact if self._is_id(compact) else term.strip()

    def _named(self, term: str) -> str:
        return f"{term} ({self._names[term]})" if term in self._names else term

    def _is_id(self, term: str) -> bool:
        return term in self._parents or term in self._replacements or term in self._obsolete

    @property
    def replacements(self) -> Mapping[str, str]:
        """Merged or replaced id → current id."""
        return self._replacements

    @checked
    def closure(self, terms: Iterable[str]) -> frozenset[str]:
        """The terms and everything that they are kinds of; all must be in `terms`."""
        return frozenset().union(*(self._known(self._ancestors, term) for term in terms))

    @checked
    def most_specific(self, terms: Iterable[str]) -> frozenset[str]:
        """The terms that are no ancestor of another of them: they say all that the rest say."""
        given = frozenset(terms)
        above = frozenset().union(*(self._known(self._ancestors, term) - {term} for term in given))
        return given - above

    @checked
    def information(self, term: str) -> float:
        """Information content in nats."""
        return self._known(self._information, term) / UNIT

    @checked
    def steps(self, term: str) -> tuple[int, int]:
        """Return (information, increase over the most informative parent), in units of 1e-4 nat."""
        own = self._known(self._information, term)
        above = max((self._information[parent] for parent in self._parents[term]), default=0)
        return own, max(own - above, 0)

    @checked
    def name(self, term: str) -> str:
        """The term's name, or its id where none is known."""
        return self._names.get(term, term)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes over everything that decides a similarity: terms, parents and information.

        Names do not count; neither does what the release is called.
        """
        hasher = blake3(encode([self.vocabulary, self.root]))
        for term in self.terms:
            above = sorted(self._parents[term])
            hasher.update(encode([term, self._information[term], above]))
        for old, new in sorted(self._replacements.items()):
            hasher.update(encode([old, new]))
        return hasher.digest()

    def __len__(self) -> int:
        return len(self.terms)

    def __contains__(self, term: object) -> bool:
        return term in self._parents

    def __repr__(self) -> str:
        return f"<Ontology {self.release}: {len(self)} terms>"

    def _known(self, table: Mapping[str, Value], term: str) -> Value:
        try:
            return table[term]
        except KeyError:
            raise InputError(
                f"{term!r:.60} is none of the terms of {self.release}: ask `resolve` first, which "
                "knows other spellings and merged ids",
                field="term",
                actual=term,
            ) from None

    def _from_structure(self) -> dict[str, float]:
        """Estimate information from the graph alone: −log of the share of terms at or below."""
        below = dict.fromkeys(self.terms, 0)
        for above in self._ancestors.values():
            for term in above:
                below[term] += 1
        return {term: math.log(len(self)) - math.log(count) for term, count in below.items()}

    def _checked(self, information: Mapping[str, float]) -> dict[str, int]:
        missing = [term for term in self.terms if term not in information]
        if missing:
            raise InputError(
                f"{len(missing)} terms have no information, such as "
                f"{', '.join(missing[:_SHOWN])}; give it for all, or None to take it from the "
                "graph",
                field="information",
                actual=len(missing),
                limit=0,
            )
        kept = {}
        for term in self.terms:
            nats = information[term]
            if not 0.0 <= nats <= _MOST_INFORMATION:
                raise InputError(
                    f"{term} has information {nats!r:.40}; it is from 0 to {_MOST_INFORMATION:g}",
                    field="information",
                    actual=nats,
                )
            kept[term] = round(nats * UNIT)
        return kept


def _by_id(table: Mapping[Any, Value]) -> dict[str, Value]:
    return {as_id(term): value for term, value in table.items()}


def _vocabulary(terms: Iterable[str], release: str) -> str:
    prefixes = {term.partition(":")[0] if ":" in term else "" for term in terms}
    shared = prefixes.pop() if len(prefixes) == 1 else ""
    return shared or release.partition("/")[0]


def _ancestors(graph: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Map each term to its ancestors and itself; raises `InputError` if there is a cycle."""
    found: dict[str, frozenset[str]] = {}
    try:
        for term in TopologicalSorter(graph).static_order():
            found[term] = frozenset({term}).union(*(found[parent] for parent in graph[term]))
    except CycleError as error:
        circle = " is a ".join(map(str, error.args[1][: _SHOWN + 1]))
        raise InputError(
            f"the terms go in a circle: {circle}; a term cannot be a kind of itself",
            field="parents",
            actual=tuple(error.args[1]),
        ) from None
    return found
