"""Sketches of sets of strings: MinHash of few bits, the same for any order and repetition.

Sampling is that of fast similarity sketching (Dahlgaard, Knudsen and Thorup, FOCS 2017): each round
throws every element into one of 64 bins, an empty bin keeps the smallest hash that it gets, and
rounds 65 to 128 fill bin after bin. It costs one hash an element, unlike 64 permutations, and stays
unbiased and concentrated for sets of any size, unlike one-permutation hashing with densification,
which loses precision when there are fewer elements than bins. Of each bin the sketch keeps 4 bits
(b-bit minwise hashing: Li and König, WWW 2010).
"""

from collections.abc import Collection, Iterable
from typing import Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from qis._given import several
from qis.about import Fingerprint
from qis.errors import InputError
from qis.fingerprint.fields import SKETCH_BITS, FieldScheme

_FIELD_BITS = 4
_BINS = SKETCH_BITS // _FIELD_BITS
_BIN_BITS = 6
_CHANCE = _BINS // 2**_FIELD_BITS
_ALL_ROUNDS = 2 * _BINS
_DRAWS = 600  # of so many balls all 64 bins get one, save once in 200 sets
_WORD = 8
_MAX_BANDS = 42

Words = npt.NDArray[np.uint64]


class SetScheme(FieldScheme[Iterable[str]]):
    """Fingerprints of sets of strings: codes, drugs, genes, words.

    `similarity` estimates the Jaccard index J, the share of the union that two sets have in common:
    (m - 4)/60 at m of 64 equal fields, with values under 0 raised to 0. Before that the estimate is
    unbiased, with standard deviation sqrt((1 + 15 J)(1 - J)/960): .03 at J = 0, .06 at .25, .07 at
    .5. Of 1, 2, 4 and 8 bits a field in the same 32 bytes, 4 ranks best where most pairs have
    little in common; from J = .4 on narrower fields would estimate better.

    Strings are compared after Unicode normalisation (NFC) and otherwise as they are: fold case and
    spaces as your codes need.

    Parameters
    ----------
    secret
        32 bytes, see `Scheme`.
    bands, rows
        One routing key for each of `bands` groups of `rows` bins; together at most 64 bins, and at
        most 42 bands. Two sets share a key with probability 1 - (1 - J^rows)^bands: at 24 × 2 with
        .06, .78 and .999 for J = .05, .25 and .5. One row finds J = .1 with .92, and many others.

    Raises
    ------
    InputError
        If a parameter is out of range.

    Examples
    --------
    >>> import qis
    >>> scheme = qis.SetScheme()
    >>> one, other = scheme.fingerprint({"fever", "cough"}), scheme.fingerprint({"fever", "rash"})
    >>> 0.0 < scheme.similarity(one, other) < 1.0
    True

    """

    field_bits = _FIELD_BITS
    similarities = tuple(max(0, equal - _CHANCE) / (_BINS - _CHANCE) for equal in range(_BINS + 1))
    default_min_similarity = 0.2

    def __init__(self, *, secret: bytes | None = None, bands: int = 24, rows: int = 2) -> None:
        for name, value in (("bands", bands), ("rows", rows)):
            if type(value) is not int or value < 1:
                raise InputError(
                    f"{name} is {value!r:.60}; it is a whole number from 1 on",
                    field=name,
                    actual=value,
                    limit=1,
                )
        if bands > _MAX_BANDS or bands * rows > _BINS:
            raise InputError(
                f"{bands} bands of {rows} rows; at most {_MAX_BANDS} bands and {_BINS} bins "
                "together",
                field="bands",
                actual=(bands, rows),
                limit=_BINS,
            )
        super().__init__(["qis sets 1", bands, rows], secret=secret)
        self.bands = bands
        self.rows = rows
        self._element_key = self._derive(b"elements", 32)

    def fingerprints(self, batch: Iterable[Iterable[str]]) -> list[Fingerprint]:
        """The fingerprints of many sets.

        Parameters
        ----------
        batch
            Sets, lists or other iterables of strings; order and repetition do not matter.

        Raises
        ------
        InputError
            If one is empty, is itself a string, or holds anything but Unicode strings.

        """
        sets = several(batch, "batch", "sets of strings")
        return [
            Fingerprint(
                _sketch(self._samples(features)),
                self._id,
                made_by=self._what,
                is_open=self.is_keyed,
            )
            for features in sets
        ]

    def base_keys(self, features: Iterable[str]) -> tuple[bytes, ...]:
        """One key for each band, 8 bytes each, sorted."""
        samples = self._samples(features).astype(">u8").tobytes()
        size = _WORD * self.rows
        keys = {
            self._routing_key(band, samples[band * size : (band + 1) * size])
            for band in range(self.bands)
        }
        return tuple(sorted(keys))

    def _samples(self, features: Iterable[str]) -> Words:
        """The word that each of the 64 bins keeps; equal in two sets with probability J."""
        elements = _elements(features)
        rounds = -(-_DRAWS // len(elements))
        if rounds <= _WORD:  # one block of the hash function has all it takes
            samples, is_complete = _fill(self._words(elements, _WORD)[:rounds])
            if is_complete:
                return samples
        return _fill(self._words(elements, _ALL_ROUNDS))[0]

    def _words(self, elements: Collection[bytes], rounds: int) -> Words:
        """Pseudo-random words, shape (rounds, elements)."""
        copy, size = blake3(key=self._element_key).copy, _WORD * rounds
        stream = b"".join([copy().update(element).digest(size) for element in elements])
        return np.frombuffer(stream, "<u8").reshape(len(elements), rounds).T


def _elements(features: Iterable[str]) -> Collection[bytes]:
    """The distinct strings as normalised UTF-8."""
    if isinstance(features, str | bytes):
        raise InputError("features is one string; give a set or list of strings", field="features")
    try:
        distinct: set[Any] = set(features)
        is_ascii = "".join(distinct).isascii()
        texts = distinct if is_ascii else {normalize("NFC", text) for text in distinct}
        elements = [text.encode() for text in texts]
    except Exception as error:  # noqa: BLE001  of a class' own __iter__
        raise InputError(f"features are no set of strings: {error}", field="features") from None
    if not elements:
        raise InputError("an empty set has no fingerprint", field="features", actual=0, limit=1)
    return elements


def _fill(words: Words) -> tuple[Words, bool]:
    """Throw the words into bins, round by round.

    Returns the word that each bin keeps, shape (64,), and whether every bin has one.
    """
    rounds, elements = words.shape
    ordered = np.sort(words, axis=1).ravel()
    bins = (ordered & np.uint64(_BINS - 1)).astype(np.intp)
    if rounds == _ALL_ROUNDS:
        bins[_BINS * elements :] = np.repeat(np.arange(_BINS), elements)
    samples = np.zeros(_BINS, np.uint64)
    is_filled = np.zeros(_BINS, np.bool_)
    is_filled[bins] = True
    samples[bins[::-1]] = ordered[::-1]  # of a repeated index the last counts: here the first
    return samples, bool(is_filled.all())


def _sketch(samples: Words) -> bytes:
    """Return the sketch: bits 6 to 9 of each word, in bit planes, that of the lowest bit first.

    Bits 0 to 5 choose the bin in the first 64 rounds, so within a bin they say nothing.
    """
    shifts = np.arange(_BIN_BITS, _BIN_BITS + _FIELD_BITS, dtype=np.uint64)
    bits = (samples >> shifts[:, None]) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8), axis=1).tobytes()
