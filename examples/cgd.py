"""What the examples on one trial share: the study, and the evidence of each hospital.

Interferon gamma in chronic granulomatous disease, a rare immune deficiency: 128 patients in 13
hospitals.
"""

import csv
from pathlib import Path

import qis

DATA = Path(__file__).parent / "data"
STUDY = qis.Study.load(DATA / "cgd_study.toml")
SCHEME = qis.VectorScheme(dimensions=4)
ABOUT = [1.0, -1.0, -0.6, -0.7]  # immune deficiency, not lung cancer, mostly young, mostly male


def patients(hospital: str | None = None) -> list[dict[str, str]]:
    """A hospital's patients, or everybody's."""
    with (DATA / "cgd.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if hospital in (None, row["hospital"])]


def likelihood_of(rows: list[dict[str, str]]) -> qis.LikelihoodProfile:
    """What patients say of the hazard ratio, interferon gamma against placebo."""
    return qis.LikelihoodProfile.from_survival(
        study=STUDY,
        times=[float(row["days"]) for row in rows],
        events=[int(row["infection"]) for row in rows],
        treated=[row["treatment"] == "interferon gamma" for row in rows],
        strata=[row["hospital"] for row in rows],
    )


def evidence_of(hospital: str) -> qis.LikelihoodProfile:
    """What a hospital publishes."""
    return likelihood_of(patients(hospital))
