"""Every statement of a `SQLiteStore`, by what it is asked for.

The column `place` holds the row id of a packet (see `_schema`).
"""

from typing import Final

from qis import _layout

EXTENT: Final = "SELECT count(*), coalesce(max(place), 0) FROM packets"
ISSUERS: Final = "SELECT number, key, floor FROM issuers"
TALLY: Final = "SELECT issuer, count(*), max(sequence) FROM packets GROUP BY issuer"
NEW_ISSUER: Final = "INSERT INTO issuers VALUES (?, ?, ?)"
RAISE: Final = "UPDATE issuers SET floor = ? WHERE number = ?"
PACKETS: Final = "SELECT key, sequence, raw FROM packets JOIN issuers ON number = packets.issuer"
SLOT: Final = "SELECT place, raw FROM packets WHERE sequence = ? AND issuer = ?"
OF_ISSUER: Final = "SELECT place FROM packets WHERE issuer = ?"
INSERT: Final = "INSERT INTO packets VALUES (?, ?, ?, ?)"
LIFT: Final = "REPLACE INTO heads VALUES (?, ?, ?, ?, ?, ?)"
HEAD: Final = """
    SELECT heads.sequence, raw, place FROM heads JOIN packets USING (place)
    WHERE study = ? AND heads.issuer = ? AND cohort = ? AND role = ?
"""
HEADS: Final = """
    SELECT sequence, place, place IN (SELECT place FROM equivocations) FROM heads WHERE study = ?
"""
NEWEST_FIRST: Final = f"""
    SELECT sequence, place, raw FROM packets WHERE issuer = ?1
    AND (?2 IS NULL OR substr(raw, {_layout.STUDY_ID.start + 1}, 8) = ?2) ORDER BY sequence DESC
"""  # noqa: S608  ours
JUDGED: Final = """
    SELECT sequence, key, place, raw FROM packets JOIN issuers ON number = packets.issuer
    ORDER BY sequence, key
"""
HEADS_OF: Final = """
    SELECT key, count(*) FROM heads JOIN issuers ON number = heads.issuer
    WHERE number IN (SELECT value FROM json_each(?)) GROUP BY number
"""
SEQUENCE: Final = "SELECT sequence FROM packets WHERE place = ?"
HEAD_COUNT: Final = "SELECT count(*) FROM heads"
LOST: Final = """
    SELECT study, key, cohort, role FROM heads JOIN issuers ON number = heads.issuer
    WHERE place IN (SELECT value FROM json_each(?))
"""
ASIDE: Final = "SELECT id FROM aside"
SET_ASIDE: Final = "INSERT OR IGNORE INTO aside VALUES (?)"
KEYS: Final = """
    SELECT place, study, key, cohort, role FROM heads JOIN issuers ON number = heads.issuer
"""
STUDIES: Final = "SELECT DISTINCT study FROM heads ORDER BY study"
MARK: Final = "INSERT OR IGNORE INTO equivocations VALUES (?, ?)"
DOUBLES: Final = """
    SELECT key, sequence, place FROM equivocations JOIN packets USING (place)
    JOIN issuers ON number = packets.issuer ORDER BY key, sequence, id
"""
SINGLES: Final = """
    SELECT sequence, key, place FROM packets JOIN issuers ON number = packets.issuer
    WHERE (place IN (SELECT place FROM heads)) = ?
    AND place NOT IN (SELECT place FROM equivocations)
    ORDER BY sequence
"""
DROP: Final = tuple(
    f"DELETE FROM {table} WHERE place IN (SELECT value FROM json_each(?))"  # noqa: S608  ours
    for table in ("packets", "heads", "equivocations")
)
UNMARK: Final = """
    DELETE FROM equivocations WHERE place IN (
        SELECT min(place) FROM equivocations CROSS JOIN packets USING (place)
        GROUP BY issuer, sequence HAVING count(*) = 1)
"""
RULES: Final = "SELECT version FROM rules"
ALL: Final = "SELECT place, issuer, sequence, raw FROM packets ORDER BY place"
UNREAD: Final = "INSERT INTO unread (issuer, sequence, raw, reason) VALUES (?, ?, ?, ?)"
ALL_UNREAD: Final = """
    SELECT key, sequence, reason, raw FROM unread JOIN issuers ON issuers.number = unread.issuer
    ORDER BY unread.number
"""
NEWEST_UNREAD: Final = "SELECT issuer, max(sequence) FROM unread GROUP BY issuer"
DECIDED: Final = "SELECT study, issuer, cohort, role FROM heads WHERE place = ?"
ROWS_OF_ISSUER: Final = "SELECT place, raw FROM packets WHERE issuer = ?"
REMOVE: Final = tuple(
    f"DELETE FROM {table} WHERE place = ?"  # noqa: S608  ours
    for table in ("packets", "heads", "equivocations")
)
