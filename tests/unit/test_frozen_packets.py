"""The frozen packets: each parses to what it says, or is refused as it says, for ever."""

import json
from pathlib import Path

import pytest

import qis
from qis import _canonical, _layout
from qis.about import routing_commitment
from qis.outcomes import outcome_from_body

PATH = Path(__file__).parents[1] / "vectors" / "packets.json"
VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
VALID = [vector for vector in VECTORS if vector["valid"]]
INVALID = [vector for vector in VECTORS if not vector["valid"]]


def test_there_are_enough_for_a_port():
    assert len(VECTORS) >= 20
    assert {vector["kind"] for vector in VALID} == set(range(1, 12))
    assert len({vector["error"] for vector in INVALID}) >= 3


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: vector["name"])
def test_a_valid_vector_is_read_and_made_again_bit_for_bit(vector):
    raw = bytes.fromhex(vector["packet"])
    packet = qis.Packet.parse(raw)
    assert packet.id.hex() == vector["id"]
    outcome = outcome_from_body(vector["kind"], _canonical.decode(bytes.fromhex(vector["body"])))
    assert packet.outcome == outcome
    assert raw[_layout.STUDY_ID] == outcome.study_id
    keys = [bytes.fromhex(key) for key in vector["routing_keys"]]
    assert packet.routing_commitment == routing_commitment(keys)
    again = qis.Packet.sign(
        qis.Identity.from_seed(bytes.fromhex(vector["seed"])),
        outcome=outcome,
        fingerprint=qis.Fingerprint(
            bytes.fromhex(vector["sketch"]), bytes.fromhex(vector["scheme_id"])
        ),
        issued_at=vector["issued_at"],
        lifetime_s=vector["expires_at"] - vector["issued_at"],
        sequence=int(vector["sequence"]),
        routing_keys=keys,
        leaves=[bytes.fromhex(leaf) for leaf in vector["leaves"]],
    )
    assert bytes(again) == raw


@pytest.mark.parametrize("vector", INVALID, ids=lambda vector: vector["name"])
def test_an_invalid_vector_is_refused_with_its_error(vector):
    with pytest.raises(qis.PeerError) as caught:
        qis.Packet.parse(bytes.fromhex(vector["packet"]))
    assert type(caught.value).__name__ == vector["error"]
