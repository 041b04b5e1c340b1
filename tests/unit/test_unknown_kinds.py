"""A kind that a newer version brings is verified, held and forwarded here, and not read."""

import asyncio
import time

import pytest

import qis
from qis import _canonical, _layout
from qis.errors import DisclosureError, InputError, MalformedPacketError
from qis.outcomes import UnknownOutcome
from tests._builders import site

NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
QUESTION = "a vs b | death"


def unknown(**changes):
    entries = ((4, 40), (6, bytes(range(40))), (7, (1, -2, "é")))
    return UnknownOutcome(**{"question": QUESTION, "kind": 23, "entries": entries, **changes})


def sign(outcome, number=1, issued_at=NOW, **changes):
    return qis.Packet.sign(
        site(number),
        outcome=outcome,
        fingerprint=SCHEME.fingerprint(ABOUT),
        issued_at=issued_at,
        lifetime_s=86_400,
        **changes,
    )


def signed_with(body, kind=23):
    """A packet of this kind with these bytes as its body, signed as it is."""
    start = bytes(sign(qis.Suppressed(question=QUESTION)))[:123]
    start = start[: _layout.KIND] + bytes([kind]) + start[_layout.KIND + 1 :]
    rest = b"\x06\x48" + bytes(8)
    room = 446 - 123 - len(body) - len(rest)
    content = start + body + rest + _layout.padding(room)
    return content + b"\x58\x40" + site(1).sign(_layout.signed_bytes(content))


def test_it_is_read_as_it_was_signed():
    packet = sign(unknown(cohort="north"))
    found = qis.Packet.parse(bytes(packet), now=NOW)
    assert found == packet
    assert found.outcome == packet.outcome
    assert found.outcome.kind == 23
    assert "UnknownOutcome" in repr(found)


STUDY = qis.Study(question=QUESTION).id


def body_of(more, study=STUDY):
    return {0: study, 1: QUESTION, **more}


@pytest.mark.parametrize("kind", range(11, 24))
def test_every_kind_to_come_is_read(kind):
    raw = signed_with(_canonical.encode(body_of({3: 1, 23: [b"", "x", -7]})), kind)
    assert qis.Packet.parse(raw).outcome.kind == kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (_canonical.encode(body_of({3: 1})), 0),
        (_canonical.encode(body_of({3: 1})), 24),
        (_canonical.encode(body_of({3: 1.5})), 23),
        (_canonical.encode(body_of({3: None})), 23),
        (_canonical.encode(body_of({3: True})), 23),
        (_canonical.encode(body_of({3: {1: 2}})), 23),
        (_canonical.encode(body_of({3: [[1]]})), 23),
        (_canonical.encode(body_of({3: "two  spaces"})), 23),
        (_canonical.encode(body_of({24: 1})), 23),
        (_canonical.encode(body_of({-3: 1})), 23),
        (_canonical.encode(body_of({"x": 1})), 23),
        (_canonical.encode(body_of({4: 1, 3: 1})), 23),
        (_canonical.encode(body_of({3: 1}, study=b"short")), 23),
        (_canonical.encode({0: STUDY, 3: 1}), 23),
        (_canonical.encode(body_of({3: 1})).replace(b"\x03\x01", b"\x03\x18\x01"), 23),
    ],
)
def test_what_is_in_no_form_of_a_body_is_refused(body, kind):
    with pytest.raises(MalformedPacketError):
        qis.Packet.parse(signed_with(body, kind))


def test_a_known_kind_cannot_be_made_an_unknown_one():
    with pytest.raises(InputError):
        unknown(kind=4)
    with pytest.raises(InputError):
        unknown(kind=24)
    with pytest.raises(InputError):  # a lineage belongs to derived packets only
        sign(unknown(), leaves=[bytes(12)])


def test_the_newest_decides_and_a_synthesis_names_the_site_and_the_kind():
    effect = qis.Effect(question=QUESTION, measure="OR", estimate=0.4, standard_error=0.2)
    packets = [
        sign(effect),
        sign(unknown(), issued_at=NOW + 10),
        sign(effect, number=2),
    ]
    found = qis.synthesise(packets, model="fixed")
    assert len(found.sites) == 1
    (left,) = [left for left in found.excluded if left.reason == "unknown kind"]
    assert left.packet == packets[1]
    assert "kind 23" in left.sentence
    assert "update" in left.sentence
    newer = qis.synthesise([*packets, sign(effect, issued_at=NOW + 20)], model="fixed")
    assert len(newer.sites) == 2


def test_no_preset_lets_it_out_unseen():
    with pytest.raises(DisclosureError, match="is not known which counts"):
        qis.Disclosure.preset("cms").check(unknown())


def test_a_loop_keeps_it_and_tells_it_once():
    async def scenario():
        told, now = [], int(time.time())
        network = qis.MemoryNetwork(seed=3)
        sender = qis.MemoryTransport(network, site(1))
        loop = qis.SynthesisLoop(
            site(2),
            qis.MemoryTransport(network, site(2)),
            SCHEME,
            interest=SCHEME.interest(ABOUT),
            disclosure=qis.Disclosure.preset("none"),
            on_event=told.append,
        )
        async with loop, sender:
            keys = SCHEME.routing_keys(ABOUT)
            for cohort in ("north", "south", "west"):
                packet = sign(unknown(cohort=cohort), routing_keys=keys, issued_at=now)
                await sender.publish(packet, keys)
            known = qis.Effect(question=QUESTION, measure="OR", estimate=0.4, standard_error=0.2)
            await sender.publish(sign(known, 3, routing_keys=keys, issued_at=now), keys)
            async with asyncio.timeout(20):
                async for synthesis in loop:
                    if len(synthesis.excluded) == 3 and len(synthesis.sites) == 1:
                        break
        return [event for event in told if "kind 23" in event.reason]

    (event,) = asyncio.run(scenario())
    assert event.kind == "limit"
    assert "update" in event.reason


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, "it must be a tuple of pairs"), ("ab", "it must be a tuple of pairs"),
        ((1, 2), "it must be a tuple of pairs"), (((6, 1, 2),), "it must be a tuple of pairs"),
        ((("a", 1),), "keys of entries"), (((6, 0.5),), "entries hold whole numbers"),
    ],
)  # fmt: skip
def test_what_is_no_body_is_refused_in_words(entries, words):
    with pytest.raises(qis.InputError, match=words) as refused:
        UnknownOutcome(question="a vs b", kind=23, entries=entries)
    assert refused.value.field == "entries"
