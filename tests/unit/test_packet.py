"""The packet: exactly one valid encoding, and its own error for each way to be invalid."""

import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis import _layout, errors
from qis._layout import BODY_ROOM, padding

NOW = 1_800_000_000
SITE = qis.Identity.from_seed(bytes(range(32)))
FINGERPRINT = qis.Fingerprint(bytes(range(32)), b"scheme-1")

effects = st.builds(
    qis.Effect,
    question=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=48),
    cohort=st.text(st.characters(codec="ascii", categories=["L"]), max_size=24),
    measure=st.sampled_from(["OR", "HR", "MD", "SMD"]),
    estimate=st.floats(-50, 50),
    standard_error=st.floats(1e-6, 1e4),
    n=st.none() | st.integers(1, 2**32 - 1),
)


def signed(outcome, **changes):
    arguments = {"issued_at": NOW, "lifetime_s": 86_400, **changes}
    return qis.Packet.sign(SITE, outcome=outcome, fingerprint=FINGERPRINT, **arguments)


EFFECT = qis.Effect(
    question="interferon gamma vs placebo | infection",
    measure="OR",
    estimate=-0.3,
    standard_error=0.1,
)


@given(effects)
def test_every_packet_has_512_bytes_and_parses_to_what_was_signed(effect):
    packet = signed(effect)
    parsed = qis.Packet.parse(bytes(packet), now=NOW)
    assert len(bytes(packet)) == qis.PACKET_SIZE
    assert parsed == packet
    assert parsed.outcome == effect
    assert (parsed.issued_at, parsed.expires_at) == (NOW, NOW + 86_400)
    assert parsed.fingerprint == FINGERPRINT
    assert parsed.issuer == SITE.issuer
    assert parsed.sequence == NOW * 10**6


def test_every_single_bit_flip_is_refused():
    raw = bytes(signed(EFFECT))
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.PeerError):
            qis.Packet.parse(bytes(flipped))


@pytest.mark.parametrize("size", [0, 1, 511, 513, 1500])
def test_another_length_is_refused(size):
    with pytest.raises(errors.PacketSizeError) as caught:
        qis.Packet.parse(bytes(size))
    assert (caught.value.actual, caught.value.limit) == (size, 512)


@given(st.binary(min_size=512, max_size=512))
@settings(max_examples=200)
def test_arbitrary_bytes_raise_only_our_errors(data):
    with pytest.raises(errors.PeerError):
        qis.Packet.parse(data)


@pytest.mark.parametrize(
    ("now", "error"),
    [
        (NOW + 86_400, errors.ExpiredError),
        (NOW - 301, errors.NotYetValidError),
        (float("nan"), errors.ExpiredError),
    ],
)
def test_outside_its_validity_a_packet_is_refused(now, error):
    raw = bytes(signed(EFFECT))
    assert qis.Packet.parse(raw, now=NOW - 300)
    with pytest.raises(error):
        qis.Packet.parse(raw, now=now)


def resigned(raw, payload):
    content = raw[:46] + payload
    to_sign = b"\x84\x6aSignature1" + content[2:42] + b"\x40" + content[43:446]
    return content + b"\x58\x40" + SITE.sign(to_sign)


def test_a_signed_but_different_encoding_of_the_same_content_is_refused():
    raw = bytes(signed(EFFECT))
    assert qis.Packet.parse(resigned(raw, raw[46:446])) == signed(EFFECT)
    pad = raw.index(b"\x20\x58", 122)
    longer_head = raw[46:pad] + b"\x38\x18\x58" + bytes([raw[pad + 2] - 1]) + bytes(446 - pad - 4)
    assert len(longer_head) == 400
    ones = raw[46:445] + b"\x01"
    for payload in (longer_head, ones):
        with pytest.raises(errors.MalformedPacketError):
            qis.Packet.parse(resigned(raw, payload))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (_layout.EXPIRES_AT, 2**16 - 1),
        (_layout.EXPIRES_AT, NOW),
        (_layout.EXPIRES_AT, NOW + 400 * 86_400 + 1),
        (_layout.ISSUED_AT, 2**16 - 1),
        (_layout.SEQUENCE, 2**32 - 1),
        (_layout.SEQUENCE, 0),
        (slice(_layout.ENTRIES, _layout.ENTRIES + 1), 0xA6),
        (slice(_layout.ENTRIES, _layout.ENTRIES + 1), 0xA8),
        (slice(_layout.KIND, _layout.KIND + 1), 2),
        (slice(_layout.KIND, _layout.KIND + 1), 0),
        (slice(_layout.KIND, _layout.KIND + 1), 24),
    ],
)
def test_a_signed_number_out_of_its_range_is_refused(field, value):
    raw = bytearray(bytes(signed(EFFECT)))
    raw[field] = value.to_bytes(field.stop - field.start)
    with pytest.raises(errors.MalformedPacketError):
        qis.Packet.parse(resigned(bytes(raw[:446]), bytes(raw[46:446])))


@given(st.integers(122, 445), st.binary(min_size=1, max_size=4))
@settings(max_examples=300)
def test_whoever_holds_a_key_can_still_only_sign_valid_content(at, patch):
    raw = bytes(signed(EFFECT))
    payload = (raw[46:at] + patch + raw[at + len(patch) : 446])[:400].ljust(400, b"\x00")
    forged = resigned(raw, payload)
    try:
        parsed = qis.Packet.parse(forged)
    except errors.PeerError:
        return
    assert bytes(parsed) == forged
    assert parsed.outcome == type(parsed.outcome).from_body(parsed.outcome.body())


def test_padding_has_one_form_for_each_length():
    forms = [padding(size) for size in range(2, BODY_ROOM)]
    assert [len(form) for form in forms] == list(range(2, BODY_ROOM))
    assert {form[0] for form in forms} == {0x20, 0x38}


@pytest.mark.parametrize(
    "changes",
    [
        {"issued_at": 100},
        {"lifetime_s": 0},
        {"lifetime_s": 401 * 86_400},
        {"sequence": 2**32 - 1},
        {"sequence": 2**64},
        {"routing_keys": [b"short"]},
        {"leaves": [bytes(12)]},
    ],
)
def test_what_cannot_be_signed_is_refused_with_the_field(changes):
    with pytest.raises(errors.InputError) as caught:
        signed(EFFECT, **changes)
    assert caught.value.field


def test_a_packet_commits_to_its_routing_keys():
    packet = signed(EFFECT, routing_keys=[b"key-0001", b"key-0002"])
    assert packet.travels_under([b"key-0002", b"key-0001"])
    assert not packet.travels_under([b"key-0001"])
    assert not packet.travels_under([b"key-0001", b"key-0002", b"key-0003"])


def test_a_question_that_is_too_long_names_its_size_and_the_limit():
    with pytest.raises(errors.OutcomeTooLargeError) as caught:
        qis.Effect(question="x" * 49, measure="OR", estimate=0.0, standard_error=1.0)
    assert (caught.value.field, caught.value.actual, caught.value.limit) == ("question", 49, 48)
