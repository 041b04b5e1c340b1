"""Four hospitals fit one model of heart disease, each in a process of its own, over UDP.

Usage: 11_heart_models.py --data DIR

DIR/synthesis has heart_{cleveland,hungarian,switzerland,va}.csv (Janosi et al. 1988, UCI Machine
Learning Repository, CC BY 4.0). Every process reads its own file only. No rounds, no server: each
hospital answers at its own pooled point until nobody's anchor is far from it.
"""

import argparse
import asyncio
import csv
import subprocess
import sys
from pathlib import Path

import qis

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
FEATURES = ("age", "sex", "chest pain", "pressure", "max heart rate", "angina", "oldpeak")
COLUMNS = ("age", "sex", "cp", "trestbps", "thalach", "exang", "oldpeak")
STUDY = qis.Study(
    question="seven features | heart disease",
    kind="model",
    family="logistic",
    coefficients=FEATURES,  # no "intercept": each hospital has its own
    purpose="prediction",
    feature_means=(54.0, 0.8, 0.5, 132.0, 138.0, 0.4, 0.9),
    feature_scales=(9.4, 0.4, 0.5, 19.0, 26.0, 0.5, 1.1),
)
SCHEME = qis.VectorScheme(
    dimensions=2, secret=bytes(32)
)  # in truth drawn once, and shared in secret
KEYS = {name: qis.Identity.from_seed(bytes([n]) * 32) for n, name in enumerate(HOSPITALS, 1)}
ROSTER = qis.Roster(tuple(qis.Site.of(name, key.issuer) for name, key in KEYS.items()))


def rows_of(path: Path) -> qis.ModelRows:
    """People of one hospital of whom everything is known."""
    read = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    known = [row for row in read if "?" not in [row[column] for column in COLUMNS]]
    features = [[float(row[column]) for column in COLUMNS] for row in known]
    for person in features:
        person[2] = float(person[2] == 4)  # chest pain: asymptomatic
    return qis.ModelRows(features=features, labels=[float(float(row["num"]) > 0) for row in known])


async def hospital(name: str, data: Path, bootstrap: list[str]) -> None:
    """One hospital: it answers, listens, and says what it knows when the model is converged."""
    transport = qis.UDPTransport(KEYS[name], roster=ROSTER, bootstrap=bootstrap)
    loop = qis.SynthesisLoop(
        KEYS[name],
        transport,
        SCHEME,
        interest=SCHEME.interest([1.0, 0.0]),
        interest_people=0,
        studies=[STUDY],
        roster=ROSTER,
        disclosure=qis.Disclosure.preset("none"),  # these data are public
    )
    async with loop:
        print(transport.address, flush=True)
        rows = rows_of(data / "synthesis" / f"heart_{name}.csv")
        await loop.join(STUDY, rows, about=[1.0, 0.0], people=0)
        async for model in loop.models():
            if len(model.sites) == len(HOSPITALS) and model.is_converged:
                break
        if name == HOSPITALS[0]:
            print("\n".join(model.summary().splitlines()[:12]))
        print(f"{name}: {model.own}", flush=True)
        await asyncio.to_thread(sys.stdin.read)  # the others may still need this node


def main() -> None:
    """Start the hospitals, and show what each of them knows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--site", nargs="+", default=[], help="a hospital, and whom it calls")
    options = parser.parse_args()
    if options.site:
        asyncio.run(hospital(options.site[0], options.data, options.site[1:]))
        return
    running: list[subprocess.Popen[str]] = []
    peers: list[str] = []
    try:
        for name in HOSPITALS:
            command = [
                sys.executable,
                __file__,
                "--data",
                str(options.data),
                "--site",
                name,
                *peers,
            ]
            running.append(
                subprocess.Popen(  # noqa: S603  this very script
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            address = running[-1].stdout.readline().strip() if running[-1].stdout else ""
            peers = peers or [address]
        for name, process in zip(HOSPITALS, running, strict=True):
            for line in process.stdout or ():
                print(line, end="", flush=True)
                if line.startswith(f"{name}:"):  # the last that it says
                    break
    finally:
        for process in running:
            process.communicate(timeout=20.0)  # closes its input, so that it ends


if __name__ == "__main__":
    main()
