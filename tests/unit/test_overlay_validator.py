"""A holder passes on what the receiver would accept, and nothing else."""

import pytest

from qis.about import Fingerprint
from qis.identity import Identity
from qis.outcomes import Effect
from qis.overlay.message_store import Carried
from qis.overlay.validator import Validator
from qis.packet import Packet
from qis.refusals import RefusalCode

SITE = Identity.from_seed(bytes(32))
NOW = 1_700_000_000
EFFECT = Effect(question="does it help", measure="OR", estimate=0.1, standard_error=0.2, n=100)
KEYS = tuple(sorted({b"a" * 8, b"b" * 8, EFFECT.study_id}))
PACKET = Packet.sign(
    SITE,
    outcome=EFFECT,
    fingerprint=Fingerprint(bytes(32), bytes(8)),
    issued_at=NOW,
    lifetime_s=100,
    routing_keys=KEYS,
)
RAW = bytes(PACKET)


def test_a_valid_packet_is_carried_with_its_keys():
    inspect = Validator(lambda _: True)
    for _ in range(2):  # the second time from memory
        carried = inspect(RAW, KEYS, NOW + 1)
        assert (carried.id, carried.issuer, carried.keys) == (PACKET.id, SITE.issuer.key, KEYS)
        assert carried.expires_at == NOW + 100


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("packet", "keys", "now"),
    [
        (RAW, KEYS[:2], NOW),
        (RAW, (*KEYS, b"z" * 8), NOW),
        (RAW, (), NOW),
        (RAW, KEYS, NOW + 100),
        (RAW, KEYS, NOW - 301),
        (RAW[:-1] + bytes([RAW[-1] ^ 1]), KEYS, NOW),
        (RAW[:-1], KEYS, NOW),
        (b"", KEYS, NOW),
        (b"p" * 512, KEYS, NOW),
    ],
)
def test_anything_else_is_not_passed_on(packet, keys, now, warm):
    inspect = Validator(lambda _: True)
    if warm:
        assert inspect(RAW, KEYS, NOW) is not None
    assert not isinstance(inspect(packet, keys, now), Carried)


@pytest.mark.parametrize("sequence", [(NOW + 300) * 10**6 + 1, 2**64 - 1])
def test_a_sequence_ahead_of_its_issue_time_is_not_passed_on_and_that_is_told(sequence):
    told = []
    inspect = Validator(
        lambda _: True, on_refusal=lambda packet, error: told.append((packet, error))
    )

    def numbered(sequence):
        return Packet.sign(
            SITE,
            outcome=EFFECT,
            fingerprint=Fingerprint(bytes(32), bytes(8)),
            issued_at=NOW,
            lifetime_s=100,
            sequence=sequence,
            routing_keys=KEYS,
        )

    ahead = numbered(sequence)
    for count in (1, 2):  # the second time from memory
        assert inspect(bytes(ahead), KEYS, NOW) is RefusalCode.SEQUENCE
        assert len(told) == count
    packet, error = told[0]
    assert packet == ahead
    assert (error.field, error.actual, error.limit) == ("sequence", sequence, (NOW + 300) * 10**6)
    assert inspect(bytes(numbered((NOW + 300) * 10**6)), KEYS, NOW) is not None
    forged = bytes(ahead)[:-1] + bytes([bytes(ahead)[-1] ^ 1])
    assert inspect(forged, KEYS, NOW) is None
    assert len(told) == 2  # only what verified names anybody


def test_who_is_not_on_the_roster_is_not_passed_on():
    assert Validator(lambda _: False)(RAW, KEYS, NOW) is RefusalCode.ROSTER
