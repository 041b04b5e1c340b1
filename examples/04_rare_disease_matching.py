"""Rare diseases: a clinic's undiagnosed patient finds published cases alike, by HPO terms.

The cases (phenopacket-store, BSD-3) and the slice of the Human Phenotype Ontology are not part of
this project. Give the folder that has them, or set QIS_PHENOTYPES; docs/fingerprints.md says where
they come from. Case and ontology terms stay as published.
"""

import gzip
import json
import os
import sys
from collections import Counter
from pathlib import Path

import qis

SECRET = bytes(range(32))  # a consortium draws 32 random bytes and keeps them
TODAY = 1_800_000_000  # Unix seconds: routing keys are of an epoch of 13 weeks
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("QIS_PHENOTYPES", "phenotypes"))
if not (FOLDER / "dev.json.gz").exists():
    sys.exit(f"The published cases are not at {FOLDER}: give their folder. Nothing was run.")


def read(name: str) -> dict:
    """A compressed JSON file of the folder."""
    return json.loads(gzip.decompress((FOLDER / name).read_bytes()))


hpo, cases = read("hpo_slice.json.gz"), read("dev.json.gz")["cases"]
ontology = qis.Ontology(
    f"hp/{hpo['meta']['hpo_version']}",
    {term: entry[3] for term, entry in hpo["terms"].items()},
    {term: entry[1] for term, entry in hpo["terms"].items()},
    names={term: entry[0] for term, entry in hpo["terms"].items()},
)
scheme = qis.TermScheme(ontology, secret=SECRET)
cases = [case for case in cases if any(term in ontology for term in case["o"])]

# The patient: the first case, if other papers describe its disease. Its own paper is left out.
patient = cases[0]
others = [case for case in cases if case["p"] != patient["p"]]
same = sum(case["d"] == patient["d"] for case in others)
print(f"{len(others)} published cases, Human Phenotype Ontology {ontology.release}.")
print(f"The patient has {len(patient['o'])} terms, such as:")
for term in sorted(patient["o"], key=ontology.information)[-3:]:
    print(f"  {term} {ontology.name(term)}")

# Whom the patient's fingerprint reaches: those that share a rendezvous key.
keys = set(scheme.interest(patient["o"]).at(TODAY).routing_keys)
reached = [case for case in others if keys & set(scheme.routing_keys(case["o"], at=TODAY))]
found = sum(case["d"] == patient["d"] for case in reached)
print(f"Routing reaches {len(reached)} of them; of the {same} with the same disease, {found}.")
prints = {case["i"]: scheme.fingerprint(case["o"]) for case in reached}
relevance = {case["i"]: scheme.relevance(patient["o"], prints[case["i"]]) for case in reached}
nearest = sorted(reached, key=lambda case: -relevance[case["i"]])[:10]
print(f"Diseases of the ten most alike (the patient's is {patient['d']}):")
for disease, count in Counter(case["d"] for case in nearest).most_common():
    print(f"  {disease}: {count}")
