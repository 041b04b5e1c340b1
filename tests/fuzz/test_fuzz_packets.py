"""A short run of the fuzzer; `python benchmarks/fuzz_packets.py` makes two million inputs."""

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_no_input_raises_anything_else_or_costs_more(load_benchmark, seed):
    fuzz = load_benchmark("fuzz_packets")
    found = fuzz.run(10_000, seed, counted_every=20)
    parsed = sum(count for name, count in found["outcomes"].items() if name.endswith("parsed"))
    # Inputs get deep enough to be understood, and most are refused.
    assert 50 < parsed < 5_000
    assert found["outcomes"]["structure: MalformedPacketError"] > 500
    assert found["most_calls"] > 50


def test_the_same_seed_makes_the_same_inputs(load_benchmark):
    fuzz = load_benchmark("fuzz_packets")
    one, other = fuzz.Fuzzer(5), fuzz.Fuzzer(5)
    assert [one.next() for _ in range(200)] == [other.next() for _ in range(200)]
