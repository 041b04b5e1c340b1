"""Bodies from CBOR's own grammar, signed: nothing but our refusals comes of them."""

import itertools
import random
import struct
from collections import Counter

import pytest

import qis
from qis.errors import MalformedPacketError

INPUTS = 6_000


@pytest.fixture(scope="module")
def grammar(load_benchmark):
    return load_benchmark("_cbor_grammar")


@pytest.fixture(scope="module")
def judged(grammar):
    """Way, bytes and what became of them."""
    return [
        (way, data, verdict(data))
        for way, data in itertools.islice(grammar.signed_inputs(11), INPUTS)
    ]


def verdict(data):
    try:
        return qis.Packet.parse(data)
    except MalformedPacketError as error:  # any other error fails the test
        return error


def test_each_input_is_read_as_itself_or_refused(judged):
    for _, data, found in judged:
        if isinstance(found, qis.Packet):
            assert bytes(found) == data
            # A record is not encoded again when it is read; the encoder has to agree all the same.
            assert data[123:446].startswith(found.outcome.encoded())
            assert len(found.explain()) < 5_000
        else:
            assert len(str(found)) < 500


def test_every_way_is_tried_and_some_inputs_are_valid(judged):
    tried = Counter(way for way, _, _ in judged)
    read = Counter(way for way, _, found in judged if isinstance(found, qis.Packet))
    assert min(tried.values()) > 200
    assert read["record"] > 200
    assert read["text"] > 50
    for way in ("tag", "references", "reserved", "indefinite", "duplicate keys", "cut"):
        assert tried[way] > 200
        assert not read[way], way


def test_every_initial_byte_stands_first(judged, grammar):
    template = grammar.Grammar(0).signed(10, b"")
    firsts = {data[123] for way, data, _ in judged if data[112:123] == template[112:123]}
    assert len(firsts) > 50
    assert {grammar.Grammar.item(grammar.Grammar(seed), 3)[0] >> 5 for seed in range(99)} == {
        *range(8)
    }


def test_many_at_once_are_judged_as_each_alone(judged):
    some = judged[:500]
    found = qis.Packet.verify_many([data for _, data, _ in some], workers=1)
    for (_, _, alone), together in zip(some, found, strict=True):
        assert type(alone) is type(together)


def test_no_tag_passes(grammar):
    tags = set()
    for tag, data in grammar.hostile_tags():
        tags.add(tag)
        found = verdict(data)
        assert isinstance(found, MalformedPacketError)
        assert f"holds tag {tag}" in str(found)
    assert len(tags) >= 256


def test_the_same_seed_makes_the_same_inputs(grammar):
    one, other = (list(itertools.islice(grammar.signed_inputs(5), 100)) for _ in range(2))
    assert one == other
    assert {len(data) for _, data in one} == {512}


def test_a_record_that_is_not_in_its_one_encoding_is_refused(grammar):
    """Its size alone proves it, so heads and reals are widened, and what follows is repeated."""
    made, rng = grammar.Grammar(5), random.Random(3)
    study = b"\xa3\x00\x48" + bytes(8) + b"\x01\x61q\x08\xa1\x61k"
    verdicts = Counter()
    for _ in range(2_000):
        honest = study + made.valid(3)
        changed = bytearray(honest)
        offset = rng.randrange(15, len(changed))
        byte = changed[offset]
        if byte & 31 < 24 and byte >> 5 < 6:
            changed[offset : offset + 1] = bytes([byte & 0xE0 | 24, byte & 31])
        elif byte == 0xF9 and offset + 2 < len(changed):
            (real,) = struct.unpack(">e", changed[offset + 1 : offset + 3])
            changed[offset : offset + 3] = b"\xfa" + struct.pack(">f", real)
        else:
            changed += rng.choice((b"\x06\x48" + bytes(8), b"\x06\x48" * 4, b"\x00", b"\x20\x40"))
        for body in (honest, bytes(changed)):
            if len(body) > 300:
                continue
            data = made.signed(6, body)
            found = verdict(data)
            verdicts[body is honest, type(found)] += 1
            if isinstance(found, qis.Packet):
                assert data[123:446].startswith(found.outcome.encoded())
    assert not verdicts[True, MalformedPacketError]
    assert verdicts[False, MalformedPacketError] > 1_000
