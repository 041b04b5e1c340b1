"""Fingerprints of sets of ontology terms: what a patient has, or a cohort is about.

The sketch holds terms as codes that no release changes, so that whoever knows the vocabulary
compares on the scale of the own release; a secret seals it, and changes no code. The similarity is
a cosine over all terms and their ancestors in which a term weighs √(IC · ΔIC), its information
times what it adds to its parents': a chain of ancestors that hardly differ then counts once, not
once for each of them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import accumulate, islice, zip_longest
from math import exp, sqrt
from typing import Any, Final, TypeGuard

from blake3 import blake3

from qis._gate import checked
from qis._given import iterable, several
from qis.about import SKETCH_SIZE, Fingerprint, Interest
from qis.errors import InputError
from qis.fingerprint.codes import codes_of
from qis.fingerprint.levels import MAX_KEYS, Level, LoadBudget
from qis.fingerprint.matching import Ladder, best_match, joined, ladders, likelihood_ratio
from qis.fingerprint.ontology import Ontology, Resolution
from qis.fingerprint.scheme import Scheme

Terms = Iterable[str | int]

_SKETCH_BITS: Final = 8 * SKETCH_SIZE
_NULL_PAIRS: Final = 4_000
_NULL_TERMS: Final = 8
"""Random pairs, and terms of each profile, from which `percentile` is estimated."""
_CALIBRATED: Final = "HP"
"""Vocabulary in which likelihood ratios were calibrated."""
_CACHED: Final = 4_096
"""Sets of terms of which the squared weights are remembered."""


_DEFAULT_LEVEL: Final = LoadBudget()
_NARROW: Final = 0.1
"""Top fractions below it are told what they lose: of a patient's mates .77 are in this one."""


