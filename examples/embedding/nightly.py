"""Submit what is new, do what approvers say, take in what came. May be killed and run again.

Usage: nightly.py FOLDER [serve]. docs/embedding.md says how to run it, and what the folder holds.
The exit status is one of `qis.site.ExitCode`: 0 done, 3 kept back by a rule, 75 try later, …
"""

import csv
import hashlib
import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qis
import qis.blocking
from qis.errors import DisclosureError, QISError
from qis.site import ExitCode, exit_code_of

ABOUT = [0.2, -1.0, 0.7]
"""Fixed with the study, as in [interest]: a packet about something else is not taken as newer."""
RENEW_S = 20 * 86_400
"""Packets live 30 days, and should not end because nothing has changed."""
FLUSH_S = 60.0
"""How long a round waits until other sites hold what was published."""
Site = qis.blocking.SynthesisLoop
Result = dict[str, Any]


def distil(home: Path) -> qis.Counts:
    """The hospital's own analysis: aggregates in, one outcome out."""
    with (home / "counts.csv").open(encoding="utf-8", newline="") as file:
        counts = {name: int(number) for name, number in next(csv.DictReader(file)).items()}
    return qis.Counts(study=qis.Study.load(home / "study.toml"), **counts)


def submit(site: Site, outcome: qis.Counts, mark: Path) -> str:
    """Publish an outcome, or leave it to a person, unless that was done before."""
    digest = hashlib.sha256(outcome.encoded()).hexdigest()
    is_marked = mark.exists() and mark.read_text(encoding="ascii") == digest
    if is_marked and time.time() - mark.stat().st_mtime < RENEW_S:
        return "nothing new"
    series = (outcome.study_id, outcome.cohort)
    same = [one for one in site.waiting() if (one.outcome.study_id, one.outcome.cohort) == series]
    if all(one.outcome != outcome for one in same):  # it waits if a run was killed before its mark
        site.publish(outcome, about=ABOUT)
    for older in same:
        if older.outcome != outcome:
            site.reject(older.id, approver="nightly.py", reason="there are newer data")
    mark.write_text(digest, encoding="ascii")
    return "submitted"


def decide(site: Site, desk: Path) -> None:
    """Do what approvers say: a file ID.release or ID.reject that is theirs."""
    waiting = {one.id for one in site.waiting()}
    for order in [*desk.glob("*.release"), *desk.glob("*.reject")]:
        try:
            if order.stem in waiting and order.suffix == ".release":
                site.release(order.stem, approver=owner_of(order))
            elif order.stem in waiting:
                site.reject(order.stem, approver=owner_of(order))
        except DisclosureError as error:  # what it would reveal has changed by other releases
            print(f"{order.stem} is not released: {error.field}", file=sys.stderr)
        order.unlink()


def owner_of(file: Path) -> str:
    """Whose file it is, as the system says; a container knows numbers only."""
    try:
        return file.owner()
    except KeyError:
        return f"uid {file.stat().st_uid}"


def show(site: Site, desk: Path) -> None:
    """What waits, each with its preview, as ID.txt."""
    for former in list(desk.glob("*.txt")):
        former.unlink()
    for one in site.waiting():
        (desk / f"{one.id}.txt").write_text(str(one), encoding="utf-8")


def found(site: Site, home: Path) -> Result | None:
    """The study's newest synthesis, as plain values; `None` if there is none or it is hidden."""
    newest = site.latest(qis.Study.load(home / "study.toml"))
    if newest is None or newest.is_embargoed:
        return None
    ratio = [None if x is None or math.isinf(x) else x for x in newest.back_transformed]
    return {
        "sites": [one.name for one in newest.sites],
        "ratio": ratio,
        "digest": newest.digest.hex(),
    }


def work(site: Site, home: Path) -> Result:
    """One round; what came of it, without any number that a rule has kept back."""
    decide(site, home / "desk")
    try:
        state = submit(site, distil(home), home / "submitted")
    except DisclosureError as error:
        state = f"kept back: {error.field}"
    show(site, home / "desk")
    return {
        "state": state,
        "waiting": [one.id for one in site.waiting()],
        "sent": site.flush(timeout_s=FLUSH_S),
        "undelivered": [
            {"packet": one.packet.id.hex(), "since": one.since, "why": one.reason}
            for one in site.undelivered()
        ],
        "health": str(site.health),
        "account": [str(one) for one in site.check()],
        "found": found(site, home),
        "events": dict(site.statistics.events),
    }


def run(home: Path, *, quiet_s: float = 3.0) -> Result:
    """Open the site, do a round, and take in until nothing new has come for some seconds."""
    with qis.blocking.open_site(home / "site.toml") as site:
        result = work(site, home)
        for _ in site.syntheses(timeout_s=quiet_s):
            pass
        account = [str(one) for one in site.check()]
        return {**result, "found": found(site, home), "account": account}


def serve(home: Path, *, every_s: float = 60.0) -> Result:
    """Stay open until SIGTERM; the file `alive` has the time and the result of the last round."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with qis.blocking.open_site(home / "site.toml") as site:
        while True:
            result = work(site, home)
            draft = home / "alive.new"
            draft.write_text(json.dumps(result), encoding="utf-8")
            draft.replace(home / "alive")
            if stop.wait(every_s):
                return result


def main(home: Path, act: Callable[[Path], Result] = run) -> int:
    """Do it, and say with the exit status whether another run would help.

    What nobody foresaw is raised: Python ends with 1 then, and shows where it was.
    """
    try:
        result = act(home)
    except (QISError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return exit_code_of(error)
    print(json.dumps(result))
    if result["account"]:  # nothing leaves until a person has looked: settle.py
        return ExitCode.DAMAGED
    if not result["sent"]:
        return ExitCode.LATER
    is_kept_back = result["state"].startswith("kept back")
    return ExitCode.KEPT_BACK if is_kept_back else ExitCode.OK


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(main(Path(sys.argv[1]), serve if sys.argv[2:] == ["serve"] else run))
