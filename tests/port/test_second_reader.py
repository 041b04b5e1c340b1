"""Two readers with no code in common accept and refuse the same bytes, and read the same fields."""

import importlib.util
import json
from pathlib import Path

import pytest

import qis
from qis import _canonical

HERE = Path(__file__).parent
VECTORS = json.loads((HERE.parent / "vectors" / "packets.json").read_text(encoding="utf-8"))
STEPS = {"PacketSizeError": {1}, "MalformedPacketError": {2, 7}, "SignatureError": {6}}


@pytest.fixture(scope="module")
def reader():
    spec = importlib.util.spec_from_file_location("reader", HERE / "reader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_frozen_packets(reader, vector):
    data = bytes.fromhex(vector["packet"])
    if vector["valid"]:
        found = reader.read(data)
        assert found["id"].hex() == vector["id"]
        assert found["body"] == _canonical.decode(bytes.fromhex(vector["body"]))
        return
    with pytest.raises(reader.Refused) as caught:
        reader.read(data)
    assert caught.value.step in STEPS[vector["error"]]


@pytest.mark.parametrize("seed", [3, 4])
def test_whatever_is_made_up_is_judged_alike(reader, load_benchmark, seed):
    fuzzer = load_benchmark("fuzz_packets").Fuzzer(seed)
    agreed = 0
    for _ in range(10_000):
        _, data = fuzzer.next()
        ours, theirs = by_qis(data), by(reader, data)
        assert (type(ours) is str) == (type(theirs) is str), (ours, theirs, data.hex())
        if type(ours) is not str:
            assert ours == theirs
            agreed += 1
    assert agreed > 500


def by_qis(data):
    try:
        packet = qis.Packet.parse(data)
    except qis.PeerError as error:
        return f"qis: {error}"
    return {
        "id": packet.id,
        "issuer": packet.issuer.key,
        "expires_at": packet.expires_at,
        "issued_at": packet.issued_at,
        "sequence": packet.sequence,
        "sketch": packet.fingerprint.sketch,
        "scheme_id": packet.fingerprint.scheme_id,
        "kind": packet.outcome.kind,
        "body": packet.outcome.body(),
        "leaves": list(packet.leaves),
        "routing_commitment": packet.routing_commitment,
    }


def by(reader, data):
    try:
        return reader.read(data)
    except reader.Refused as error:
        return f"the page: {error}"


def test_what_was_once_accepted_against_the_page_is_refused(reader, load_benchmark):
    valid = {vector["name"]: bytes.fromhex(vector["packet"]) for vector in VECTORS[:14]}
    sign = load_benchmark("fuzz_packets").Fuzzer._signed
    # The question is empty: 12 bytes fewer, which the padding takes up.
    packet = valid["suppressed"]
    body = packet[123:446].replace(b"\x01na vs b | death", b"\x01\x60").rstrip(b"\0")
    assert len(body) < 323
    start = body.rindex(b"\x20\x59")
    room = 323 - start
    padded = body[:start] + b"\x20\x59" + (room - 4).to_bytes(2, "big")
    # The diagonal of a factor is -0.0, where the same packet with 0.0 is another encoding.
    quadratic = valid["quadratic"]
    outcome = qis.Packet.parse(quadratic).outcome
    row = bytes([outcome.exponents[0] & 255]) + b"\0\0\0"
    pull = quadratic.index(outcome.anchor_id) + 9 + 1
    rows = pull + 2 * len(outcome.whitened)
    zero = bytearray(quadratic)
    zero[pull : pull + 2], zero[rows : rows + 4] = b"\0\0", row
    minus = bytearray(zero)
    minus[rows + 3] = 0x80
    for forged in (packet[:123] + padded.ljust(323, b"\0"), bytes(minus)[:446]):
        with pytest.raises(qis.PeerError):
            qis.Packet.parse(sign(forged[:446]))
        with pytest.raises(reader.Refused):
            reader.read(sign(forged[:446]))
