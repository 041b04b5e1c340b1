"""Four hospitals fit one model of heart disease, each in a process of its own, over UDP.

Usage: 11_heart_models.py --data DIR, where DIR/synthesis has the four files of Janosi et al. 1988
(UCI Machine Learning Repository, CC BY 4.0). Each process reads its own.
"""

import asyncio
import multiprocessing
import sys
from pathlib import Path

from heart import HOSPITALS, STUDY, rows_of

import qis

SCHEME = qis.VectorScheme(dimensions=2, secret=bytes(32))  # in truth drawn once, kept among them
KEYS = {name: qis.Identity.from_seed(bytes([n]) * 32) for n, name in enumerate(HOSPITALS, 1)}
ROSTER = qis.Roster(tuple(qis.Site.of(name, key.issuer) for name, key in KEYS.items()))
PUBLIC = qis.Disclosure.preset("none")  # these data are public


async def hospital(
    name: str, peers: list[str], pipe: "multiprocessing.connection.Connection"
) -> None:
    """One hospital: it answers and listens until the model of all four is converged."""
    transport = qis.UDPTransport(KEYS[name], roster=ROSTER, bootstrap=peers)
    options = {"roster": ROSTER, "studies": [STUDY], "interest": SCHEME.interest([1.0, 0.0])}
    loop = qis.SynthesisLoop(KEYS[name], transport, SCHEME, disclosure=PUBLIC, **options)
    async with loop:
        pipe.send(transport.address)
        rows = rows_of(Path(sys.argv[2], "synthesis", f"heart_{name}.csv"))
        await loop.join(STUDY, rows, about=[1.0, 0.0])
        async for model in loop.models():
            if len(model.sites) == len(HOSPITALS) and model.is_converged:
                break
        pipe.send(model.summary() if name == HOSPITALS[0] else f"{name}: {model.own}")
        await asyncio.to_thread(pipe.recv)  # the others may need this node until then


def run(*arguments: object) -> None:
    """A process."""
    asyncio.run(hospital(*arguments))


if __name__ == "__main__":
    pipes, peers = [], []
    for each in HOSPITALS:
        mine, theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=run, args=(each, peers[:1], theirs)).start()
        pipes.append(mine)
        peers.append(mine.recv())
    print(*(pipe.recv() for pipe in pipes), sep="\n", flush=True)
    for pipe in pipes:
        pipe.send("enough")
