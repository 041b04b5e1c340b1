"""Hypothesis strategies that draw from everything that can be made, not from what is typical."""

import math
import struct
import unicodedata
from typing import Any

from qis._gate import checked
from qis._given import byte_string
from qis.errors import MissingExtraError

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import DrawFn, SearchStrategy
except ModuleNotFoundError as error:
    raise MissingExtraError(
        'the strategies of qis.testing need hypothesis: pip install "qis-protocol[test]"'
    ) from error

from qis.about import MAX_ROUTING_KEYS, SCHEME_ID_SIZE, Fingerprint
from qis.identity import Identity
from qis.outcomes import (
    MEASURES,
    Anchor,
    Counts,
    Derived,
    Effect,
    LikelihoodProfile,
    Moments,
    Outcome,
    QuadraticLikelihood,
    Record,
    Retraction,
    Suppressed,
)
from qis.outcomes._characters import refused_in
from qis.outcomes.anchor import MODELS
from qis.outcomes.profile import PROTECTION_SIZE
from qis.outcomes.retraction import RETRACTED_ROLES, RETRACTION_REASONS
from qis.outcomes.study import COHORT_SIZE, QUESTION_SIZE, Model
from qis.packet import MAX_LIFETIME_S, Packet

_FIRST_TIME, _LAST_TIME = 2**16, 2**32 - 1
_RATIOS = sorted(name for name, measure in MEASURES.items() if measure.is_ratio)


def identities() -> SearchStrategy[Identity]:
    """Signing keys.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(identities())
    ... def check(drawn):
    ...     assert len(drawn.issuer.key) == 32
    >>> check()

    """
    return st.binary(min_size=32, max_size=32).map(Identity.from_seed)


@checked
def fingerprints(scheme_id: bytes | None = None) -> SearchStrategy[Fingerprint]:
    """Fingerprints with any bits, of one scheme or of any.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(fingerprints())
    ... def check(drawn):
    ...     assert len(drawn.sketch) == 32
    >>> check()

    """
    size = SCHEME_ID_SIZE
    if scheme_id is None:
        ids = st.binary(min_size=size, max_size=size)
    else:
        ids = st.just(byte_string(scheme_id, "scheme_id", size))
    return st.builds(Fingerprint, st.binary(min_size=32, max_size=32), ids)


def routing_keys() -> SearchStrategy[tuple[bytes, ...]]:
    """Sets of routing keys that leave room for the study's id.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(routing_keys())
    ... def check(drawn):
    ...     assert all(len(key) == 8 for key in drawn)
    >>> check()

    """
    key = st.binary(min_size=8, max_size=8)
    return st.lists(key, max_size=MAX_ROUTING_KEYS - 1, unique=True).map(tuple)


def questions() -> SearchStrategy[str]:
    """Questions up to the limit, in any script.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(questions())
    ... def check(drawn):
    ...     assert len(drawn.encode()) <= 48
    >>> check()

    """
    return _texts(QUESTION_SIZE, min_size=1)


@st.composite
def effects(draw: DrawFn) -> Effect:
    """Effects of every measure, with every finite estimate in its domain.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(effects())
    ... def check(drawn):
    ...     assert drawn.standard_error > 0.0
    >>> check()

    """
    measure = MEASURES[draw(st.sampled_from(sorted(MEASURES)))]
    return Effect(
        question=draw(questions()),
        cohort=draw(_texts(COHORT_SIZE)),
        measure=measure.name,
        estimate=draw(st.floats(*measure.bounds)),
        standard_error=draw(st.floats(*measure.errors)),
        n=draw(st.none() | st.integers(1, 2**32 - 1)),
    )


@st.composite
def profiles(draw: DrawFn) -> LikelihoodProfile:
    """Profiles of binomial shape: with a maximum, monotone to either side, or level.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(profiles())
    ... def check(drawn):
    ...     assert len(drawn.values) == 9
    >>> check()

    """
    successes = draw(st.integers(0, 30))
    failures = draw(st.integers(0, 30))
    shift = draw(st.floats(-3.0, 3.0))

    def log_likelihood(theta: float) -> float:
        x = theta - shift
        up = max(x, 0.0) + math.log1p(math.exp(-abs(x)))
        return successes * x - (successes + failures) * up

    return LikelihoodProfile.from_function(
        question=draw(questions()),
        cohort=draw(_texts(COHORT_SIZE)),
        measure=draw(st.sampled_from(_RATIOS)),
        log_likelihood=log_likelihood,
        n=draw(st.none() | st.integers(0, 2**32 - 1)),
        events=draw(st.none() | st.integers(0, 2**32 - 1)),
        protection=draw(_texts(PROTECTION_SIZE)),
    )


