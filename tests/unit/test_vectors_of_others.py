"""Public vectors: nothing that others know to be ill-formed or forged is let in."""

import json

import pytest

import qis
from qis import _canonical, _layout
from qis.errors import PeerError, SignatureError
from qis.identity import verify

NOW = 1_800_000_000
ATTACKER = qis.Identity.from_seed(bytes([7]) * 32)
FINGERPRINT = qis.Fingerprint(bytes(32), bytes(8))


def read(folder, name):
    return json.loads((folder / "vectors" / f"{name}.json").read_text(encoding="utf-8"))


def with_body(item):
    """A packet whose body is `item` and which its issuer has really signed."""
    effect = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=0.2)
    packet = bytes(
        qis.Packet.sign(
            ATTACKER, outcome=effect, fingerprint=FINGERPRINT, issued_at=NOW, lifetime_s=60
        )
    )
    head = packet[: _layout.BODY_START + 1]
    commitment = b"\x06\x48" + bytes(8)
    room = _layout.PAYLOAD.stop - len(head) - len(item) - len(commitment)
    content = head + item + commitment + _layout.padding(room)
    return signed(content)


def with_entry(key, item):
    """As `with_body`, the item being an entry of an otherwise valid body of a Record."""
    body = qis.Record(question="q", content={}).body()
    parts = [
        _canonical.encode(k) + (item if k == key else _canonical.encode(v)) for k, v in body.items()
    ]
    packet = with_body(bytes([0xA0 + len(parts)]) + b"".join(parts))
    return signed(packet[: _layout.KIND] + b"\x06" + packet[_layout.KIND + 1 : 446])


def signed(content):
    signature = ATTACKER.sign(_layout.signed_bytes(content))
    return content + b"\x58\x40" + signature


def test_the_forger_makes_valid_packets_where_nothing_is_wrong():
    effect = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=0.2)
    # Only the commitment to the routing keys is another, which no parser can know.
    assert qis.Packet.parse(with_body(effect.encoded())).outcome == effect
    record = qis.Packet.parse(with_entry(8, b"\xa1\x61x\x01"))
    assert record.outcome.content == {"x": 1}


@pytest.mark.shared
@pytest.mark.parametrize(("name", "count"), [("cbor_fail", 568), ("rfc8949_appendix_f", 93)])
def test_no_ill_formed_item_is_a_body_or_in_one(shared_data, name, count):
    items = [bytes.fromhex(case["hex"]) for case in read(shared_data, name)]
    assert len(items) == count
    for item in items:
        with pytest.raises(ValueError, match=r"CBOR|holds|key"):
            _canonical.decode(item)
        for forged in (with_body(item), with_entry(8, item), with_entry(8, b"\xa1\x61x" + item)):
            with pytest.raises(PeerError):
                qis.Packet.parse(forged)


@pytest.mark.shared
def test_nothing_that_is_invalid_in_deterministic_cbor_is_in_a_record(shared_data):
    cases = read(shared_data, "dcbor_invalid")
    assert len(cases) == 37
    for case in cases:
        item = bytes.fromhex(case["hex"])
        for forged in (with_body(item), with_entry(8, item), with_entry(8, b"\xa1\x61x" + item)):
            with pytest.raises(PeerError):
                qis.Packet.parse(forged)


@pytest.mark.shared
def test_what_deterministic_cbor_allows_a_record_reads_or_refuses_but_never_changes(shared_data):
    read_in = 0
    for case in read(shared_data, "dcbor_valid"):
        item = b"\xa1\x61x" + bytes.fromhex(case["hex"])
        try:
            packet = qis.Packet.parse(with_entry(8, item))
        except PeerError:
            continue
        read_in += 1
        assert item in packet.outcome.encoded()
    assert read_in > 15


@pytest.mark.shared
def test_wycheproof_is_answered_151_times_out_of_151(shared_data):
    right = 0
    for group in read(shared_data, "wycheproof_ed25519_test")["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            right += accepted(key, message, signature) == (case["result"] == "valid")
    assert right == 151


def accepted(key, message, signature):
    try:
        verify(key, message, signature)
    except SignatureError:
        return False
    return True


@pytest.mark.shared
def test_edge_cases_are_judged_as_libsodium_does(shared_data):
    # Chalkias, Garillot & Nikolaenko 2020, table 5, row LibSodium: case 3 alone is accepted (mixed
    # order, verified without cofactor); small orders, S >= L and non-canonical keys are not.
    answers = [
        accepted(*(bytes.fromhex(case[part]) for part in ("pub_key", "message", "signature")))
        for case in read(shared_data, "ed25519_speccheck_cases")
    ]
    assert answers == [number == 3 for number in range(12)]


SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    # The same points in encodings that are not reduced: y = p, y = p + 1, and wrong signs of x.
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_nobody_signs_without_a_key_under_an_issuer_of_small_order(key):
    effect = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=0.2)
    packet = bytes(
        qis.Packet.sign(
            ATTACKER, outcome=effect, fingerprint=FINGERPRINT, issued_at=NOW, lifetime_s=60
        )
    )
    issuer = bytes.fromhex(key)
    # S = 0 and R the neutral element or the key itself satisfy [S]B = R + [k]A for small orders.
    for point in SMALL_ORDER:
        forged = packet[:10] + issuer + packet[42:448] + bytes.fromhex(point) + bytes(32)
        with pytest.raises(SignatureError):
            qis.Packet.parse(forged)


@pytest.mark.parametrize("fill", [0x00, 0xD2, 0xFF])
def test_every_length_is_refused(fill):
    for size in range(1501):
        with pytest.raises(PeerError):
            qis.Packet.parse(bytes([fill]) * size)


def test_every_truncation_and_extension_is_refused():
    effect = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=0.2)
    raw = bytes(
        qis.Packet.sign(
            ATTACKER, outcome=effect, fingerprint=FINGERPRINT, issued_at=NOW, lifetime_s=60
        )
    )
    for size in range(512):
        with pytest.raises(PeerError):
            qis.Packet.parse(raw[:size])
        with pytest.raises(PeerError):
            qis.Packet.parse(raw[size + 1 :])
        with pytest.raises(PeerError):
            qis.Packet.parse(raw + raw[: size + 1])


# Test 1 of the Ed25519 COSE_Sign1 examples (cose-wg/Examples, eddsa-sig-01, public domain): the
# signature over their Sig_structure verifies here, and ours is built by the same rule.
COSE_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
COSE_SIGNED = "846A5369676E61747572653145A2012703004054546869732069732074686520636F6E74656E742E"


@pytest.mark.shared
def test_the_cose_example_verifies(shared_data):
    example = read(shared_data, "cose_eddsa-examples_eddsa-sig-01")
    whole = bytes.fromhex(example["output"]["cbor"])
    verify(bytes.fromhex(COSE_KEY), bytes.fromhex(COSE_SIGNED), whole[-64:])
    assert example["intermediates"]["ToBeSign_hex"] == COSE_SIGNED
    packet = bytes(512)
    assert _layout.signed_bytes(packet)[:12] == bytes.fromhex(COSE_SIGNED)[:12]
