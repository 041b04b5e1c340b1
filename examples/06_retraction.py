"""Retraction: a site takes back what it published, and everybody's synthesis is without it.

Three hospitals of a trial of interferon gamma in chronic granulomatous disease; the largest finds
that consent is missing. Nothing signed before comes back, however often it is sent again.
"""

import asyncio

from cgd import ABOUT, SCHEME, STUDY, evidence_of

import qis

HOSPITALS = ("NIH", "Amsterdam", "Scripps Institute")


async def when(loop: qis.SynthesisLoop, sites: int) -> None:
    """Print the synthesis once it holds this many sites."""
    async for synthesis in loop:
        if len(synthesis.sites) == sites:
            ratio, low, high = synthesis.back_transformed
            print(f"{sites} sites: hazard ratio {ratio:.2f} [{low:.2f}, {high:.2f}]")
            for left in synthesis.excluded:
                print(f"  left out, {left.site}: {left.reason}. {left.sentence}")
            return


async def main() -> None:
    """Publish three, withdraw one; the reader is the last hospital."""
    network = qis.MemoryNetwork()
    sites = {name: qis.Identity.generate() for name in HOSPITALS}
    roster = qis.Roster(tuple(qis.Site.of(name, key.issuer) for name, key in sites.items()))
    largest, middle, reader = (
        qis.SynthesisLoop(
            identity,
            qis.MemoryTransport(network, identity),
            SCHEME,
            interest=SCHEME.interest(ABOUT),
            studies=[STUDY],
            roster=roster,
            disclosure=qis.Disclosure.preset("none"),  # published data; of patients use "cms"
        )
        for identity in sites.values()
    )
    async with largest, middle, reader:
        for name, loop in zip(sites, (largest, middle, reader), strict=True):
            await loop.publish(evidence_of(name), about=ABOUT)
        await when(reader, sites=3)
        await largest.retract(STUDY, reason="consent")
        await when(reader, sites=2)


asyncio.run(main())
