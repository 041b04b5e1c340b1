"""Disclosure control: what may leave the site, under which rule, and what it would reveal."""

from qis.disclosure.attacks import implied_cells
from qis.disclosure.budget import PrivacyBudget
from qis.disclosure.control import Disclosure
from qis.disclosure.finding import Finding
from qis.disclosure.identifiers import IdentifierWarning, identifiers_in
from qis.disclosure.ledger import EmissionLedger, subject_hashes
from qis.disclosure.membership import membership_auc
from qis.disclosure.presets import PRESETS, Preset
from qis.disclosure.preview import Preview
from qis.disclosure.privacy import private_counts
from qis.disclosure.rounding import rounded_counts
from qis.disclosure.suppression import complementary

__all__ = [
    "PRESETS",
    "Disclosure",
    "EmissionLedger",
    "Finding",
    "IdentifierWarning",
    "Preset",
    "Preview",
    "PrivacyBudget",
    "complementary",
    "identifiers_in",
    "implied_cells",
    "membership_auc",
    "private_counts",
    "rounded_counts",
    "subject_hashes",
]
