"""A reader in another language, written from the page alone, reads and refuses what qis does."""

import itertools
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from qis.errors import InputError
from qis.outcomes._text import normal_text

HERE = Path(__file__).parent
VECTORS = json.loads((HERE.parent / "vectors" / "packets.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def second(load_benchmark):
    module = load_benchmark("_second_reader")
    if module.node() is None:
        if os.environ.get("CI"):
            pytest.fail("Node is not installed: packets cannot be read by the second reader")
        pytest.skip("Node is not installed")
    return module


def test_the_frozen_packets(second):
    vectors = [vector for vector in VECTORS if len(vector["packet"]) == 1024]
    packets = [bytes.fromhex(vector["packet"]) for vector in vectors]
    for vector, packet, theirs in zip(vectors, packets, second.by_node(packets), strict=True):
        assert (theirs is not None) == vector["valid"], vector["name"]
        assert theirs == second.by_qis(packet), vector["name"]
        if vector["valid"]:
            assert theirs["id"] == vector["id"]
            assert theirs["sequence"] == vector["sequence"]
            assert theirs["leaves"] == vector["leaves"]


def test_another_length_is_refused(second):
    lines = "".join(f"{vector['packet']}\n" for vector in VECTORS).encode()
    found = second.run_node("reader.mjs", "--hex", given=lines).splitlines()
    assert [line.startswith(b"valid ") for line in found] == [vector["valid"] for vector in VECTORS]


def test_signatures_on_which_verifiers_disagree(second):
    path = HERE.parent / "vectors" / "signatures.json"
    vectors = json.loads(path.read_text(encoding="utf-8"))
    packets = [bytes.fromhex(vector["packet"]) for vector in vectors]
    for vector, packet, theirs in zip(vectors, packets, second.by_node(packets), strict=True):
        assert (second.by_qis(packet) is not None) == vector["valid"], vector["name"]
        assert (theirs is not None) == vector["valid"], vector["name"]


@pytest.fixture(scope="module")
def made(second):
    """10,000 packets of the generator in JavaScript with what qis says of them."""
    packets = second.generated(1, 10_000)
    assert len(packets) == 10_000
    return [(data, second.by_qis(data)) for data in packets]


def test_what_its_own_generator_makes_is_judged_alike(second, made):
    kinds = Counter()
    theirs = second.by_node(data for data, _ in made)
    for (data, ours), other in zip(made, theirs, strict=True):
        assert ours == other, data.hex()
        if ours is not None:
            kinds[ours["kind"]] += 1
    assert set(kinds) == set(range(1, 24))
    assert min(kinds[kind] for kind in range(1, 11)) > 200
    assert sum(kinds[kind] for kind in range(11, 24)) > 200
    assert kinds.total() < 8_000


def test_what_our_fuzzers_make_is_judged_alike(second, load_benchmark):
    fuzzer = load_benchmark("fuzz_packets").Fuzzer(5)
    grammar = load_benchmark("_cbor_grammar").signed_inputs(5)
    inputs = [fuzzer.next() for _ in range(2_000)] + list(itertools.islice(grammar, 2_000))
    packets = [data for _, data in inputs if len(data) == 512]
    for data, theirs in zip(packets, second.by_node(packets), strict=True):
        assert second.by_qis(data) == theirs, data.hex()


@pytest.mark.parametrize(
    "context",
    [
        *("?", "e?", "?\u0301", "\u0915\u094d?\u0937", "\u0628\u200c?", "?\u200d\u0937"),
        *("?\u09b0\u200d\u09cd\u09af", "?\u200d\u09cd\u09af", "\u09b0?\u09cd\u09af"),
        "\u09b0\u200d\u09cd?",
    ],
)
def test_each_character_is_judged_alike(second, context):
    line = second.run_node("every_character.mjs", json.dumps(context))
    theirs = {code for low, high in json.loads(line) for code in range(low, high + 1)}
    for code in itertools.chain(range(0x3400), range(0x3400, 0x110000, 61)):
        if not 0xD800 <= code < 0xE000:
            text = context.replace("?", chr(code))
            assert is_normal(text) == (code in theirs), hex(code)


def is_normal(text):
    try:
        return normal_text(text, "question", 48) == text
    except InputError:
        return False


@pytest.mark.parametrize("rule", ["long-heads", "minus-zero", "small-order", "nfc"])
def test_a_reader_without_a_rule_is_noticed(second, made, rule):
    refused = [data for data, ours in made if ours is None]
    assert any(theirs is not None for theirs in second.by_node(refused, without=rule))
