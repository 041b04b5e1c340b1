"""What holds for every packet that can be made, and for every way to spoil one."""

import struct

import cbor2
import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis import _layout
from qis.errors import PeerError, QISError
from qis.outcomes.measures import MEASURES_BY_CODE
from qis.testing import identities, mutations, packets


@given(packets())
def test_every_packet_has_512_bytes_and_parses_to_itself(packet):
    raw = bytes(packet)
    assert len(raw) == 512
    parsed = qis.Packet.parse(raw)
    assert parsed == packet
    assert bytes(parsed) == raw
    for field in (
        "outcome",
        "fingerprint",
        "issued_at",
        "expires_at",
        "sequence",
        "issuer",
        "leaves",
        "routing_commitment",
        "id",
    ):
        assert getattr(parsed, field) == getattr(packet, field), field
    assert repr(parsed) == repr(packet)


@given(packets(), st.integers(0, 8 * 512 - 1))
def test_any_single_bit_flip_is_refused(packet, bit):
    raw = bytearray(bytes(packet))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeerError):
        qis.Packet.parse(bytes(raw))


@given(st.data())
def test_whatever_was_changed_is_refused(data):
    raw = bytes(data.draw(packets()))
    with pytest.raises(PeerError):
        qis.Packet.parse(data.draw(mutations(raw)))


@given(st.data())
@settings(max_examples=300)
def test_one_content_has_one_encoding_even_for_whoever_holds_a_key(data):
    identity = data.draw(identities())
    packet = data.draw(packets(by=st.just(identity)))
    payload = bytes(packet)[_layout.PAYLOAD]
    changed = data.draw(mutations(payload))[: len(payload)].ljust(len(payload), b"\0")
    content = bytearray(bytes(packet)[:446])
    content[_layout.PAYLOAD] = changed
    signature = identity.sign(_layout.signed_bytes(bytes(content)))
    forged = bytes(content) + b"\x58\x40" + signature
    try:
        parsed = qis.Packet.parse(forged)
    except PeerError:
        return
    # What parses is what another encoder makes of its content: there is no second encoding.
    assert cbor2.dumps(cbor2.loads(changed), canonical=True) == changed
    assert qis.Packet.parse(bytes(parsed)) == parsed


@given(packets())
def test_every_packet_can_be_explained_and_shown(packet):
    words, html = packet.explain(), packet._repr_html_()
    assert packet.id.hex() in words
    assert packet.outcome.question in words
    assert len(words) < 4000
    assert html.count("<tr>") == len(words.splitlines())
    # Nothing of the packet's own becomes markup.
    assert html.count("<") == 1 + 1 + 6 * html.count("<tr>")
    assert len(repr(packet)) < 300
    assert len(repr(packet.outcome)) < 4000


@given(st.binary(max_size=1500))
def test_arbitrary_bytes_raise_nothing_but_ours(data):
    with pytest.raises(PeerError):
        qis.Packet.parse(data)


@given(packets())
def test_fixed_fields_are_where_the_layout_says(packet):
    raw = bytes(packet)
    assert raw[_layout.ISSUER] == bytes(packet.issuer)
    assert struct.unpack(">I", raw[_layout.EXPIRES_AT]) == (packet.expires_at,)
    assert struct.unpack(">I", raw[_layout.ISSUED_AT]) == (packet.issued_at,)
    assert struct.unpack(">Q", raw[_layout.SEQUENCE]) == (packet.sequence,)
    assert raw[_layout.SKETCH] == packet.fingerprint.sketch
    assert raw[_layout.SCHEME_ID] == packet.fingerprint.scheme_id
    assert raw[_layout.KIND] == packet.outcome.kind


_GOOD = {0: bytes(8), 1: "a vs b", 3: 1, 6: (0.5, 0.25)}
_EDGES = [0.0, -0.0, 1e-9, 1e-8, 1e4, 20.0, 64.1, -64.1, 1e30, 2e30, -1e30, 1e301, 1e-300]
_REAL = st.sampled_from([*_EDGES, float("nan"), float("inf"), float("-inf")]) | st.floats()
_OTHER = st.one_of(
    st.tuples(st.just(0), st.sampled_from([b"", b"1234567", b"123456789", "12345678", None])),
    st.tuples(st.just(1), st.text(max_size=9) | st.sampled_from(["", " ", "x" * 200, b"a", 3])),
    st.tuples(st.just(2), st.text(max_size=6) | st.sampled_from(["x" * 30, b"", None, 0])),
    st.tuples(st.just(3), st.sampled_from(sorted(MEASURES_BY_CODE))),
    st.tuples(st.just(4), st.sampled_from([0, 1, 2**32 - 1, 2**32, -1, True, 1.0, "1", None])),
    st.tuples(st.just(6), st.tuples(_REAL, st.just(0.25)) | st.tuples(st.just(0.5), _REAL)),
)
_EFFECT_BODIES = st.lists(_OTHER, max_size=2).map(lambda others: _GOOD | dict(others))
"""What is in order but for at most two entries, so that each rule decides alone."""


def _made(build):
    """What it builds, slot by slot with the classes, or what it refuses with."""
    try:
        effect = build()
    except QISError as error:
        return type(error), str(error), error.field
    names = (*qis.outcomes.Outcome.__slots__, *qis.Effect.__slots__)
    return [(name, type(value := getattr(effect, name)), repr(value)) for name in names]


@given(_EFFECT_BODIES)
@settings(max_examples=400)
def test_an_effect_read_from_a_body_is_what_its_constructor_makes(body):
    estimate, standard_error = body[6]
    read = _made(lambda: qis.Effect.from_body({**body, 6: struct.pack("<2d", *body[6])}))
    assert read == _made(
        lambda: qis.Effect(
            study_id=body[0],
            question=body[1],
            cohort=body.get(2, ""),
            measure=MEASURES_BY_CODE[body[3]].name,
            estimate=estimate,
            standard_error=standard_error,
            n=body.get(4),
        )
    )
