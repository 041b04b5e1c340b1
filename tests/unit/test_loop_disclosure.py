"""The loop asks the disclosure rules about fingerprints, interests and rosters too."""

import asyncio

import pytest

import qis
from qis.errors import DisclosureError

KEYED = qis.VectorScheme(dimensions=3, secret=bytes(range(32)))
UNKEYED = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
SITE = qis.Identity.from_seed(bytes(32))
NOBODY = {"interest_people": 0}


def counts():
    return qis.Counts(question="a vs b", events=40, total=100, control_events=50, control_total=100)


def refused(path, *, scheme=KEYED, publish=None, **options):
    """The rule that refuses to open a loop on a shared folder or to publish there, if one does."""

    async def scenario():
        loop = qis.SynthesisLoop(
            SITE,
            qis.DirectoryTransport(path, SITE),
            scheme,
            interest=scheme.interest(ABOUT),
            **{"disclosure": qis.Disclosure.preset("cms"), **options},
        )
        async with loop:
            await loop.publish(counts(), about=ABOUT, **(publish or {}))
        assert loop.statistics.published == 1

    try:
        asyncio.run(scenario())
    except DisclosureError as error:
        return error.field
    return None


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (NOBODY, None),
        ({"interest_people": 11}, None),
        ({"interest_people": 1}, "interest"),
        ({}, "interest"),
        (NOBODY | {"scheme": UNKEYED}, "secret"),
        (NOBODY | {"publish": {"people": 1}}, "fingerprint"),
        (NOBODY | {"publish": {"people": 0}}, None),
        ({"scheme": UNKEYED, "disclosure": qis.Disclosure.preset("none")}, None),
    ],
)
def test_a_shared_folder_is_beyond_this_machine(tmp_path, options, field):
    assert refused(tmp_path / "shared", **options) == field


def test_on_this_machine_only_the_number_of_people_counts():
    async def scenario():
        network = qis.MemoryNetwork(seed=1)
        loop = qis.SynthesisLoop(
            SITE, qis.MemoryTransport(network, SITE), UNKEYED, interest=UNKEYED.interest(ABOUT)
        )
        async with loop:
            await loop.publish(counts(), about=ABOUT)
            with pytest.raises(DisclosureError) as caught:
                await loop.publish(qis.Suppressed(question="c vs d"), about=ABOUT)
            assert caught.value.field == "fingerprint"
            await loop.publish(qis.Suppressed(question="c vs d"), about=ABOUT, people=0)

    asyncio.run(scenario())


def test_an_agreement_needs_its_roster_for_as_long_as_the_loop_is_open():
    parties = qis.Roster((qis.Site.of("north", SITE.issuer),))
    rules = qis.Disclosure.preset("datashield", agreement="DUA", roster=parties)

    async def scenario(roster):
        network = qis.MemoryNetwork(seed=1)
        loop = qis.SynthesisLoop(
            SITE,
            qis.MemoryTransport(network, SITE),
            KEYED,
            interest=KEYED.interest(ABOUT),
            roster=roster,
            disclosure=rules,
        )
        async with loop:
            with pytest.raises(DisclosureError):
                loop.believe(qis.Roster.open())
            assert loop.store.roster is roster

    asyncio.run(scenario(parties))
    with pytest.raises(DisclosureError):
        asyncio.run(scenario(qis.Roster.open()))
