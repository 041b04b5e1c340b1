"""What any 512 bytes may cost a receiver, in steps of the interpreter and in bytes held.

`benchmarks/_faults_gate.py` bounds the same in verifications; no clock is read here.
"""

import itertools
import sys
import tracemalloc
from pathlib import Path

import pytest

import qis

MOST_CALLS = 400
MOST_OPCODES = 12_000
MOST_MEMORY = (64 + 4) * 1024
"""64 KiB are one buffer of cbor2, for a string that says it is longer than that."""


@pytest.fixture(scope="module")
def packets(load_benchmark):
    """Name and bytes of those that cost most, and of some from the grammar."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        gate = load_benchmark("_faults_gate")
        named = list(gate.costly_packets())
        return named + list(itertools.islice(gate.signed_inputs(7), 400))


def read(data):
    try:
        return qis.Packet.parse(data)
    except qis.PeerError as error:
        return error


def steps(call):
    """Function calls, of Python and C, and opcodes that a call takes."""
    calls = opcodes = 0

    def count_calls(_frame, event, _argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    def count_opcodes(frame, event, _argument):
        nonlocal opcodes
        frame.f_trace_opcodes = True
        opcodes += event == "opcode"
        return count_opcodes

    before = sys.getprofile(), sys.gettrace()
    try:
        sys.setprofile(count_calls)
        call()
        sys.setprofile(None)
        sys.settrace(count_opcodes)
        call()
    finally:
        sys.setprofile(before[0])
        sys.settrace(before[1])
    return calls, opcodes


def test_the_steps_are_bounded(packets):
    for name, data in packets:
        read(data)  # what is imported and cached on first use is not the input's cost
        calls, opcodes = steps(lambda data=data: read(data))
        assert calls <= MOST_CALLS, name
        assert opcodes <= MOST_OPCODES, name


def test_the_memory_is_bounded(packets):
    for name, data in packets:
        read(data)
        tracemalloc.start()
        try:
            read(data)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most <= MOST_MEMORY, name


def test_the_count_sees_what_reading_does_without(packets):
    """Freezing each item alone, as reading did before, takes more steps than the bound."""
    outcome = read(dict(packets)["empty lists"]).outcome
    calls, opcodes = steps(lambda: qis.Record(question="q", content=outcome.body()[8]))
    assert calls > MOST_CALLS
    assert opcodes > MOST_OPCODES
