"""A reader in another language, written from the page alone, reads and refuses what qis does."""

import json
import os
from pathlib import Path

import pytest

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
