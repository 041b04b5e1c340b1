"""What one hospital runs: its own patients in, one packet out, a synthesis of whatever arrives.

Usage: hospital_site.py FOLDER [key@host:port ... | nats://host:port | FOLDER | s3://... http://...]

The folder is the hospital's own: key.pem, roster.json, study.toml, patients.csv, and audit.jsonl,
which is made; with a NATS server or a bucket also secret, the consortium's. The addresses are those
of any nodes that are up, or of a NATS server, or a folder that all share, or a bucket and its
server. Events are printed as lines of JSON. It ends when its input does.
"""

import asyncio
import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import qis
from qis.errors import DisclosureError

SCHEME = qis.VectorScheme(dimensions=4)


def read_patients(path: Path) -> dict[str, list[Any]]:
    """Columns of the hospital's own file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("days", "event", "treated", "age", "female")
    columns: dict[str, list[Any]] = {key: [float(row[key]) for row in rows] for key in numbers}
    columns["diagnosis"] = [row["diagnosis"] for row in rows]
    return columns


def describe(patients: dict[str, list[Any]]) -> list[float]:
    """The cohort as the study's baseline features, each from about -1 to 1."""
    n = len(patients["age"])
    of_lung = sum(diagnosis == "lung cancer" for diagnosis in patients["diagnosis"]) / n
    return [
        1.0 - 2.0 * of_lung,
        2.0 * of_lung - 1.0,
        sum(patients["age"]) / n / 40.0 - 1.0,
        2.0 * sum(patients["female"]) / n - 1.0,
    ]


def read_roster(path: Path) -> qis.Roster:
    """The sites that take part, with their keys and the studies that they are enrolled in."""
    return qis.Roster(
        tuple(
            qis.Site(
                name=name,
                keys=(qis.SiteKey(issuer=qis.Issuer(bytes.fromhex(entry["key"]))),),
                studies=frozenset({bytes.fromhex(entry["study"])}),
            )
            for name, entry in json.loads(path.read_text(encoding="utf-8")).items()
        )
    )


def report(event: str, **what: Any) -> None:
    """One line of JSON."""
    print(json.dumps({"event": event, **what}), flush=True)


def transport_of(
    folder: Path, where: list[str], identity: qis.Identity, roster: qis.Roster
) -> qis.Transport:
    """The transport that the addresses call for."""
    if where and where[0].startswith("nats://"):
        from qis.transport.nats import NATSTransport  # noqa: PLC0415  the extra [nats]

        secret = (folder / "secret").read_bytes()
        return NATSTransport(where, identity, roster=roster, secret=secret)
    if where and where[0].startswith("s3://"):
        from qis.transport.cloud import CloudTransport  # noqa: PLC0415  the extra [cloud]

        url, endpoint = where
        client = {"endpoint_url": endpoint, "region_name": "eu-west-1"}
        return CloudTransport(
            url,
            identity,
            roster=roster,
            secret=(folder / "secret").read_bytes(),
            seen=folder / "seen.db",
            poll_s=3.0,
            options={"key": "account", "secret": "password", "client_kwargs": client},
        )
    if where and Path(where[0]).is_dir():
        return qis.DirectoryTransport(where[0], identity, roster=roster, poll_s=0.2)
    return qis.UDPTransport(identity, roster=roster, bootstrap=where)


async def show_syntheses(loop: qis.SynthesisLoop, transport: qis.Transport) -> None:
    """Print each new synthesis as it comes."""
    async for synthesis in loop:
        report(
            "synthesis",
            question=synthesis.question,
            estimate=synthesis.estimate,
            interval=synthesis.interval,
            sites={site.name: [site.estimate, *site.interval] for site in synthesis.sites},
            digest=synthesis.digest.hex(),
            bytes_sent=transport.statistics.bytes_sent,
        )


async def until_input_ends() -> None:
    """Return at the end of standard input, as when whoever started this is gone."""
    await asyncio.to_thread(sys.stdin.read)


async def run(folder: Path, peers: list[str]) -> None:
    """Open what the folder holds, and take part until the input ends."""
    identity = qis.Identity.load(folder / "key.pem")
    roster = read_roster(folder / "roster.json")
    study = qis.Study.load(folder / "study.toml")
    patients = read_patients(folder / "patients.csv")
    profile = qis.LikelihoodProfile.from_survival(
        study=study,
        times=patients["days"],
        events=patients["event"],
        treated=patients["treated"],
    )
    transport = transport_of(folder, peers, identity, roster)
    about = describe(patients)
    # The trial's data are published, so nothing has to stay here; of patients use "cms".
    disclosure, why = qis.Disclosure.preset("none"), "the trial's data are published"
    with qis.AuditLog.open(folder / "audit.jsonl", now=time.time()) as audit:
        audit.record("configured", now=time.time(), rule=disclosure.rules.name, reason=why)
        loop = qis.SynthesisLoop(
            identity,
            transport,
            SCHEME,
            interest=SCHEME.interest(about),
            studies=[study],
            roster=roster,
            disclosure=disclosure,
            audit=audit,
        )
        await take_part(loop, transport, profile, about)


def refusal_under(preset: str, outcome: qis.LikelihoodProfile) -> list[Any]:
    """The rule that would keep an outcome back, what it found and its limit; empty if none does."""
    try:
        qis.Disclosure.preset(preset).check(outcome)
    except DisclosureError as error:
        return [error.field, error.actual, error.limit]
    return []


async def take_part(
    loop: qis.SynthesisLoop,
    transport: qis.Transport,
    profile: qis.LikelihoodProfile,
    about: list[float],
) -> None:
    """Publish, and show each synthesis until the input ends."""
    async with transport, loop:
        address = getattr(transport, "address", "a client")
        report("open", address=address, kept_back=refusal_under("cms", profile))
        await loop.publish(profile, about=about)
        showing = asyncio.create_task(show_syntheses(loop, transport))
        await until_input_ends()
        showing.cancel()
        statistics = transport.statistics
        report("closing", bytes_sent=statistics.bytes_sent, unmatched=statistics.unmatched)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2:]))
