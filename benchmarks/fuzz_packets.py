"""Fuzzing of `Packet.parse`: no bytes may raise anything but our errors, or cost more than a bound.

``python benchmarks/fuzz_packets.py [--count 2000000] [--seed 0] [--json]``. Structure-aware, since
an attacker holds a key too: the corpus is the frozen packets of tests/vectors; their bytes, their
claims and their bodies are mutated, and what was mutated under the signature is signed again.
Whatever parses must be the one encoding of what was understood. Of every 1,000th input the calls
and the memory that parsing takes are counted and held to a bound; no clock is read.
"""

import argparse
import json
import random
import struct
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cbor2

import qis
from qis import _layout
from qis.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parents[1] / "tests" / "vectors" / "packets.json"
MOST_CALLS = 1_000
"""Function calls of Python and C that one parse may make."""
MOST_MEMORY = 128 * 1024
"""Bytes that one parse may hold at once."""
SITE = qis.Identity.from_seed(bytes(range(32)))
EXTREMES: tuple[Any, ...] = (
    0,
    1,
    -1,
    23,
    24,
    255,
    256,
    2**16,
    2**32 - 1,
    2**32,
    2**53,
    2**64 - 1,
    -(2**63),
    1.5,
    float("nan"),
    float("inf"),
    -0.0,
    1e300,
    "",
    "x" * 48,
    "\u0000",
    "\u202e",
    "e\u0301",
    b"",
    bytes(8),
    bytes(24),
    b"\xff" * 300,
    None,
    True,
    [],
    {},
    [[[[[[[[]]]]]]]],
    {1: {1: {1: {}}}},
    cbor2.CBORTag(35, "(a+)+$"),
    cbor2.CBORSimpleValue(99),
)
REALS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-8,
    1e4,
    50.0,
    -50.0,
    8.0,
    1e30,
    float("nan"),
    float("-inf"),
    5e-324,
)
"""Edges of reals; those that no float32 holds are tried as float64 only."""
WHOLE = {"<h": (0, 1, 16383, 16384, 32767, -32768), "<b": (0, 1, 126, 127, -126, -127, -128)}


def corpus() -> list[bytes]:
    """The frozen packets, the valid ones first."""
    vectors = json.loads(CORPUS.read_text(encoding="utf-8"))
    vectors.sort(key=lambda vector: not vector["valid"])
    return [bytes.fromhex(vector["packet"]) for vector in vectors]


