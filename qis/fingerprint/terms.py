"""Fingerprints of sets of ontology terms: what a patient has, or a cohort is about.

The sketch holds the rarest terms as codes, so that whoever knows the ontology (and the secret, if
there is one) compares on the ontology's own scale. The similarity is a cosine over all terms and
their ancestors in which a term weighs √(IC · ΔIC), its information times what it adds to its
parents': a chain of ancestors that hardly differ then counts once, not once for each of them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from itertools import accumulate
from math import ceil, exp, log2, sqrt
from typing import Any, Final

from blake3 import blake3

from qis._gate import checked
from qis.about import SKETCH_SIZE, Fingerprint
from qis.errors import InputError
from qis.fingerprint.ontology import UNIT, Ontology, Resolution
from qis.fingerprint.scheme import Scheme

Terms = Iterable[str]

MAX_KEYS: Final = 32
_SKETCH_BITS: Final = 8 * SKETCH_SIZE
_LEAST_BITS: Final = 15
"""Bits of a term's code, at least: 17 codes fill a sketch, for up to 32,767 terms."""
_NULL_PAIRS: Final = 4_000
_NULL_TERMS: Final = 8
"""Random pairs, and terms of each profile, from which `percentile` is estimated."""
_CACHED: Final = 4_096
"""Sets of terms of which the squared weights are remembered."""


