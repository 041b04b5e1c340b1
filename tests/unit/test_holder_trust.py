"""What a holder's roster refuses replaces nothing of what the holder keeps for others."""

import qis
from qis.evidence import Roster, Site, SiteKey
from qis.overlay.message_store import MessageStore
from qis.transport._topic import topic_of
from qis.transport.base import Statistics
from qis.transport.reception import Reception
from tests._builders import effect, signed

NOW = 1_800_000_000
SITE = qis.Identity.from_seed(bytes([1]) * 32)


def packet(second):
    return signed(SITE, effect(), at=NOW + second)


def kept(roster, packets):
    """What a holder keeps, as a node asks for it."""
    reception, message_store = Reception(roster, Statistics(), topic_of=topic_of), MessageStore()
    for one in packets:
        keys = (one.outcome.study_id,)
        carried = reception.validator(bytes(one), keys, NOW + 60)
        message_store.put(carried, keys, NOW + 60)
    return {each.id for each in message_store.under(packets[0].outcome.study_id, NOW + 60)}


def test_a_late_packet_under_an_ended_key_takes_nothing_s_place():
    old, good, late = packet(0), packet(1), packet(10)
    ended = Roster((Site(name="north", keys=(SiteKey(issuer=SITE.issuer, valid_until=NOW + 5),)),))
    assert kept(Roster.open(), [old, good, late]) == {late.id}
    assert kept(ended, [old, good, late]) == {good.id, late.id}
    assert kept(ended, [late, good, old]) == {good.id, late.id}
