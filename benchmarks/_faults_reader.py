"""Figures of the second reader: what qis and it say of the same bytes, and what would be noticed.

Most inputs come from tests/port/generator.mjs, which shares nothing with qis; a fifth are those of
our own fuzzers. A rule that the second reader leaves out on purpose has to show as disagreements,
or their absence would say nothing.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from _cbor_grammar import signed_inputs
from _second_reader import by_node, by_qis, generated
from fuzz_packets import Fuzzer

import qis

RULES: Final = (
    "long-heads",
    "long-floats",
    "key-order",
    "nfc",
    "characters",
    "white-space",
    "joiners",
    "minus-zero",
    "small-order",
    "leaf-order",
    "padding",
    "exponents",
    "events",
)
"""Rules of the second reader that can be left out."""
_BATCH: Final = 5_000


def figures(full: bool) -> dict[str, float]:  # noqa: FBT001  as benchmarks/faults.py calls all of its parts
    """Inputs, disagreements, and the rules whose absence the inputs show.

    Parameters
    ----------
    full
        100,000 inputs, and every rule left out in turn for 10,000 of them; else 10,000 inputs and
        the first rule.

    """
    count = 100_000 if full else 10_000
    with ThreadPoolExecutor(2) as pool:  # each waits for a Node of its own most of the time
        results = list(pool.map(_compared, range(count // _BATCH)))
    refused = [batch for _, _, batch in results]
    found = [_shown_by(refused[:2], rule) for rule in (RULES if full else RULES[:1])]
    return {
        "second_reader_inputs": count,
        "second_reader_valid": count - sum(map(len, refused)),
        "second_reader_disagreements": sum(differ for differ, _, _ in results),
        "second_reader_kinds": len(set().union(*(kinds for _, kinds, _ in results))),
        "second_reader_rules_left_out": len(found),
        "second_reader_rules_missed": sum(number == 0 for number in found),
        "second_reader_disagreements_without_a_rule": sum(found),
    }


def _compared(seed: int) -> tuple[int, set[int], list[bytes]]:
    """Disagreements, the kinds that were valid, and what was refused."""
    packets = list(_inputs(seed))
    differ, kinds, refused = 0, set(), []
    for data, theirs in zip(packets, by_node(packets), strict=True):
        ours = by_qis(data)
        differ += ours != theirs
        if ours is None:
            refused.append(data)
        else:
            kinds.add(ours["kind"])
    return differ, kinds, refused


def _inputs(seed: int) -> Iterator[bytes]:
    yield from generated(seed, _BATCH * 4 // 5)
    fuzzer = Fuzzer(seed)
    made = (fuzzer.next() for _ in itertools.count())
    whole = (data for _, data in made if len(data) == qis.PACKET_SIZE)
    yield from itertools.islice(whole, _BATCH // 10)
    for _, data in itertools.islice(signed_inputs(seed), _BATCH // 10):
        yield data


def _shown_by(refused: list[list[bytes]], rule: str) -> int:
    """How many of these, which qis refuses, the second reader accepts without this rule."""
    return sum(theirs is not None for batch in refused for theirs in by_node(batch, without=rule))
