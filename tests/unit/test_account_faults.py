"""Every fault of the files that remember what has left has a name, and nothing leaves then."""

import asyncio

import pytest

from benchmarks._account_faults import FAULTS, Site, called


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_a_name(name, tmp_path):
    happens, word = FAULTS[name]

    async def scenario():
        site = Site(tmp_path)
        await site.publish(100)
        await site.publish(200)
        assert await happens(site) == word

    asyncio.run(scenario())


def test_without_a_fault_it_goes_on(tmp_path):
    async def scenario():
        site = Site(tmp_path)
        for n in (100, 200, 300):
            assert not await called(site, n)

    asyncio.run(scenario())
