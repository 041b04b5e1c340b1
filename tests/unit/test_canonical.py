"""The gate to CBOR: no byte of a stranger's reaches a feature of the decoder."""

import itertools

import cbor2
import pytest

import qis
from qis import _canonical, _layout
from qis.packet import reread as reread_packet

SITE = qis.Identity.from_seed(bytes(range(32)))
HONEST = qis.Packet.sign(
    SITE,
    outcome=qis.Record(question="q | e", content={"a": 1}),
    fingerprint=qis.Fingerprint(sketch=bytes(32), scheme_id=bytes(8)),
    issued_at=1_800_000_000,
    lifetime_s=86_400,
)
WAYS_TO_KNOWN_TAGS = {
    "a list that holds itself": "d81c81d81d00",
    "shared lists within each other": "d81c84" * 3 + "d81d00d81d01d81d02" * 4,
    "a stranger's regular expression": "d8236628612b292b24",
    "a date": "c074323031332d30332d32315432303a30343a30305a",
    "a bignum": "c249010000000000000000",
    "a decimal fraction": "c48221196ab3",
    "a rational": "d81e820102",
    "a set": "d9010280",
    "self-described": "d9d9f700",
    "a string reference": "d9010083636161616161d81900",
    "an address": "d9010444c0a80001",
    "an unknown one": "dbffffffffffffffff00",
    "nothing but tags": "c1" * 150 + "00",
    "a tag in a key": "a1c10000",
    "a tag in a tag": "d9d9f7d81c80",
}


def signed_with(body: bytes, kind: int = 6) -> bytes:
    """512 bytes, validly signed, with any bytes where a body is."""
    head = bytes(HONEST)[: _layout.KIND] + bytes([kind]) + bytes(HONEST)[_layout.KIND + 1 : 123]
    rest = b"\x06\x48" + HONEST.routing_commitment
    content = head + body + rest + _layout.padding(446 - 123 - len(body) - len(rest))
    return content + b"\x58\x40" + SITE.sign(_layout.signed_bytes(content))


@pytest.mark.parametrize("way", WAYS_TO_KNOWN_TAGS)
def test_a_tag_is_refused_in_a_body_and_inside_one(way):
    tagged = bytes.fromhex(WAYS_TO_KNOWN_TAGS[way])
    inside = cbor2.dumps({0: bytes(8), 1: "q", 8: {"a": 0}})[:-1] + tagged
    for body in (tagged, inside):
        with pytest.raises(ValueError, match="tag"):
            _canonical.decode(body)
        with pytest.raises(qis.MalformedPacketError, match="tag"):
            qis.Packet.parse(signed_with(body))
        (refused,) = qis.Packet.verify_many([signed_with(body)])
        assert isinstance(refused, qis.MalformedPacketError)


def test_every_tag_is_refused_at_its_head():
    """All tags of one and two bytes, and the edges of the longer ones."""
    short = range(65_536)
    longer = itertools.chain.from_iterable(
        (2**power - 1, 2**power, 2**power + 1) for power in range(16, 64)
    )
    for tag in itertools.chain(short, longer, [2**64 - 1]):
        # What the tag holds is not well-formed: whoever speaks of the tag has not read it.
        data = cbor2.dumps(cbor2.CBORTag(tag, 0))[:-1] + b"\x1c"
        assert refusal(data) == f"not well-formed CBOR: holds tag {tag}"


def refusal(data):
    try:
        return _canonical.loads(data)
    except ValueError as error:
        return str(error)


def test_the_decoder_alone_would_run_what_a_stranger_sends():
    """Shows that the bodies above are attacks: without the gate they make what no packet holds."""
    itself = cbor2.loads(bytes.fromhex(WAYS_TO_KNOWN_TAGS["a list that holds itself"]))
    assert itself[0] is itself
    with pytest.raises(RecursionError):
        _canonical.check_types(itself)
    pattern = cbor2.loads(bytes.fromhex(WAYS_TO_KNOWN_TAGS["a stranger's regular expression"]))
    assert pattern.pattern == "(a+)+$"


@pytest.mark.parametrize("raised", [RecursionError, OverflowError, KeyError, OSError])
@pytest.mark.parametrize("read", ["parse", "verify_many", "reread"])
def test_whatever_a_kind_raises_is_a_refusal(monkeypatch, raised, read):
    def fail(*_):
        raise raised("of a stranger's")

    monkeypatch.setattr(qis.Record, "from_body", classmethod(fail))
    # The reader of a kind is looked up once; here it is to be looked up again.
    monkeypatch.setattr(qis.outcomes, "_reader_of", qis.outcomes._reader_of.__wrapped__)
    if read == "verify_many":
        (found,) = qis.Packet.verify_many([bytes(HONEST)])
        assert isinstance(found, qis.MalformedPacketError)
        return
    with pytest.raises(qis.MalformedPacketError, match=raised.__name__):
        (reread_packet if read == "reread" else qis.Packet.parse)(bytes(HONEST))


def test_a_fault_in_the_compiled_decoder_is_a_refusal_and_an_interrupt_is_not(monkeypatch):
    panic = type("PanicException", (BaseException,), {})
    for raised, expected in ((panic, qis.MalformedPacketError), (KeyboardInterrupt,) * 2):

        def fail(*_, raised=raised, **__):
            raise raised

        monkeypatch.setattr(cbor2, "loads", fail)
        with pytest.raises(expected):
            qis.Packet.parse(bytes(HONEST))