@st.composite
def counts(draw: DrawFn) -> Counts:
    """Counts of one arm or two, with and without person-time, zero and full cells included.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(counts())
    ... def check(drawn):
    ...     assert drawn.events >= 0
    >>> check()

    """
    arms = draw(st.integers(1, 2))
    timed = draw(st.booleans())
    sizes = st.sampled_from((10, 1000, 2**31 - 1))
    totals = [draw(sizes.flatmap(lambda size: st.integers(1, size))) for _ in range(arms)]
    events = [draw(st.integers(0, 2**31 - 1 if timed else total)) for total in totals]
    times = [draw(st.floats(1e-12, 1e15)) if timed else None for _ in totals]
    rest: dict[str, Any] = {}
    if arms == 2:
        rest = {"control_events": events[1], "control_total": totals[1]}
        rest["control_person_time"] = times[1]
    return Counts(
        question=draw(questions()),
        cohort=draw(_texts(COHORT_SIZE)),
        events=events[0],
        total=totals[0],
        person_time=times[0],
        **rest,
    )


@st.composite
def quadratics(draw: DrawFn) -> QuadraticLikelihood:
    """Quadratic likelihoods of up to 12 coefficients, nearly collinear ones included.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(quadratics())
    ... def check(drawn):
    ...     assert drawn.n >= 1
    >>> check()

    """
    size = draw(st.integers(1, 12))
    number = st.floats(-3.0, 3.0, width=16)
    rows = [draw(st.lists(number, min_size=size, max_size=size)) for _ in range(2)]
    ridge = draw(st.sampled_from((1e-3, 1.0, 1e6)))
    # A sum of squares plus a diagonal is an information matrix whatever the numbers are.
    information = [
        [sum(row[i] * row[j] for row in rows) + ridge * (i == j) for j in range(size)]
        for i in range(size)
    ]
    return QuadraticLikelihood.from_terms(
        question=draw(questions()),
        cohort=draw(_texts(6)),
        model=draw(st.sampled_from(sorted(MODELS))),
        score=draw(st.lists(number, min_size=size, max_size=size)),
        information=information,
        anchor=draw(st.lists(number, min_size=size, max_size=size)),
        n=draw(st.integers(1, 2**16 - 1)),
        events=draw(st.none() | st.integers(0, 2**16 - 1)),
        log_likelihood=draw(st.none() | st.floats(-1e6, 1e6)),
    )


@st.composite
def anchors(draw: DrawFn) -> Anchor:
    """Anchors of up to 14 coefficients.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(anchors())
    ... def check(drawn):
    ...     assert len(drawn.anchor_id) == 8
    >>> check()

    """
    numbers = st.floats(-(2.0**100), 2.0**100)
    return Anchor(
        question=draw(questions()),
        cohort=draw(_texts(COHORT_SIZE)),
        model=draw(st.sampled_from(sorted(MODELS))),
        coefficients=tuple(draw(st.lists(numbers, min_size=1, max_size=14))),
        names_hash=draw(st.binary(min_size=8, max_size=8)),
    )


@st.composite
def moments(draw: DrawFn) -> Moments:
    """Moments of one arm or two.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(moments())
    ... def check(drawn):
    ...     assert drawn.n >= 1
    >>> check()

    """
    reals, ss = st.floats(-1e60, 1e60), st.floats(0.0, 1e120)
    arms = {"total": st.integers(1, 2**31 - 1), "mean": reals, "ss": ss}
    given: dict[str, Any] = {name: draw(strategy) for name, strategy in arms.items()}
    if draw(st.booleans()):
        given |= {f"control_{name}": draw(strategy) for name, strategy in arms.items()}
    return Moments(question=draw(questions()), cohort=draw(_texts(COHORT_SIZE)), **given)


@st.composite
def records(draw: DrawFn) -> Record:
    """Records of nested maps and lists that fit a packet.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(records())
    ... def check(drawn):
    ...     assert drawn.kind == 6
    >>> check()

    """
    leaf = (
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.floats(-1e300, 1e300).filter(lambda x: abs(x) < 2**53)
        | _texts(12)
        | st.binary(max_size=12)
    )
    inner = st.lists(leaf, max_size=3) | st.dictionaries(_texts(6), leaf, max_size=3)
    return Record(
        question=draw(_texts(16, min_size=1)),
        content=draw(st.dictionaries(_texts(6), leaf | inner, max_size=4)),
    )


@st.composite
def derivations(draw: DrawFn) -> Derived:
    """Derived outcomes under both models.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(derivations())
    ... def check(drawn):
    ...     assert drawn.kind == 8
    >>> check()

    """
    measure = MEASURES[draw(st.sampled_from(sorted(MEASURES)))]
    model: Model = draw(st.sampled_from(("fixed", "random")))
    return Derived(
        question=draw(questions()),
        cohort=draw(_texts(COHORT_SIZE)),
        measure=measure.name,
        model=model,
        estimate=draw(st.floats(*measure.bounds)),
        standard_error=draw(st.floats(*measure.errors)),
        tau2=0.0 if model == "fixed" else draw(st.floats(0.0, measure.errors[1])),
        sites=draw(st.integers(1, 2**32 - 1)),
    )


