"""Fingerprints: what an outcome is about, in 32 bytes, and under which keys it travels."""

from qis.about import Fingerprint, Interest
from qis.fingerprint.cells import Cells, NearestCells, build_cells
from qis.fingerprint.index import FingerprintIndex, Neighbour
from qis.fingerprint.levels import Everything, Level, LoadBudget
from qis.fingerprint.ontology import Ontology, Resolution
from qis.fingerprint.scheme import Ranked, Scheme
from qis.fingerprint.sets import SetScheme
from qis.fingerprint.terms import TermScheme
from qis.fingerprint.transformers import SimilarityTransformer, SketchTransformer
from qis.fingerprint.vectors import VectorScheme

__all__ = [
    "Cells",
    "Everything",
    "Fingerprint",
    "FingerprintIndex",
    "Interest",
    "Level",
    "LoadBudget",
    "NearestCells",
    "Neighbour",
    "Ontology",
    "Ranked",
    "Resolution",
    "Scheme",
    "SetScheme",
    "SimilarityTransformer",
    "SketchTransformer",
    "TermScheme",
    "VectorScheme",
    "build_cells",
]
