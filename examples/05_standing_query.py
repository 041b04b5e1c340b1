"""A standing query: a site that studies nothing yet hears of whatever is like its own patients.

Hospitals publish about an immune deficiency and others about lung cancer. The query names no study:
it says whom the site treats, and how alike is alike enough.
"""

import asyncio
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import qis

DATA, SCHEME = Path(__file__).parent / "data", qis.VectorScheme(dimensions=10)


def cohorts(name: str, site: str, female: str) -> Iterator[tuple[str, list[float]]]:
    """Each site of a trial, with shares of its patients from -1 (none) to 1 (all)."""
    sites = defaultdict(list)
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sites[row[site]].append((float(row["age"]), row["sex"] == female))
    for label, people in sites.items():
        ages = [sum(low <= age < low + 10 for age, _ in people) for low in range(0, 90, 10)]
        counts = (*ages, sum(is_female for _, is_female in people))
        yield label, [2.0 * count / len(people) - 1.0 for count in counts]


async def main() -> None:
    """Ask first, then let all publish."""
    network = qis.MemoryNetwork()
    asking = qis.MemoryTransport(network, qis.Identity.generate())
    # Shares of patients aged 0-9, 10-19, …, and female: the site treats children and young men.
    mine = [0.0, -0.2, -0.4, -0.6, -1.0, -1.0, -1.0, -1.0, -1.0, -0.6]
    query = SCHEME.interest(mine, min_similarity=0.85)
    sources = cohorts("cgd.csv", "hospital", "female"), cohorts("lung_ncctg.csv", "inst", "2")
    async with asking, asking.subscribe(query) as deliveries:
        for disease, found in zip(("immune deficiency", "lung cancer"), sources, strict=True):
            for label, about in found:
                packet = qis.Packet.sign(
                    identity := qis.Identity.generate(),
                    outcome=qis.Record(question=f"who treats {disease}?", content={"site": label}),
                    fingerprint=SCHEME.fingerprint(about),
                    routing_keys=SCHEME.routing_keys(about),
                    issued_at=int(network.now),
                    lifetime_s=86_400,
                )
                async with qis.MemoryTransport(network, identity) as sender:
                    await sender.publish(packet, SCHEME.routing_keys(about))
        await network.settle()
        await asking.aclose()  # which ends the deliveries
        heard = [delivery.packet async for delivery in deliveries]
    print(f"Of 32 sites that publish, the query hears of {len(heard)}:")
    for packet in heard:
        alike = SCHEME.similarity(query.fingerprint, packet.fingerprint)
        print(f"  {packet.outcome.question}  {packet.outcome.content['site']:24} {alike:.2f}")


asyncio.run(main())
