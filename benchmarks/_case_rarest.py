"""Published rare-disease cases dealt to sites, one paper a site: who hears of the other one.

Each case is published under the keys of its terms; each site wants the keys of its own cases. Reach
is the share of diseases known from exactly two papers whose cases, either way, come to the other
site; touched is the share of all sites that a packet comes to.
"""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
from _case_asked import Asked
from fingerprint_quality import PublishedCases
from numpy.typing import NDArray

import qis
from qis.fingerprint import TermScheme

Flags = NDArray[np.bool_]


def part(asked: Asked) -> dict[str, Any]:
    """All of it, or why not."""
    found: dict[str, Any] = {"trial": trial()}
    folder = asked.data and asked.data / "phenotypes"
    if not folder or not folder.is_dir():
        return found | {"not_run": "the published cases are not in the data folder"}
    cases = PublishedCases(folder, 600 if not asked.effort else None)
    scheme = TermScheme(cases.ontology)
    keys = [frozenset(scheme.routing_keys(terms)) for terms in cases.terms]
    exact = [frozenset(term.encode() for term in terms) for terms in cases.terms]
    papers = cases.papers
    count = len(set(papers.tolist()))
    found |= {"cases": len(cases), "sites": count}
    for name, wanted in (("keys", keys), ("exact terms", exact), ("two exact terms", exact)):
        reach, touched = _figures(cases, wanted, at_least=2 if name.startswith("two") else 1)
        found[name] = {"reach": reach, "touched": touched, "copies": touched * (count - 1)}
        asked.said(f"{name}: reach {reach:.3f}, touched {touched:.3f}")
    fanout = math.ceil(math.log(count)) + 2  # each sends on to so many, once
    found["broadcast"] = {"reach": 1.0, "touched": 1.0, "copies": count - 1.0}
    reached = _gossip(count, fanout)
    found["gossip"] = {"reach": reached, "touched": reached, "copies": reached * count * fanout}
    return found


def trial() -> dict[str, Any]:
    """Thirteen hospitals of a trial in chronic granulomatous disease, alone and together."""
    path = Path(__file__).parents[1] / "examples" / "data" / "cgd.csv"
    hospitals: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        hospitals.setdefault(row["hospital"], []).append(row)
    profiles = [
        qis.LikelihoodProfile.from_survival(
            question="interferon gamma vs placebo | infection",
            times=[float(row["days"]) for row in rows],
            events=[row["infection"] == "1" for row in rows],
            treated=[row["treatment"] == "interferon gamma" for row in rows],
        )
        for rows in hospitals.values()
    ]
    alone = 0
    for profile in profiles:
        low, high = qis.synthesise([profile], model="fixed").interval
        alone += not low <= 0.0 <= high
    together = qis.synthesise(profiles, model="fixed")
    low, high = np.exp(together.interval)
    estimate = math.exp(together.estimate or 0.0)
    return {
        "hospitals": len(profiles),
        "alone": alone,
        "together": f"{estimate:.2f} [{low:.2f}, {high:.2f}]",
    }


def _figures(
    cases: PublishedCases, wanted: list[frozenset[bytes]], at_least: int
) -> tuple[float, float]:
    """Reach of diseases known from two papers, and the share of sites touched."""
    papers = cases.papers
    names = sorted(set(papers.tolist()))
    column = {key: number for number, key in enumerate(sorted(set().union(*wanted)))}
    rows = np.zeros((len(cases), len(column)), np.float32)
    for row, own in zip(rows, wanted, strict=True):
        row[[column[key] for key in own]] = 1.0
    sites = np.zeros((len(names), len(column)), np.float32)
    for number, name in enumerate(names):
        sites[number] = rows[papers == name].max(axis=0)
    comes = rows @ sites.T >= at_least - 0.5  # (cases, sites)
    own = papers[:, np.newaxis] == np.array(names)
    touched = float((comes & ~own).sum() / (~own).sum())
    reached = []
    for disease in sorted(set(cases.disease.tolist())):
        of = cases.disease == disease
        both = sorted(set(papers[of].tolist()))
        if len(both) != 2:
            continue
        one, other = (names.index(paper) for paper in both)
        there = comes[of & (papers == both[0]), other].any()
        back = comes[of & (papers == both[1]), one].any()
        reached.append(0.5 * (float(there) + float(back)))
    return float(np.mean(reached)), touched


def _gossip(sites: int, fanout: int, seeds: int = 20) -> float:
    """Share of sites that a rumour comes to if each who hears it tells so many others, once."""
    shares = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        heard = np.zeros(sites, bool)
        heard[0] = True
        telling = [0]
        while telling:
            told = np.unique(rng.integers(0, sites, (len(telling), fanout)))
            telling = told[~heard[told]].tolist()
            heard[told] = True
        shares.append(float(heard.mean()))
    return float(np.mean(shares))
