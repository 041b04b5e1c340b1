"""What hostile bodies do to the gate: `benchmarks/faults.py` prints these figures among others.

Every tag, and the bodies that cost most: valid records of as many small items as fit, and what the
grammar's fuzzer finds. An attack that finds nothing has to be seen to find something with the gate
off: the same tags are given to cbor2 alone, and the same records are encoded again, as was done
before to prove their encoding.
"""

import random
import struct
import time
from collections.abc import Callable, Iterator
from itertools import islice

import cbor2
from _cbor_grammar import Grammar, hostile_tags, signed_inputs
from nacl import bindings

import qis
from qis import _layout
from qis.errors import PeerError
from qis.outcomes import Outcome

ROOM = 293
"""Bytes of a record's content beside the shortest question."""
_QUESTION = b"\x00\x48" + bytes(range(8)) + b"\x01\x61q"
Body = tuple[int, bytes]


def costly_bodies() -> Iterator[tuple[str, Body]]:
    """Kind and body of packets that cost a receiver most, by name; all but the last are valid."""
    grammar = Grammar(0)

    def record(content: bytes) -> Body:
        return 6, b"\xa3" + _QUESTION + b"\x08" + content

    def listed(item: bytes) -> Body:
        many = (ROOM - 5) // len(item)
        return record(b"\xa1\x60" + grammar.head(4, many) + item * many)

    for name, item in (
        ("whole numbers", b"\x01"),
        ("negative numbers", b"\x38\xff"),
        ("nulls", b"\xf6"),
        ("reals", b"\xf9" + struct.pack(">e", 0.5)),
        ("empty lists", b"\x80"),
        ("empty maps", b"\xa0"),
        ("lists in lists", b"\x81\x80"),
        ("maps in lists", b"\xa1\x60\xa0"),
        ("maps of two", b"\xa2\x60\xf6\x61a\xf6"),
        ("empty texts", b"\x60"),
        ("texts", b"\x61a"),
        ("texts with spaces", b"\x63a b"),
        ("texts beyond ASCII", b"\x62\xc3\xa9"),
    ):
        yield name, listed(item)
    texts = b"".join(b"\x62" + chr(0x100 + n).encode() for n in range(95))
    yield "all texts different", record(b"\xa1\x60" + grammar.head(4, 95) + texts)
    keys = [bytes([97 + n // 26, 97 + n % 26]) for n in range(71)]
    yield "keys", record(grammar.head(5, 71) + b"".join(b"\x62" + key + b"\xf6" for key in keys))
    keys = [chr(0x100 + n).encode() for n in range(71)]
    yield (
        "keys beyond ASCII",
        record(grammar.head(5, 71) + b"".join(b"\x62" + key + b"\xf6" for key in keys)),
    )
    joined = "\u06cc\u200c" * 56 + "\u06cc\u06cc"
    yield "joiners", record(b"\xa1\x60" + grammar.head(3, len(joined.encode())) + joined.encode())
    # No valid one: marks in an order that is not canonical, as many as a text can have.
    marks = "a" + "\u0301\u0323" * 70
    yield "marks", record(b"\xa1\x60" + grammar.head(3, len(marks.encode())) + marks.encode())


def costly_packets() -> Iterator[tuple[str, bytes]]:
    """The same, signed, and the largest bodies of kinds that compute."""
    grammar = Grammar(0)
    for name, body in costly_bodies():
        yield name, grammar.signed(*body)
    names = {"question": "q", "model": "logistic"}
    size = 13
    quadratic = qis.QuadraticLikelihood.from_terms(
        **names,
        score=[0.5] * size,
        information=[
            [4.0 * (row == column) + 1.0 for row in range(size)] for column in range(size)
        ],
        anchor=[0.0] * size,
        n=40_000,
        events=11,
    )
    profile = qis.LikelihoodProfile.from_function(
        question="q", measure="HR", log_likelihood=lambda x: -2.0 * (x - 0.25) ** 2, n=19, events=6
    )
    for outcome in (quadratic, profile):
        yield type(outcome).__name__, bytes(_signed(outcome))


def _signed(outcome: Outcome) -> qis.Packet:
    return qis.Packet.sign(
        qis.Identity.from_seed(bytes(range(32))),
        outcome=outcome,
        fingerprint=qis.Fingerprint(sketch=bytes(32), scheme_id=bytes(8)),
        issued_at=1_800_000_000,
        lifetime_s=86_400,
    )


def is_read(data: bytes) -> bool:
    """Whether the bytes are read as a packet; any error but a refusal passes on."""
    try:
        qis.Packet.parse(data)
    except PeerError:
        return False
    return True


def least_seconds(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """The least CPU time of each call, the calls interleaved: others' work can only add to it."""
    least = [float("inf")] * len(calls)
    for _ in range(rounds):
        for index, call in enumerate(calls):
            start = time.thread_time()
            call()
            call()
            least[index] = min(least[index], (time.thread_time() - start) / 2)
    return least


def over_verification(data: bytes, call: Callable[[], object], rounds: int) -> float:
    """CPU time of a call, in verifications of these bytes.

    Of both the least time counts. On a busy machine that takes long to show, so that what looks too
    dear is measured again, up to six times.
    """
    both = data[_layout.SIGNATURE] + _layout.signed_bytes(data)
    key = data[_layout.ISSUER]
    verified = called = float("inf")
    for _ in range(6):
        times = least_seconds([lambda: bindings.crypto_sign_open(both, key), call], rounds)
        verified, called = min(verified, times[0]), min(called, times[1])
        if called <= 2.5 * verified:
            break
    return called / verified


def figures(full: bool) -> dict[str, float]:  # noqa: FBT001  as every part of faults.py has it
    """The figures of the gate; `full` takes a minute, else some seconds."""
    rounds, fuzzed, costly = (300, 20_000, 200) if full else (60, 1_000, 10)
    tags = list(hostile_tags())
    alone = 0
    for _, data in tags:
        try:
            cbor2.loads(b"\xa3" + data[122:446])
            alone += 1
        except cbor2.CBORDecodeError:
            pass
    worst, again = 0.0, 0.0
    for _, data in costly_packets():
        worst = max(worst, over_verification(data, lambda data=data: is_read(data), rounds))
    for name, data in costly_packets():
        if name in ("empty lists", "maps in lists"):
            outcome = qis.Packet.parse(data).outcome
            again = max(again, over_verification(data, outcome.encoded, max(rounds // 10, 5)))
    inputs = [data for _, data in islice(signed_inputs(random.Random(0).getrandbits(32)), fuzzed)]
    steps = sorted(inputs, key=_seconds_once)[-costly:]
    for data in steps:
        worst = max(worst, over_verification(data, lambda data=data: is_read(data), rounds // 5))
    return {
        "hostile_tags": float(len({tag for tag, _ in tags})),
        "hostile_tags_passed": float(sum(is_read(data) for _, data in tags)),
        "hostile_tags_run_without_gate": float(alone),
        "worst_parse_over_verify": round(worst, 2),
        "encoding_again_over_verify": round(again, 2),
    }


def _seconds_once(data: bytes) -> float:
    start = time.thread_time()
    is_read(data)
    return time.thread_time() - start


if __name__ == "__main__":
    import json

    print(json.dumps(figures(full=True)))
