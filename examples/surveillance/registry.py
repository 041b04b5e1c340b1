"""One registry: it does what each line of its input asks, and says so in JSON.

Usage: registry.py FOLDER

The folder is a site's (docs/embedding.md) with trials.json, the counts of its own trials. Each
trial is a cohort of this site. "publish NAME" publishes a trial, "synthesis NUMBER" asks for the
synthesis of so many. It ends when its input does; started again, it goes on where it was.
"""

import json
import sys
from pathlib import Path
from typing import Any

import qis
import qis.blocking

ABOUT = [1.0, -1.0]
"""As in every folder's [interest]: all trials are about the same."""
WITHIN_S = 30.0


def say(event: str, **what: Any) -> None:
    """One line of JSON."""
    print(json.dumps({"event": event, **what}), flush=True)


def count(synthesis: qis.Synthesis) -> int:
    """How many trials a synthesis has: packets of cohorts, over all sites."""
    return sum(len(site.packets) for site in synthesis.sites)


def main(home: Path) -> None:
    """Open the site, and do what the input says."""
    trials = json.loads((home / "trials.json").read_text(encoding="utf-8"))
    study = qis.Study.load(home / "study.toml")
    with qis.blocking.open_site(home / "site.toml") as site:
        say("open")
        for line in sys.stdin:
            what, _, asked = line.strip().partition(" ")
            if what == "publish":
                outcome = qis.Counts(study=study, cohort=asked, **trials[asked])
                site.publish(outcome, about=ABOUT)
                say("published", held=site.flush(WITHIN_S))
            else:
                news = site.syntheses(timeout_s=WITHIN_S)
                whole = next((each for each in news if count(each) == int(asked)), None)
                say("synthesis", digest=None if whole is None else whole.digest.hex())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
