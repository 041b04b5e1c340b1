"""A nightly batch without async: from a CSV, through a shared folder, and evidence on disk."""

import csv
import tempfile
from contextlib import closing
from pathlib import Path

import qis
import qis.blocking

DATA = Path(__file__).parent / "data"
STUDY = qis.Study.load(DATA / "lung_study.toml")
SCHEME, ABOUT = qis.VectorScheme(dimensions=4), [-1.0, 1.0, 0.6, -0.2]  # lung cancer, older, men
INSTITUTIONS = ("1", "12", "13", "22")


def read(institution: str) -> qis.LikelihoodProfile:
    """Distil the institution's patients: hazard of death, women against men."""
    with (DATA / "lung_ncctg.csv").open(encoding="utf-8", newline="") as file:
        mine = [row for row in csv.DictReader(file) if row["inst"] == institution]
    return qis.LikelihoodProfile.from_survival(
        study=STUDY,
        times=[float(row["time"]) for row in mine],
        events=[int(row["status"] == "2") for row in mine],
        treated=[row["sex"] == "2" for row in mine],
    )


def night(home: Path, shared: Path, institution: str, expected: int) -> qis.Synthesis:
    """Publish what is new, take in what the folder has, return the synthesis of all expected."""
    identity = qis.Identity.load(home / "key.pem")
    with (
        closing(qis.SQLiteStore(home / "evidence.db", roster=qis.Roster.open())) as store,
        qis.blocking.SynthesisLoop(
            identity,
            qis.DirectoryTransport(shared, identity, poll_s=0.05),
            SCHEME,
            interest=SCHEME.interest(ABOUT),
            studies=[STUDY],
            store=store,
            disclosure=qis.Disclosure.preset("none"),  # published data; of patients use "cms"
        ) as loop,
    ):
        if not store.packets_of(identity.issuer):  # nothing new on the second night
            loop.publish(read(institution), about=ABOUT)
            if not loop.flush(timeout_s=30):
                print("not sent yet:", loop.undelivered())
        return next(s for s in loop.syntheses(timeout_s=30) if len(s.sites) == expected)


with tempfile.TemporaryDirectory() as folder:
    for name in INSTITUTIONS:
        Path(folder, name).mkdir()
        qis.Identity.generate().save(Path(folder, name, "key.pem"))
    for number, expected in ((1, (1, 2, 3, 4)), (2, (4, 4, 4, 4))):
        for name, heard in zip(INSTITUTIONS, expected, strict=True):
            found = night(Path(folder, name), Path(folder, "shared"), name, heard)
            shown = "{:.2f} [{:.2f}, {:.2f}]".format(*found.back_transformed)
            sites = len(found.sites)
            print(f"Night {number}, institution {name:>2}: evidence of {sites}, HR {shown}")