class TermScheme(Scheme[Terms]):
    """Fingerprints of sets of terms.

    Without a secret a sketch *is* its terms, to whoever has the ontology. With one it is
    meaningless to others, as are the routing keys.

    Parameters
    ----------
    ontology
        The release that all sites use. Another release is another scheme.
    secret
        32 bytes that a consortium shares.
    keys
        Most routing keys, 1 to 32: 8 touch few agents, 16 reach more.
    target_information
        The terms whose information is nearest to this, in nats, become routing keys: rarer ones
        are seldom shared, commoner ones lead to everybody.

    Raises
    ------
    InputError
        If a parameter is out of range.

    """

    default_min_similarity = 0.2

    def __init__(
        self,
        ontology: Ontology,
        *,
        secret: bytes | None = None,
        keys: int = 8,
        target_information: float = 5.5,
    ) -> None:
        if not isinstance(ontology, Ontology):
            raise InputError("ontology is a qis.Ontology", field="ontology")
        if type(keys) is not int or not 1 <= keys <= MAX_KEYS:
            raise InputError(
                f"keys is {keys!r:.40}; it is from 1 to {MAX_KEYS}",
                field="keys",
                actual=keys,
                limit=MAX_KEYS,
            )
        if not 0.0 < target_information <= 100.0:
            raise InputError(
                f"target_information is {target_information!r:.40}; it lies in (0, 100]",
                field="target_information",
                actual=target_information,
            )
        self.ontology = ontology
        self.keys = keys
        self._target = round(target_information * UNIT)
        super().__init__(
            ["qis terms 1", ontology.digest, keys, self._target],
            secret=secret,
            description=f"terms of {ontology.release}, {keys} keys near {target_information:g}",
        )
        self._bits = max(_LEAST_BITS, ceil(log2(len(ontology) + 1)))
        self.capacity = _SKETCH_BITS // self._bits
        # A term's code is its rank in an order that nobody knows without the secret.
        tag = {term: self._routing_key(0xFFFF, term.encode()) for term in ontology.terms}
        ordered = sorted(ontology.terms, key=lambda term: (tag[term], term))
        self._code = {term: code for code, term in enumerate(ordered, start=1)}
        self._term = dict(enumerate(ordered, start=1))
        steps = {term: ontology.steps(term) for term in ontology.terms}
        # Squares of weights are whole numbers, so sums of them are exact in any order.
        self._square = {term: own * added for term, (own, added) in steps.items()}
        self._rank = {term: (-own, term) for term, (own, _) in steps.items()}
        self._nearness = {term: (abs(own - self._target), term) for term, (own, _) in steps.items()}
        self._squares_of = lru_cache(_CACHED)(self._squares)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_squares_of"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._squares_of = lru_cache(_CACHED)(self._squares)  # a cache cannot be pickled

    def resolve(self, terms: Terms) -> Resolution:
        """Say which of the terms are used, and which are not and why.

        Raises
        ------
        InputError
            If none is used, or one is no text.

        """
        given = {terms} if isinstance(terms, str) else set(terms)
        for term in given:
            if type(term) is not str:
                raise InputError(f"terms are texts, not {term!r:.60}", field="features")
        found = self.ontology.resolve(given)
        if not found.terms:
            raise InputError(
                f"none of the {len(given)} terms is in {self.ontology.release}: "
                f"{'; '.join(found.warnings[:5]) or 'there is none'}",
                field="features",
                actual=tuple(sorted(given)),
            )
        return found

    def fingerprint(self, features: Terms) -> Fingerprint:
        """The fingerprint of a set of terms; its `warnings` say what was not used.

        Parameters
        ----------
        features
            Ids of terms, in any order. Those that others imply are left out, and of the rest the
            rarest are kept, as many as fit (17 with up to 32,767 terms).

        Raises
        ------
        InputError
            If no term is known, or one is no text.

        """
        found = self.resolve(features)
        rarest = sorted(self.ontology.most_specific(found.terms), key=self._rank.__getitem__)
        sketch = 0
        for code in sorted((self._code[term] for term in rarest[: self.capacity]), reverse=True):
            sketch = sketch << self._bits | code
        sketch <<= _SKETCH_BITS - self._bits * self.capacity
        return Fingerprint(
            sketch.to_bytes(SKETCH_SIZE, "big"),
            self.id,
            warnings=found.warnings,
            made_by=self._what,
        )

    def fingerprints(self, batch: Iterable[Terms]) -> list[Fingerprint]:
        """The fingerprints of many sets of terms."""
        return [self.fingerprint(terms) for terms in batch]

    def routing_keys(self, features: Terms) -> tuple[bytes, ...]:
        """Keys of the terms, ancestors included, whose information is nearest to the target."""
        closure = self.ontology.closure(self.resolve(features).terms)
        nearest = sorted(closure, key=self._nearness.__getitem__)[: self.keys]
        return tuple(sorted(self._routing_key(0, term.encode()) for term in nearest))

    @checked
    def terms_of(self, fingerprint: Fingerprint) -> tuple[str, ...]:
        """The terms that a sketch holds, sorted; codes that no term has are left out.

        Raises
        ------
        SchemeMismatchError
            If the fingerprint is of another scheme.

        """
        self._require_own(fingerprint)
        return tuple(sorted(self._term[code] for code in self.codes(fingerprint.sketch)))

    @checked
    def codes(self, sketch: bytes) -> frozenset[int]:
        """The codes of terms in a sketch, 1 to the number of terms."""
        rest = int.from_bytes(sketch, "big") >> _SKETCH_BITS - self._bits * self.capacity
        mask = (1 << self._bits) - 1
        found = set()
        while rest:
            found.add(rest & mask)
            rest >>= self._bits
        return frozenset(code for code in found if code in self._term)

    @checked
    def similarity(self, a: Fingerprint, b: Fingerprint) -> float:
        """Cosine of what two sketches hold, in [0, 1].

        Raises
        ------
        SchemeMismatchError
            If one of them is of another scheme.

        """
        return self._cosine(frozenset(self.terms_of(a)), frozenset(self.terms_of(b)))

    def relevance(self, features: Terms, fingerprint: Fingerprint) -> float:
        """Cosine of terms that are known in full and what a sketch holds, in [0, 1]."""
        return self._cosine(
            frozenset(self.resolve(features).terms), frozenset(self.terms_of(fingerprint))
        )

    @checked
    def percentile(self, similarity: float) -> float:
        """Share of pairs of random profiles that are less similar, in [0, 1].

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

    def explain(self, features: Terms, fingerprint: Fingerprint) -> str:
        """In words: how similar, which terms are shared, and which only one side has."""
        found = self.resolve(features)
        own = self.ontology.closure(found.terms)
        theirs = self.ontology.closure(self.terms_of(fingerprint))
        lines = [super().explain(features, fingerprint)]
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
        lines += found.warnings
        return "\n".join(lines)

    @checked
    def squared_weights(self, sketch: bytes) -> tuple[Mapping[str, int], int]:
        """Squared weight of every term that a sketch implies, and their sum, in whole units."""
        return self._squares(frozenset(self._term[code] for code in self.codes(sketch)))

    def _squares(self, terms: frozenset[str]) -> tuple[Mapping[str, int], int]:
        """Squared weight of each term of the closure, and their sum."""
        squares = {term: self._square[term] for term in self.ontology.closure(terms)}
        return squares, sum(squares.values())

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
        """Similarities of random pairs, ascending: the same for one ontology everywhere."""
        terms = [term for term in self.ontology.terms if self._square[term]]
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
        return sorted(self._cosine(one, other) for one, other in pairs)
