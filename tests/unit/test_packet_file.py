"""Files of packets: mapped, torn ends reported, fields read without copying."""

import logging

import numpy as np
import pytest

import qis
from qis.errors import InputError, SignatureError, StorageError

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=2)


def packets(count):
    effect = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=0.2)
    return [
        qis.Packet.sign(
            qis.Identity.from_seed(bytes([n % 3]) * 32),
            outcome=effect,
            fingerprint=SCHEME.fingerprint([1.0, n / 10]),
            issued_at=NOW + n,
            lifetime_s=3600,
        )
        for n in range(count)
    ]


def test_what_was_written_is_read_and_verified(tmp_path):
    path, made = tmp_path / "all.qis", packets(5)
    assert qis.write_packets(path, made[:3]) == 3
    assert qis.write_packets(path, made[3:], mode="append") == 2
    found = qis.read_packets(path)
    assert list(found) == made
    assert (len(found), found[-1], found.raw(0)) == (5, made[-1], bytes(made[0]))
    assert found.torn_bytes == 0
    with pytest.raises(IndexError):
        found.raw(5)
    with pytest.raises(StorageError, match="exists"):
        qis.write_packets(path, made)


def test_fields_are_read_without_parsing(tmp_path):
    path, made = tmp_path / "all.qis", packets(40)
    qis.write_packets(path, made)
    fields = qis.read_packets(path).fields
    assert fields["issued_at"].tolist() == [packet.issued_at for packet in made]
    assert fields["expires_at"].tolist() == [packet.expires_at for packet in made]
    assert fields["sequence"].tolist() == [packet.sequence for packet in made]
    assert set(fields["kind"].tolist()) == {1}
    assert fields["sketch"][7].tobytes() == made[7].fingerprint.sketch
    assert {bytes(scheme) for scheme in fields["scheme_id"]} == {SCHEME.id}
    mine = np.flatnonzero(fields["issuer"] == np.void(made[1].issuer.key))
    assert mine.tolist() == list(range(1, 40, 3))
    own = np.frombuffer(made[0].fingerprint.sketch, np.uint8)
    distances = np.bitwise_count(fields["sketch"] ^ own).sum(axis=1)
    assert distances[0] == 0
    assert distances[39] > 0


def test_a_torn_last_packet_is_reported_and_the_rest_is_read(tmp_path, caplog):
    path, made = tmp_path / "torn.qis", packets(3)
    path.write_bytes(b"".join(map(bytes, made))[:-100])
    with caplog.at_level(logging.WARNING, "qis"):
        found = qis.read_packets(path)
    assert list(found) == made[:2]
    assert found.torn_bytes == 412
    assert "412 bytes of a torn packet" in caplog.text
    assert "412 torn bytes" in repr(found)
    with pytest.raises(InputError, match="torn"):
        qis.write_packets(path, made, mode="append")


def test_a_changed_packet_is_found_when_it_is_read(tmp_path):
    path, made = tmp_path / "all.qis", packets(2)
    raw = bytearray(bytes(made[0]) + bytes(made[1]))
    raw[600] ^= 1
    path.write_bytes(raw)
    found = qis.read_packets(path)
    assert found[0] == made[0]
    with pytest.raises(SignatureError):
        found[1]


def test_empty_and_missing_files(tmp_path):
    path = tmp_path / "none.qis"
    with pytest.raises(StorageError, match="No such file"):
        qis.read_packets(path)
    assert qis.write_packets(path, []) == 0
    found = qis.read_packets(path)
    assert (len(found), list(found), found.fields.size) == (0, [], 0)
    with pytest.raises(InputError, match="mode"):
        qis.write_packets(path, [], mode="over")


def test_many_are_verified_in_order_each_with_its_error():
    made = packets(150)
    buffers = [bytes(packet) for packet in made]
    buffers[3] = buffers[3][:-1]
    buffers[70] = buffers[70][:-1] + bytes([buffers[70][-1] ^ 1])
    for workers in (None, 1, 3):
        found = qis.Packet.verify_many(buffers, workers=workers)
        assert [type(item).__name__ for item in (found[3], found[70])] == [
            "PacketSizeError",
            "SignatureError",
        ]
        assert [item for index, item in enumerate(found) if index not in (3, 70)] == [
            packet for index, packet in enumerate(made) if index not in (3, 70)
        ]
    late = qis.Packet.verify_many(buffers[:2], now=NOW + 3600)
    assert [type(item).__name__ for item in late] == ["ExpiredError", "Packet"]
    assert qis.Packet.verify_many([]) == []
