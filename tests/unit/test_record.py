"""Records, derived outcomes, suppressions: what they may hold, and one encoding for each."""

import math

import pytest

import qis
from qis import _canonical
from qis.errors import InputError, OutcomeTooLargeError
from qis.outcomes import Derived, Record, Suppressed

NOW = 1_800_000_000


def sign(outcome, **others):
    return qis.Packet.sign(
        qis.Identity.from_seed(bytes(32)),
        outcome=outcome,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=NOW,
        lifetime_s=60,
        **others,
    )


def record(content):
    return Record(question="q", content=content)


def test_a_record_keeps_what_it_was_given_and_cannot_be_changed():
    content = {"b": [1, 2.5, None, True, "x"], "a": {"deep": {"deeper": b"\x00"}}}
    found = qis.Packet.parse(bytes(sign(record(content)))).outcome
    assert found.content["b"] == (1, 2.5, None, True, "x")
    assert found.content["a"]["deep"]["deeper"] == b"\x00"
    assert found == record(content)
    assert hash(found) == hash(record(content))
    with pytest.raises(TypeError):
        found.content["b"] = 1
    content["b"].append("later")
    assert len(found.content["b"]) == 5


def test_the_order_of_keys_and_the_type_of_whole_numbers_do_not_matter():
    assert bytes(sign(record({"x": 1, "long": 2.0}))) == bytes(sign(record({"long": 2, "x": 1.0})))


def test_a_record_is_in_deterministic_cbor():
    # RFC 8949, section 4.2.1: shorter keys first, then by bytes; reals in their shortest form.
    body = record({"bb": 1.5, "c": 100000.5, "a": 1.1}).encoded()
    expected = "a3 6161 fb3ff199999999999a 6163 fa47c35040 626262 f93e00".replace(" ", "")
    assert body.hex().endswith(expected)


@pytest.mark.parametrize(
    "content",
    [
        {"x": math.nan},
        {"x": math.inf},
        {"x": 2**53},
        {"x": -(2**53)},
        {"x": 1e300},
        {"x": {1, 2}},
        {"x": ...},
        {1: "x"},
        {"x": "\x00"},
        {"x": "\u202e"},
        {"x": "\ue000"},  # private use
        {"x": "\ufdd0"},  # noncharacters
        {"x": "\U0010ffff"},
        {"x": [[[[1]]]]},
        {"x": {"y": {"z": {"w": {}}}}},
        {"x": [0] * 300},
        {"a\u0301": 1, "\u00e1": 2},
        [("x", 1)],
    ],
    ids=repr,
)
def test_what_a_record_may_not_hold_is_refused(content):
    with pytest.raises(InputError):
        record(content)


def test_a_record_that_does_not_fit_says_by_how_much():
    # 1 byte for the map, 10 for the study, 3 for the question "q", 1 for the key of the content.
    room = 311 - 15
    head = len(b"\xa1\x61x\x59\x01\x00")
    assert sign(record({"x": b"\0" * (room - head)}))
    with pytest.raises(OutcomeTooLargeError, match="296 of 311") as caught:
        record({"x": b"\0" * (room - head + 1)})
    assert (caught.value.field, caught.value.actual, caught.value.limit) == ("content", 297, room)


@pytest.mark.parametrize("pair", [({"x": 1}, {"x": True}), ({"x": 0}, {"x": False})])
def test_records_that_python_calls_equal_but_are_not_differ(pair):
    assert record(pair[0]) != record(pair[1])
    assert record(pair[0]) == record(dict(pair[0]))
    assert sign(record(pair[0])) != sign(record(pair[1]))


def test_an_outcome_is_shown_in_words_and_never_as_markup():
    shown = record({"<b>": [1.5, {"x": "</td>"}], "long": "y" * 200})._repr_html_()
    assert "&lt;b&gt;: [1.5, {x: &lt;/td&gt;}]" in shown
    assert "y" * 121 not in shown
    assert shown.count("<") == 2 + 6 * shown.count("<tr>")


def test_hostile_maps_are_refused_by_the_packet():
    good = sign(record({"a": 1.5}))
    payload = bytes(good)[46:446]
    half = _canonical.encode_sorted(1.5)
    assert half in payload
    # The same number in 64 bits is another encoding, and so is a key out of order.
    forged = payload.replace(half, b"\xfb\x3f\xf8" + bytes(6))[:400]
    with pytest.raises(qis.PeerError):
        qis.Packet.parse(_signed(good, forged))


def _signed(packet, payload):
    content = bytes(packet)[:46] + payload
    signature = qis.Identity.from_seed(bytes(32)).sign(
        b"\x84\x6aSignature1" + content[2:42] + b"\x40" + content[43:446]
    )
    return content + b"\x58\x40" + signature


def derived(**changes):
    arguments = {
        "question": "q",
        "measure": "OR",
        "model": "random",
        "estimate": -0.3,
        "standard_error": 0.1,
        "tau2": 0.04,
        "sites": 3,
    }
    return Derived(**{**arguments, **changes})


def test_a_derived_outcome_travels_with_its_sorted_leaves():
    leaves = [bytes([n]) * 12 for n in (3, 1, 2, 1)]
    packet = qis.Packet.parse(bytes(sign(derived(), leaves=leaves)))
    assert packet.outcome == derived()
    assert packet.leaves == tuple(bytes([n]) * 12 for n in (1, 2, 3))
    with pytest.raises(InputError, match="only a Derived"):
        sign(Suppressed(question="q"), leaves=leaves)
    with pytest.raises(InputError, match="12 bytes"):
        sign(derived(), leaves=[b"short"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": "both"}, "model"),
        ({"model": "fixed"}, "tau2"),
        ({"tau2": -1.0}, "tau2"),
        ({"sites": 0}, "sites"),
        ({"estimate": 51.0}, "estimate"),
        ({"standard_error": 0.0}, "standard_error"),
        ({"measure": "XX"}, "measure"),
    ],
)
def test_a_derived_outcome_is_checked(change, field):
    with pytest.raises(InputError) as caught:
        derived(**change)
    assert caught.value.field == field


def test_a_suppression_says_nothing_but_where():
    found = qis.Packet.parse(bytes(sign(Suppressed(question="q", cohort="north")))).outcome
    assert (found.question, found.cohort) == ("q", "north")


def test_a_retraction_needs_a_known_reason():
    with pytest.raises(InputError, match="withdrawn"):
        qis.Retraction(question="q", reason="whim")
    with pytest.raises(InputError, match="withdrawn"):
        qis.Retraction(question="q", reason=["error"])


def test_a_retraction_for_a_reason_of_a_later_version_still_withdraws():
    for reason in ("code 5", "code 255"):
        found = qis.Packet.parse(bytes(sign(qis.Retraction(question="q", reason=reason)))).outcome
        assert found.reason == reason
    for reason in ("code 4", "code 05", "code 256"):
        with pytest.raises(InputError, match="withdrawn"):
            qis.Retraction(question="q", reason=reason)
