"""Two sites: one can give no estimate alone; together they can, and both come to the same one.

Two hospitals of a trial of interferon gamma in chronic granulomatous disease. In Texas nobody on
interferon had an infection, so its own hazard ratio has no finite estimate. Its packet says that
too, and counts with all it knows.
"""

import asyncio

from cgd import ABOUT, SCHEME, STUDY, evidence_of

import qis


async def site(network: qis.MemoryNetwork, hospital: str) -> None:
    """One site: publish, and say what is known until both have been heard."""
    identity = qis.Identity.generate()
    loop = qis.SynthesisLoop(
        identity,
        qis.MemoryTransport(network, identity),
        SCHEME,
        interest=SCHEME.interest(ABOUT),
        studies=[STUDY],
        disclosure=qis.Disclosure.preset("none"),  # published trial data; of patients use "cms"
    )
    async with loop:
        await loop.publish(evidence_of(hospital), about=ABOUT)
        async for synthesis in loop:
            ratio, low, high = synthesis.back_transformed
            shown = "no estimate" if ratio is None else f"{ratio:.2f}"
            heard = len(synthesis.sites)
            print(f"{hospital:22} knows of {heard}: hazard ratio {shown} [{low:.2f}, {high:.2f}]")
            if heard == 2:
                print(f"{hospital:22} digest {synthesis.digest.hex()[:16]}")
                return


async def main() -> None:
    """Both at once."""
    network = qis.MemoryNetwork()
    await asyncio.gather(*(site(network, name) for name in ("Texas Children's Hosp", "Amsterdam")))


asyncio.run(main())
