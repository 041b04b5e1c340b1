"""What holds for every packet that can be made, and for every way to spoil one."""

import struct

import cbor2
import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis import _layout
from qis.errors import PeerError
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
