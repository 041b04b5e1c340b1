"""Hospital C has 11 patients: what 23 others say for it, two of which have 847 and 612.

The drug helps children only. A treats adults, B and C children. What C keeps never leaves.
"""

import asyncio

import numpy as np

import qis

STUDY = qis.Study(question="drug vs none | 30-day death", measure="OR", model="random")
SCHEME = qis.VectorScheme(dimensions=6)
# Shares of patients under 1, 1-5, 6-17, 18-64 and over 64 years, and female; from -1 (none) to 1.
ADULTS, CHILDREN = [-1.0, -1.0, -0.9, 0.2, 0.4, 0.1], [-0.4, -0.1, 0.1, -0.8, -1.0, 0.0]
SIZES = {"A": 847, "B": 612, **{f"site {n:02}": (40, 90, 220)[n % 3] for n in range(1, 22)}}
KEYS = {name: qis.Identity.from_seed(name.ljust(32).encode()) for name in (*SIZES, "C")}
ROSTER = qis.Roster(tuple(qis.Site.of(name, key.issuer) for name, key in KEYS.items()))


def trial(rng: np.random.Generator, patients: int, effect: float) -> qis.Counts:
    """A trial of so many patients, half of them treated, at a risk of 30 % without the drug."""
    treated, control = (patients + 1) // 2, patients // 2
    events = int(rng.binomial(treated, 1.0 / (1.0 + np.exp(0.85 - effect))))
    controls = {"control_events": int(rng.binomial(control, 0.3)), "control_total": control}
    return qis.Counts(study=STUDY, events=events, total=treated, **controls)


async def main() -> None:
    """Let 23 hospitals publish, and C ask."""
    rng, network = np.random.default_rng(847), qis.MemoryNetwork()
    interest = SCHEME.interest(CHILDREN, studies=[STUDY.id])
    transport = qis.MemoryTransport(network, KEYS["C"])
    hospital_c = qis.SynthesisLoop(
        KEYS["C"], transport, SCHEME, interest=interest, studies=[STUDY], roster=ROSTER
    )
    async with hospital_c:
        for number, (name, patients) in enumerate(SIZES.items()):
            kind, effect = (ADULTS, 0.1) if number % 2 == 0 else (CHILDREN, -0.8)
            about = (np.array(kind) + 0.05 * rng.normal(size=6)).tolist()
            keys = (*SCHEME.routing_keys(about), STUDY.id)
            packet = qis.Packet.sign(
                KEYS[name],
                outcome=trial(rng, patients, effect),
                fingerprint=SCHEME.fingerprint(about),
                routing_keys=keys,
                issued_at=int(network.now),
                lifetime_s=86_400,
            )
            async with qis.MemoryTransport(network, KEYS[name]) as sender:
                await sender.publish(packet, keys)
        hospital_c.keep(trial(rng, 11, -0.8), about=CHILDREN)
        await network.settle()
        async for synthesis in hospital_c:
            if len(synthesis.sites) == len(SIZES) and synthesis.here is not None:
                print(synthesis.here.summary())
                break


asyncio.run(main())