class Fuzzer:
    """Makes inputs from a corpus; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._corpus = corpus()
        self._whole = [packet for packet in self._corpus if len(packet) == qis.PACKET_SIZE]
        self._valid = [packet for packet in self._corpus if check(packet) == "parsed"]
        bodies = [(packet, cbor2.loads(packet[_layout.PAYLOAD])) for packet in self._valid]
        self._with_reals = [packet for packet, claims in bodies if 6 in claims[-65537][4]]
        self._kinds: tuple[tuple[str, Callable[[], bytes]], ...] = (
            ("bytes", self._mutated_bytes),
            ("claims", self._mutated_claims),
            ("body", self._mutated_body),
            ("structure", self._mutated_structure),
            ("numbers", self._mutated_numbers),
            ("heads", self._mutated_heads),
        )

    def next(self) -> tuple[str, bytes]:
        """How the input was made, and the input."""
        name, make = self._random.choice(self._kinds)
        return name, make()

    def _mutated_bytes(self) -> bytes:
        return self._scrambled(self._random.choice(self._corpus))

    def _mutated_claims(self) -> bytes:
        packet = self._random.choice(self._whole)
        changed = self._scrambled(packet[_layout.PAYLOAD])[:400].ljust(400, b"\0")
        return self._signed(packet[:46] + changed)

    def _mutated_body(self) -> bytes:
        """Only bytes of the body change, so that the rest is as it must be."""
        packet = bytearray(self._random.choice(self._whole)[:446])
        for _ in range(self._random.randint(1, 4)):
            offset = self._random.randrange(_layout.KIND, 446)
            packet[offset] = self._random.choice((packet[offset] ^ 1, self._random.randrange(256)))
        return self._signed(bytes(packet))

    def _mutated_structure(self) -> bytes:
        """The body is decoded, changed as a structure and encoded again, and the padding fitted."""
        packet = self._random.choice(self._valid)
        outcome = cbor2.loads(packet[_layout.PAYLOAD])[-65537]
        kind = self._random.choice((outcome[2], self._random.randrange(12)))
        body = cbor2.dumps(self._varied(outcome[4]))
        if self._random.random() < 0.1:
            body = self._scrambled(body)
        return self._with_body(packet, kind, body)

    def _mutated_numbers(self) -> bytes:
        """One number of the body is at an edge of what it may be, the rest as it was."""
        packet = self._random.choice(self._with_reals)
        outcome = cbor2.loads(packet[_layout.PAYLOAD])[-65537]
        reals = bytearray(outcome[4][6])
        form = self._random.choice(("<d", "<f", "<h", "<b"))
        size = struct.calcsize(form)
        slots = max(len(reals) // size, 1)
        start = self._random.randrange(slots) * size + self._random.choice(
            (0, 0, len(reals) % size)
        )
        edge = self._random.choice(REALS) if form in "<d<f" else self._random.choice(WHOLE[form])
        reals[start : start + size] = struct.pack(form, edge)
        outcome[4][6] = bytes(reals[: len(outcome[4][6])])
        return self._with_body(packet, outcome[2], cbor2.dumps(outcome[4]))

    def _mutated_heads(self) -> bytes:
        """A time or the sequence is at an edge of what it may be, the rest as it was."""
        packet = bytearray(self._random.choice(self._valid)[:446])
        field = self._random.choice((_layout.EXPIRES_AT, _layout.ISSUED_AT, _layout.SEQUENCE))
        size = field.stop - field.start
        edge = 1 << self._random.choice((0, 8, 16, 32, 8 * size))
        value = self._random.choice((edge, edge - 1, int.from_bytes(packet[field]) - 1))
        packet[field] = (value % (1 << 8 * size)).to_bytes(size)
        return self._signed(bytes(packet))

    def _with_body(self, packet: bytes, kind: int, body: bytes) -> bytes:
        """The packet with another body, its padding fitted, signed."""
        outcome = cbor2.loads(packet[_layout.PAYLOAD])[-65537]
        tail = b"".join(
            cbor2.dumps(key) + cbor2.dumps(outcome[key]) for key in (5, 6) if key in outcome
        )
        room = 446 - _layout.BODY_START - 1 - len(body) - len(tail)
        if room < 2:
            return self._mutated_body()
        head = packet[: _layout.KIND] + bytes([kind]) + packet[_layout.KIND + 1 : 123]
        return self._signed(head + body + tail + _layout.padding(room))

    def _varied(self, value: Any) -> Any:
        chance = self._random.random()
        if chance < 0.15:
            return self._random.choice(EXTREMES)
        if isinstance(value, dict):
            varied = {key: self._varied(item) for key, item in value.items()}
            if chance < 0.3 and varied:
                varied.pop(self._random.choice(list(varied)))
            if chance > 0.9:
                varied[self._random.randrange(12)] = self._random.choice(EXTREMES)
            return varied
        if isinstance(value, list):
            return [self._varied(item) for item in value]
        if isinstance(value, bytes) and chance < 0.6:
            return self._scrambled(value)
        return value

    def _scrambled(self, data: bytes) -> bytes:
        mutated = bytearray(data)
        for _ in range(self._random.randint(1, 3)):
            offset = self._random.randint(0, len(mutated))
            length = self._random.randint(0, 16)
            action = self._random.randrange(4)
            if action == 0 and offset < len(mutated):
                mutated[offset] ^= 1 << self._random.randrange(8)
            elif action == 1:
                del mutated[offset : offset + length]
            elif action == 2:
                mutated[offset:offset] = self._random.randbytes(length)
            else:
                mutated[offset : offset + length] = self._random.randbytes(length)
        return bytes(mutated)

    @staticmethod
    def _signed(content: bytes) -> bytes:
        return content + b"\x58\x40" + SITE.sign(_layout.signed_bytes(content))


def check(data: bytes) -> str:
    """The name of the error, or "parsed"; raises if anything is not as it must be."""
    try:
        packet = qis.Packet.parse(data)
    except PeerError as error:
        if len(str(error)) > 1_000:
            raise AssertionError("an error repeats what a stranger sent") from error
        return type(error).__name__
    assert bytes(packet) == data  # noqa: S101  this is what the fuzzer checks
    assert qis.Packet.parse(bytes(packet)).outcome == packet.outcome  # noqa: S101
    assert len(repr(packet)) < 300  # noqa: S101
    assert len(packet.explain()) < 5_000  # noqa: S101
    return "parsed"


def cost(data: bytes) -> tuple[int, int]:
    """Calls that parsing makes, and bytes that it holds at most."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        qis.Packet.parse(data)
    except PeerError:
        pass
    finally:
        sys.setprofile(None)
        _, memory = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return calls, memory


def run(count: int, seed: int, *, counted_every: int = 1000) -> dict[str, Any]:
    """Parse so many inputs.

    Raises
    ------
    AssertionError
        If an input parses to something else than itself, or costs more than the bounds.

    """
    fuzzer = Fuzzer(seed)
    outcomes: Counter[str] = Counter()
    for data in corpus():
        check(data)
        cost(data)  # what is imported and cached on first use is not the input's cost
    most_calls = most_memory = 0
    for number in range(count):
        name, data = fuzzer.next()
        outcomes[f"{name}: {check(data)}"] += 1
        if number % counted_every == 0:
            calls, memory = cost(data)
            most_calls, most_memory = max(most_calls, calls), max(most_memory, memory)
    assert most_calls <= MOST_CALLS, f"{most_calls} calls"  # noqa: S101
    assert most_memory <= MOST_MEMORY, f"{most_memory} bytes"  # noqa: S101
    return {
        "inputs": count,
        "most_calls": most_calls,
        "most_memory": most_memory,
        "outcomes": dict(sorted(outcomes.items())),
    }


def main() -> None:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options.count, options.seed)
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.pop("outcomes").items():
        print(f"{name:40}{value:10}")
    for name, value in result.items():
        print(f"{name:40}{value:10}")


if __name__ == "__main__":
    main()
