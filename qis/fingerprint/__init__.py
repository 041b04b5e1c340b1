"""Fingerprints: what an outcome is about, in 32 bytes, and under which keys it travels."""

from qis.about import Fingerprint, Interest
from qis.fingerprint.ontology import Ontology, Resolution
from qis.fingerprint.scheme import Scheme
from qis.fingerprint.terms import TermScheme
from qis.fingerprint.vectors import VectorScheme

__all__ = [
    "Fingerprint",
    "Interest",
    "Ontology",
    "Resolution",
    "Scheme",
    "TermScheme",
    "VectorScheme",
]
