"""A rare harm, watched as the evidence comes: 42 trials of rosiglitazone and myocardial infarction.

The trials (Nissen and Wolski, N Engl J Med 2007; counts as published) lie in five registries, each
a process on this machine, and are published one after another over UDP, the two large ones of 2006
last. This program deals them out and is itself the sixth site, a safety board that publishes
nothing: it synthesises what has come after each trial. One registry is killed and started again,
one is killed for good; what they had published still counts.

Usage: watch.py [FOLDER]

Leaves report.html in FOLDER, which opens offline; without FOLDER nothing is left.
"""

import csv
import json
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import board
from registry import ABOUT, count

import qis
import qis.blocking

HERE = Path(__file__).parent
REGISTRIES, DEADLINE_S = 5, 600.0
RESTARTED, GONE = 15, 38
"""After how many trials the registry that has published the last one is killed."""
STUDY = qis.Study(
    question="rosiglitazone vs control | myocardial infarction", measure="OR", model="fixed"
)
SITE = """
studies = ["study.toml"]
[identity]
file = "key.pem"
[roster]
file = "roster.toml"
[scheme]
kind = "vector"
dimensions = 2
secret_file = "secret"
[interest]
features = {about}
people = 0
[transport]
kind = "udp"
bootstrap = {bootstrap}
[disclosure]
preset = "none"    # the trials are published; of patients use "cms"
[loop]
approval = "none"  # as above
debounce_s = {debounce_s}
"""
Trials = dict[str, dict[str, int]]


def read_trials() -> Trials:
    """Counts by trial, in the order of the publication, whose last two are DREAM and ADOPT."""
    with (HERE / "trials.csv").open(encoding="utf-8", newline="") as file:
        return {
            row.pop("trial"): {k: int(v) for k, v in row.items()} for row in csv.DictReader(file)
        }


class Registry:
    """A registry's process, and what it says."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process = subprocess.Popen(  # noqa: S603  our own script
            [sys.executable, str(HERE / "registry.py"), str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, line: str) -> None:
        """Write a line to its input."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self, event: str) -> dict[str, Any]:
        """What it says next, which has to be of this kind."""
        line = self.process.stdout.readline()
        said = json.loads(line) if line else {}
        if said.get("event") != event or not said.get("held", True):
            sys.exit(f"{self.home.name}: {said or 'it has ended'}, where {event!r} was due")
        return said

    def end(self, *, kill: bool = False) -> None:
        """End it at once, or let it say goodbye."""
        if kill:
            self.process.kill()
        self.process.communicate()


def enrol(root: Path, trials: Trials) -> list[Path]:
    """A folder for each registry and, last, for the board, each with key, roster and study."""
    names = [*(f"registry {number}" for number in range(1, REGISTRIES + 1)), "safety board"]
    keys = {name: qis.Identity.generate() for name in names}
    roster = "".join(
        f'[[site]]\nname = "{name}"\n[[site.key]]\nissuer = "{key.issuer}"\n'
        for name, key in keys.items()
    )
    secret = secrets.token_hex(32)
    homes = []
    for number, (name, key) in enumerate(keys.items()):
        home = root / name.replace(" ", "-")
        home.mkdir()
        key.save(home / "key.pem")
        STUDY.save(home / "study.toml")
        (home / "secret").touch(mode=0o600)
        (home / "secret").write_text(secret, encoding="ascii")
        (home / "roster.toml").write_text(roster, encoding="utf-8")
        own = dict(list(trials.items())[number::REGISTRIES]) if number < REGISTRIES else {}
        (home / "trials.json").write_text(json.dumps(own), encoding="utf-8")
        configure(home, [], debounce_s=0.0)
        homes.append(home)
    return homes


def configure(home: Path, bootstrap: list[str], *, debounce_s: float = 5.0) -> None:
    """Write a site's file; a registry need not synthesise with each packet."""
    text = SITE.format(about=ABOUT, bootstrap=json.dumps(bootstrap), debounce_s=debounce_s)
    (home / "site.toml").write_text(text, encoding="utf-8")


def publish(
    trials: Trials, registries: list[Registry], news: Iterator[qis.Synthesis]
) -> Iterator[qis.Synthesis]:
    """Publish the trials in their order, and kill; what the board makes of each, as it comes."""
    for number, name in enumerate(trials, 1):
        turn = (number - 1) % REGISTRIES
        if registries[turn].process.poll() is not None:
            registries[turn] = Registry(registries[turn].home)
            registries[turn].hear("open")
        registries[turn].tell(f"publish {name}")
        registries[turn].hear("published")
        newest = next((each for each in news if count(each) == number), None)
        if newest is None:
            sys.exit(f"{name} was published, and has not come to the board")
        yield newest
        if number in (RESTARTED, GONE):
            registries[turn].end(kill=True)
            back = "it comes back" if number == RESTARTED else "for good"
            print(f"        {registries[turn].home.name} is killed, {back}; its trials still count")


def main(root: Path) -> int:
    """Publish, kill, compare, report."""
    began_s, trials = time.monotonic(), read_trials()
    *homes, own = enrol(root, trials)
    transport = qis.UDPTransport(
        qis.Identity.load(own / "key.pem"), roster=qis.Roster.load(own / "roster.toml")
    )
    registries: list[Registry] = []
    # A registry that hangs would keep everybody waiting: killed, it is one that has ended.
    alarm = threading.Timer(DEADLINE_S, lambda: [each.process.kill() for each in registries])
    alarm.daemon = True
    with qis.blocking.open_site(own / "site.toml", transport=transport) as site:
        alarm.start()
        try:
            for home in homes:
                configure(home, [transport.address])
                registries.append(Registry(home))
            for each in registries:
                each.hear("open")
            print(f"{len(trials)} trials in {REGISTRIES} registries, each a process.")
            print(board.HEAD)
            looks = []
            for newest in publish(trials, registries, site.syntheses(timeout_s=60.0)):
                looks.append(board.Look.of(newest))
                if len(looks) % 7 == 0 or len(looks) > len(trials) - 2:
                    print(looks[-1], flush=True)
            living = [each for each in registries if each.process.poll() is None]
            for each in living:
                each.tell(f"synthesis {len(trials)}")
            digests = {each.hear("synthesis")["digest"] for each in living}
        finally:
            alarm.cancel()
            for each in registries:
                each.end()
        site.report(own / "report.html")
    (root / "report.html").write_text(board.report(newest, looks).html(), encoding="utf-8")
    is_one = digests == {newest.digest.hex()}
    print(f"\nThe board and {len(living)} living registries: {'one' if is_one else 'NO'} digest.")
    print("\n".join(board.verdict(looks[-1])))
    print(f"Report: {root / 'report.html'}. {time.monotonic() - began_s:.0f} s.")
    return 0 if is_one else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(folder)))
