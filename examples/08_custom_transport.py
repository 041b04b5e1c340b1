"""A transport of one's own (`table_transport.py`) passes the suite that all of qis's pass.

The suite asks: what a subscription yields has verified, travels under signed routing keys, matches
its interest, and comes once; late subscribers get what was before; closing ends everything.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cgd import ABOUT, SCHEME, STUDY, evidence_of
from table_transport import TableTransport

import qis
from qis.testing import check_transport


@asynccontextmanager
async def network(identities: Sequence[qis.Identity]) -> AsyncIterator[list[TableTransport]]:
    """One table, and a transport for each identity, as the suite wants it."""
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        transports = [TableTransport(file.name) for _ in identities]
        yield transports
        for transport in transports:
            await transport.aclose()


async def main() -> None:
    """The suite; then two hospitals over the table."""
    await check_transport(network)
    print("TableTransport keeps every promise that the suite checks.")
    sites = {name: qis.Identity.generate() for name in ("NIH", "Amsterdam")}
    async with network([*sites.values()]) as transports:
        nih, amsterdam = (
            qis.SynthesisLoop(
                identity,
                transport,
                SCHEME,
                interest=SCHEME.interest(ABOUT),
                studies=[STUDY],
                disclosure=qis.Disclosure.preset("none"),  # published data; of patients use "cms"
            )
            for identity, transport in zip(sites.values(), transports, strict=True)
        )
        async with nih, amsterdam:
            await nih.publish(evidence_of("NIH"), about=ABOUT)
            await amsterdam.publish(evidence_of("Amsterdam"), about=ABOUT)
            async for synthesis in amsterdam:
                if len(synthesis.sites) == 2:
                    shown = "{:.2f} [{:.2f}, {:.2f}]".format(*synthesis.back_transformed)
                    print(f"Two hospitals through the table: hazard ratio {shown}")
                    return


asyncio.run(main())
