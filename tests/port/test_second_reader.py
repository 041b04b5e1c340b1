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


@pytest.fixture(scope="module")
def sign(load_benchmark):
    return load_benchmark("fuzz_packets").Fuzzer._signed


def packet_named(name):
    (vector,) = [vector for vector in VECTORS if vector["name"] == name]
    return bytes.fromhex(vector["packet"])


def test_an_empty_question_is_refused(reader, sign):
    packet = packet_named("suppressed")
    question = packet[123:446].index(b"\x01\x6e") + 123
    rest = packet[question + 16 : 446].rstrip(b"\0")[:-4]  # the padding is 20 59 and two bytes
    head = packet[:question] + b"\x01\x60" + rest
    forged = sign(head + reader.padding(446 - len(head)))
    with pytest.raises(qis.PeerError, match="needs a question"):
        qis.Packet.parse(forged)
    with pytest.raises(reader.Refused, match="empty text"):
        reader.read(forged)


def test_minus_zero_on_the_diagonal_is_refused(reader, sign):
    packet = packet_named("quadratic")
    outcome = qis.Packet.parse(packet).outcome
    last = len(outcome.whitened) - 1
    pulls = packet.index(outcome.anchor_id) + 8 + 1 + 1
    diagonal = pulls + 2 * len(outcome.whitened) + 4 * last + 1
    changed = bytearray(packet[:446])
    changed[pulls + 2 * last : pulls + 2 * last + 2] = bytes(2)  # no pull where nothing is known
    changed[diagonal : diagonal + 3] = bytes(3)
    assert qis.Packet.parse(sign(bytes(changed))).outcome.diagonal[last] == 0.0
    assert reader.read(sign(bytes(changed)))
    changed[diagonal + 2] = 0x80
    with pytest.raises(qis.PeerError):
        qis.Packet.parse(sign(bytes(changed)))
    with pytest.raises(reader.Refused, match=r"-0\.0"):
        reader.read(sign(bytes(changed)))