class TermScheme(Scheme[Terms]):
    """Fingerprints of sets of terms.

    A sketch *is* its terms, to whoever knows the vocabulary; with a secret, packets carry it
    sealed. Sites compare
    whatever release each of them has: a sketch holds ids, and information content is the reader's.

    Parameters
    ----------
    ontology
        This site's release.
    secret
        32 bytes that a consortium shares.
    levels
        What the routing keys are made of, one level or a list; of several a profile has all keys,
        at most 32 together. Each site chooses its own: it is no part of the scheme.

    Raises
    ------
    InputError
        If a parameter is out of range, or two terms of the ontology cannot be told apart.

    Examples
    --------
    >>> toy = Ontology("toy/1", {"a fever": ["fever"], "fever": [], "rash": []}, None)
    >>> scheme = TermScheme(toy)
    >>> scheme.terms_of(scheme.fingerprint(["a fever"]))
    ('a fever',)

    """

    default_min_similarity = 0.0

    def __init__(
        self,
        ontology: Ontology,
        *,
        secret: bytes | None = None,
        levels: Level | Iterable[Level] = _DEFAULT_LEVEL,
    ) -> None:
        if not isinstance(ontology, Ontology):
            raise InputError("ontology is a qis.Ontology", field="ontology")
        self.ontology = ontology
        self.levels = _checked_levels(levels)
        codes = codes_of(ontology.vocabulary)
        super().__init__(
            ["qis terms 2", ontology.vocabulary, codes.name],
            secret=secret,
            description=f"terms of {ontology.vocabulary}",
        )
        self._bits = codes.bits
        self.capacity = _SKETCH_BITS // codes.bits
        self._code: dict[str, int] = {}
        self._term: dict[int, str] = {}
        # The commoner of two terms with one code, which a patient is likelier to have, and one that
        # is in use before one that was merged into another: what is written last stays.
        rank = {term: ontology.steps(term)[0] for term in ontology.terms}
        for term in sorted(ontology.terms, key=lambda term: (-rank[term], term)):
            self._note(codes.code(term), term, term)
        for old, new in sorted(ontology.replacements.items()):
            code = codes.code(old)
            if code is not None and code not in self._term:
                self._note(code, old, new)
        self._order = {term: blake3(term.encode()).digest(8) for term in self._code}
        steps = {term: ontology.steps(term) for term in ontology.terms if ontology.is_used(term)}
        # Squares of weights are whole numbers, so sums of them are exact in any order.
        self._square = {term: own * added for term, (own, added) in steps.items()}
        self._rank = {term: (-own, term) for term, (own, _) in steps.items()}
        self._remember()

    def _remember(self) -> None:
        self._squares_of = lru_cache(_CACHED)(self._squares)
        self._ladders_of = lru_cache(_CACHED)(self._ladders)

    def _note(self, code: int | None, given: str, term: str) -> None:
        if code is not None:
            self._code[given] = code
            self._term[code] = term

    def __getstate__(self) -> dict[str, Any]:
        caches = {"_squares_of", "_ladders_of"}  # which cannot be pickled
        return {name: value for name, value in vars(self).items() if name not in caches}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._remember()

    def resolve(self, terms: Terms | str | int) -> Resolution:
        """Say which of the terms are used, and which are not and why.

        Parameters
        ----------
        terms
            Ids in any usual spelling (see `Ontology.resolve`), one alone, a list, an array.

        Raises
        ------
        InputError
            If none is used, or one is neither text nor whole number.

        """
        return self._resolved(terms, "terms")

    def _resolved(self, terms: Terms | str | int, field: str) -> Resolution:
        given = [terms] if isinstance(terms, (str, int)) else list(iterable(terms, field, "ids"))
        found = self.ontology.resolve(given)
        if not found.terms:
            raise InputError(
                f"none of the {len(given)} terms is used, of {self.ontology.release}: "
                f"{'; '.join(found.warnings[:5]) or 'there is none'}",
                field=field,
                actual=tuple(map(str, given)),
            )
        return found

    def fingerprint(self, features: Terms) -> Fingerprint:
        """The fingerprint of a set of terms; its `warnings` say what was not used.

        Parameters
        ----------
        features
            Ids of terms, in any order. Those that others imply are left out. If more are left than
            fit (16 of HPO, 12 of other vocabularies), a hash of the ids chooses, the same in every
            release.

        Raises
        ------
        InputError
            If no term is known, or one is neither text nor whole number.

        """
        found = self._resolved(features, "features")
        telling = self.ontology.most_specific(found.terms)
        coded = sorted(telling & self._code.keys(), key=self._order.__getitem__)
        warnings = [
            f"{term} is newer than this version's table of ids: not in the sketch"
            for term in sorted(telling - self._code.keys())
        ]
        if len(coded) > self.capacity:
            left_out = ", ".join(sorted(coded[self.capacity :]))
            warnings.append(
                f"{self.capacity} terms fit a sketch; {len(coded) - self.capacity} of "
                f"{len(coded)} are left out: {left_out}"
            )
        sketch = 0
        for code in sorted((self._code[term] for term in coded[: self.capacity]), reverse=True):
            sketch = sketch << self._bits | code
        sketch <<= _SKETCH_BITS - self._bits * self.capacity
        return Fingerprint(
            sketch.to_bytes(SKETCH_SIZE, "big"),
            self.id,
            warnings=(*found.warnings, *warnings),
            made_by=self._what,
            is_open=self.is_keyed,
        )

    def fingerprints(self, batch: Iterable[Terms]) -> list[Fingerprint]:
        """The fingerprints of many sets of terms."""
        return [self.fingerprint(terms) for terms in several(batch, "batch", "sets of terms")]

    @checked
    def routing_keys(
        self,
        features: Terms,
        *,
        at: float | None = None,
        levels: Level | Iterable[Level] | None = None,
    ) -> tuple[bytes, ...]:
        """The routing keys of a set of terms: `base_keys`, of an epoch if there is a secret.

        Parameters
        ----------
        features
            Ids of terms.
        at
            As for `Scheme.routing_keys`; needed with a secret.
        levels
            Levels of this packet only; default: the scheme's.

        """
        return self._keys_at(self.base_keys(features, levels=levels), at)

    def base_keys(
        self, features: Terms, *, levels: Level | Iterable[Level] | None = None
    ) -> tuple[bytes, ...]:
        """The keys of a set of terms, of all levels; default: the scheme's levels.

        At most 32: levels take turns, each with its most telling key next, until that many are
        found.

        Raises
        ------
        InputError
            If no term is known, or no level has a key for any.

        """
        chosen = self.levels if levels is None else _checked_levels(levels)
        terms = self._resolved(features, "features").terms
        turns = zip_longest(*(level.contents(terms, self.ontology) for level in chosen))
        contents = dict.fromkeys(content for turn in turns for content in turn if content)
        keys = islice((self._routing_key(0, content) for content in contents), MAX_KEYS)
        found = tuple(sorted(keys))
        if not found:
            raise InputError(
                "no level has a key for these terms, so nobody would be met: cells know none of "
                "them; take LoadBudget() beside",
                field="levels",
                actual=terms,
            )
        return found

    def interest(
        self,
        features: Terms,
        *,
        min_similarity: float | None = None,
        top_fraction: float | None = None,
        studies: Iterable[bytes] = (),
        share_sketch: bool | None = None,
        levels: Level | Iterable[Level] | None = None,
    ) -> Interest:
        """A standing query for whatever shares a routing key with these terms.

        Parameters
        ----------
        features
            What the subscriber works on.
        min_similarity, top_fraction
            Take only what is at least so similar; or, of random pairs, this fraction. Default:
            everything that the keys bring, since a filter loses more mates than it spares work: a
            fraction of .10 keeps .77 of a patient's mates, one of .05 .70, and below .10 the
            interest's ``fingerprint.warnings`` say so. For the best k, take ``ranked(…, top=k)``.
        studies
            Ids of studies of which everything is wanted.
        share_sketch
            True: the sketch is registered at other nodes beside the routing keys. Default: false.
        levels
            Levels of this interest only; default: the scheme's.

        Raises
        ------
        InputError
            If no term is known, both limits are given, or one is out of (0, 1].

        """
        found = super().interest(
            features,
            min_similarity=min_similarity,
            top_fraction=top_fraction,
            studies=studies,
            share_sketch=share_sketch,
        )
        if top_fraction is not None and top_fraction < _NARROW:
            told = (
                f"top_fraction={top_fraction:g} loses three in ten of a patient's mates or more; "
                "without it all that the routing keys bring is taken, and ranked(…) orders it"
            )
            warned = replace(found.fingerprint, warnings=(*found.fingerprint.warnings, told))
            found = replace(found, fingerprint=warned)
        if levels is None:
            return found
        return replace(found, routing_keys=self.base_keys(features, levels=levels))

    @checked
    def terms_of(self, fingerprint: Fingerprint) -> tuple[str, ...]:
        """The terms that a sketch holds, sorted; codes that no term has are left out.

        Raises
        ------
        SchemeMismatchError
            If the fingerprint is of another scheme.

        """
        self.require_own(fingerprint)
        return tuple(sorted(self._term[code] for code in self.codes(fingerprint.sketch)))

    @checked
    def codes(self, sketch: bytes) -> frozenset[int]:
        """The codes in a sketch that are terms of this release."""
        return frozenset(code for code in self.written(sketch) if code in self._term)

    @checked
    def written(self, sketch: bytes) -> set[int]:
        """All codes in a sketch, those of terms that this release does not have too."""
        rest = int.from_bytes(sketch, "big") >> _SKETCH_BITS - self._bits * self.capacity
        mask = (1 << self._bits) - 1
        found = set()
        while rest:
            found.add(rest & mask)
            rest >>= self._bits
        return found - {0}

    @checked
    def similarity(self, a: Fingerprint, b: Fingerprint) -> float:
        """Cosine of what two sketches hold, in [0, 1]: the same as `kernel`.

        Raises
        ------
        SchemeMismatchError
            If one of them is of another scheme.

        """
        return self.kernel(a, b)

    @property
    def chance(self) -> float:
        """What `kernel` is for two profiles that have nothing in common."""
        return 0.0

    @checked
    def kernel(self, a: Fingerprint, b: Fingerprint) -> float:
        """Cosine of what two sketches hold, in [0, 1]; positive semidefinite.

        Raises
        ------
        SchemeMismatchError
            If one of them is of another scheme.

        """
        return self._cosine(frozenset(self.terms_of(a)), frozenset(self.terms_of(b)))

    @checked
    def relevance(self, features: Terms, fingerprint: Fingerprint) -> float:
        """How relevant a sketch is to terms that are known in full, in [0, 1].

        Two thirds are the cosine, one third the best match: the share of the own terms' information
        that is met there, by a term or the most informative of what it is a kind of. Not symmetric.
        """
        return self._relevance(
            frozenset(self._resolved(features, "features").terms),
            frozenset(self.terms_of(fingerprint)),
        )

    @checked
    def likelihood_ratio(self, features: Terms, fingerprint: Fingerprint) -> float:
        """How many times likelier this relevance is for the same disease than for another.

        Above 1 it speaks for the same rare disease, below 1 against it. Calibrated on published
        cases of rare diseases with information from annotated diseases (docs/fingerprints.md), so
        it is there for the Human Phenotype Ontology only. Between .008 and 2,400.

        Raises
        ------
        InputError
            If the vocabulary is another, or no term is used.
        SchemeMismatchError
            If the fingerprint is of another scheme.

        """
        if self.ontology.vocabulary != _CALIBRATED:
            raise InputError(
                "likelihood ratios are calibrated for the Human Phenotype Ontology, not for "
                f"{self.ontology.vocabulary!r:.40}; use relevance and percentile",
                field="vocabulary",
                actual=self.ontology.vocabulary,
                limit=_CALIBRATED,
            )
        return likelihood_ratio(self.relevance(features, fingerprint))

    @checked
    def odds(self, features: Terms, fingerprint: Fingerprint, *, prior: float) -> float:
        """Odds that a patient has the same disease, from the reader's own prior probability.

        Parameters
        ----------
        features, fingerprint
            The reader's patient in full, and what another's packet says.
        prior
            How probable it was before looking, in (0, 1): with two mates among 10,000 patients that
            were delivered, 0.0002. There is no default, since everything depends on it.

        Raises
        ------
        InputError
            If the prior is out of range, or as for `likelihood_ratio`.

        """
        if not 0.0 < prior < 1.0:
            raise InputError(
                f"prior is {prior!r:.40}; it is a probability in (0, 1)",
                field="prior",
                actual=prior,
                limit=(0.0, 1.0),
            )
        return prior / (1.0 - prior) * self.likelihood_ratio(features, fingerprint)

    @checked
    def percentile(self, similarity: float) -> float:
        """Share of pairs of random profiles that are less relevant to one another, in [0, 1].

        Profiles of eight terms, drawn with the frequency that their information says. Patients of
        one clinic are more alike than that.
        """
        if not 0.0 <= similarity <= 1.0:
            raise InputError(f"similarity is {similarity!r}; it lies in [0, 1]", field="similarity")
        return bisect_left(self._null, similarity - 1e-12) / len(self._null)

    @checked
    def similarity_at(self, top_fraction: float) -> float:
        """The smallest similarity that at most this fraction of random pairs reaches."""
        if not 0.0 < top_fraction <= 1.0:
            raise InputError(
                f"top_fraction is {top_fraction!r}; it lies in (0, 1]", field="top_fraction"
            )
        null = self._null
        allowed = int(top_fraction * len(null) + 1e-9)
        if allowed >= len(null):
            return 0.0
        # Strictly above the first pair that may not reach it.
        first_above = bisect_right(null, null[len(null) - allowed - 1])
        return null[first_above] if first_above < len(null) else 1.0

    @checked
    def explain(self, features: Terms, fingerprint: Fingerprint, *, excluded: Terms = ()) -> str:
        """In words: how similar, which terms are shared, and which only one side has.

        Parameters
        ----------
        features, fingerprint
            This patient's terms, and what another's packet says.
        excluded
            Terms that this patient was found not to have. No similarity uses them; those that the
            other side has are named, since they speak against the same disease.
        """
        found = self._resolved(features, "features")
        own = self.ontology.closure(found.terms)
        theirs = self.ontology.closure(self.terms_of(fingerprint))
        lines = [super().explain(features, fingerprint)]
        if self.ontology.vocabulary == _CALIBRATED:
            ratio = self.likelihood_ratio(features, fingerprint)
            lines.append(f"likelihood ratio of the same disease: {ratio:.2g}")
        for heading, terms in (
            ("shared", own & theirs),
            ("only here", own - theirs),
            ("only there", theirs - own),
        ):
            telling = self.ontology.most_specific(terms)
            names = [
                self.ontology.name(term) for term in sorted(telling, key=self._rank.__getitem__)
            ]
            lines.append(f"{heading}: {', '.join(names) or 'nothing'}")
        absent = frozenset(self.ontology.resolve(iterable(excluded, "excluded", "ids")).terms)
        if absent:
            # To have a kind of what is excluded is to have it.
            names = [self.ontology.name(term) for term in sorted(absent & theirs)]
            lines.append(f"excluded here, present there: {', '.join(names) or 'nothing'}")
        lines += found.warnings
        written = self.written(fingerprint.sketch)
        unread = len(written) - len(self.codes(fingerprint.sketch))
        if unread:
            lines.append(
                f"{unread} of {len(written)} terms there are not in {self.ontology.release}: "
                "not compared"
            )
        return "\n".join(lines)

    @checked
    def squared_weights(self, sketch: bytes) -> tuple[Mapping[str, int], int]:
        """Squared weight of every term that a sketch implies, and their sum, in whole units."""
        return self._squares(frozenset(self._term[code] for code in self.codes(sketch)))

    def _squares(self, terms: frozenset[str]) -> tuple[Mapping[str, int], int]:
        """Squared weight of each term of the closure, and their sum."""
        squares = {
            term: self._square[term]
            for term in self.ontology.closure(terms)
            if term in self._square
        }
        return squares, sum(squares.values())

    def _ladders(self, terms: frozenset[str]) -> tuple[Ladder, ...]:
        return ladders(terms, self.ontology)

    def _relevance(self, own: frozenset[str], theirs: frozenset[str]) -> float:
        if own == theirs:
            return 1.0
        best = best_match(self._ladders_of(own), self._squares_of(theirs)[0])
        return joined(self._cosine(own, theirs), best)

    def _cosine(self, a: frozenset[str], b: frozenset[str]) -> float:
        if a == b:
            return 1.0
        (few, few_total), (many, many_total) = sorted(
            (self._squares_of(a), self._squares_of(b)), key=lambda item: len(item[0])
        )
        shared = sum(square for term, square in few.items() if term in many)
        return min(shared / sqrt(few_total * many_total), 1.0) if shared else 0.0

    @cached_property
    def _null(self) -> list[float]:
        """Relevances of random pairs, ascending: the same for one ontology everywhere."""
        terms = [term for term, square in self._square.items() if square]
        shares = [round(exp(-self.ontology.information(term)) * 2**32) for term in terms]
        ends = list(accumulate(shares))
        if not ends or not ends[-1]:
            return [0.0]
        draws = blake3(b"qis null" + self.ontology.digest).digest(16 * _NULL_PAIRS * _NULL_TERMS)
        numbers = [
            int.from_bytes(draws[offset : offset + 8], "big") % ends[-1]
            for offset in range(0, len(draws), 8)
        ]
        drawn = [terms[bisect_right(ends, number)] for number in numbers]
        profiles = [
            frozenset(drawn[start : start + _NULL_TERMS])
            for start in range(0, len(drawn), _NULL_TERMS)
        ]
        pairs = zip(profiles[::2], profiles[1::2], strict=True)
        return sorted(self._relevance(one, other) for one, other in pairs)


def _checked_levels(levels: Level | Iterable[Level]) -> tuple[Level, ...]:
    if _is_level(levels):
        return (levels,)
    found = tuple(iterable(levels, "levels", "levels, such as LoadBudget()"))
    if not found or not all(map(_is_level, found)):
        raise InputError(
            "levels is a level such as LoadBudget(), or a list of at least one",
            field="levels",
            actual=found,
        )
    return found


def _is_level(value: object) -> TypeGuard[Level]:
    return callable(getattr(value, "contents", None))