def suppressions() -> SearchStrategy[Suppressed]:
    """Outcomes that say that a result is kept back.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(suppressions())
    ... def check(drawn):
    ...     assert drawn.kind == 10
    >>> check()

    """
    return st.builds(Suppressed, question=questions(), cohort=_texts(COHORT_SIZE))


@st.composite
def retractions(draw: DrawFn) -> Retraction:
    """Retractions for every reason, of evidence, syntheses and anchors.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(retractions())
    ... def check(drawn):
    ...     assert drawn.kind == 9
    >>> check()

    """
    return Retraction(
        question=draw(questions()),
        cohort=draw(_texts(COHORT_SIZE)),
        reason=draw(st.sampled_from(sorted(RETRACTION_REASONS))),
        role=draw(st.sampled_from(RETRACTED_ROLES)),
    )


def outcomes() -> SearchStrategy[Outcome]:
    """Outcomes of every kind.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(outcomes())
    ... def check(drawn):
    ...     assert len(drawn.study_id) == 8
    >>> check()

    """
    return st.one_of(
        effects(),
        counts(),
        moments(),
        profiles(),
        quadratics(),
        records(),
        anchors(),
        derivations(),
        retractions(),
        suppressions(),
    )


@checked
def packets(
    *,
    of: SearchStrategy[Outcome] | None = None,
    by: SearchStrategy[Identity] | None = None,
) -> SearchStrategy[Packet]:
    """Signed packets; by default with every kind of outcome, by any key, at any time.

    Parameters
    ----------
    of
        Strategy for the outcomes.
    by
        Strategy for the signing identities.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(packets())
    ... def check(drawn):
    ...     assert len(bytes(drawn)) == 512
    >>> check()

    """
    return _packets(outcomes() if of is None else of, identities() if by is None else by)


@st.composite
def _packets(draw: DrawFn, of: SearchStrategy[Outcome], by: SearchStrategy[Identity]) -> Packet:
    outcome = draw(of)
    leaf = st.binary(min_size=12, max_size=12)
    issued_at = draw(st.integers(_FIRST_TIME, _LAST_TIME - 1))
    lifetime_s = draw(st.integers(1, min(MAX_LIFETIME_S, _LAST_TIME - issued_at)))
    return Packet.sign(
        draw(by),
        outcome=outcome,
        fingerprint=draw(fingerprints()),
        issued_at=issued_at,
        lifetime_s=lifetime_s,
        sequence=draw(st.integers(2**32, 2**64 - 1)),
        routing_keys=draw(routing_keys()),
        leaves=draw(st.lists(leaf, max_size=8)) if isinstance(outcome, Derived) else (),
    )


@checked
def mutations(data: bytes) -> SearchStrategy[bytes]:
    """Bytes that differ from `data`: bits flipped, pieces cut, doubled, swapped or overwritten.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=1, deadline=None, database=None)
    ... @given(mutations(b"abc"))
    ... def check(drawn):
    ...     assert drawn != b"abc"
    >>> check()

    """
    return _mutations(data)


@st.composite
def _mutations(draw: DrawFn, data: bytes) -> bytes:
    mutated = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(mutated)))
        end = draw(st.integers(start, min(len(mutated), start + 64)))
        kind = draw(st.sampled_from(("flip", "cut", "double", "overwrite", "number")))
        if kind == "flip" and start < len(mutated):
            mutated[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del mutated[start:end]
        elif kind == "double":
            mutated[end:end] = mutated[start:end]
        elif kind == "overwrite":
            mutated[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
        elif kind == "number" and start + 8 <= len(mutated):
            extreme = draw(st.sampled_from((math.nan, -0.0, math.inf, 1e308)))
            mutated[start : start + 8] = struct.pack("<d", extreme)
    if bytes(mutated) == data:
        mutated.append(0)
    return bytes(mutated)


def _texts(size: int, *, min_size: int = 0) -> SearchStrategy[str]:
    """Text as the fields of outcomes keep it, of at most `size` bytes of UTF-8."""
    # A newer Python draws letters that no packet may hold yet; a filler is a letter to Unicode.
    visible = st.characters(exclude_categories=("C", "Z")).filter(lambda c: refused_in(c) is None)
    letters = visible | st.just(" ")

    def kept(text: str) -> str:
        folded = " ".join(unicodedata.normalize("NFC", text).split())
        return folded.encode()[:size].decode(errors="ignore").strip()

    texts = st.text(letters, min_size=min_size, max_size=size).map(kept)
    return texts.filter(lambda text: len(text) >= min_size)
