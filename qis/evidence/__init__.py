"""Evidence: what was received, who is believed, and what of it counts."""

from qis.evidence.audit import AuditLog
from qis.evidence.audit_entry import AuditHead, Entry
from qis.evidence.audit_reader import AuditReader
from qis.evidence.lineage import expiry_of, leaves_of, with_derived
from qis.evidence.memory import MemoryStore
from qis.evidence.review import Excluded, Reason, Review
from qis.evidence.roster import Roster, Site, SiteKey
from qis.evidence.roster_file import RosterFile, sign_roster
from qis.evidence.rules import Admission
from qis.evidence.sqlite import SQLiteStore
from qis.evidence.store import Equivocation, EvidenceStore

__all__ = [
    "Admission",
    "AuditHead",
    "AuditLog",
    "AuditReader",
    "Entry",
    "Equivocation",
    "EvidenceStore",
    "Excluded",
    "MemoryStore",
    "Reason",
    "Review",
    "Roster",
    "RosterFile",
    "SQLiteStore",
    "Site",
    "SiteKey",
    "expiry_of",
    "leaves_of",
    "sign_roster",
    "with_derived",
]
