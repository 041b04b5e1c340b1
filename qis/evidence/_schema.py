"""The tables of a `SQLiteStore`.

Rows are narrow and few indexes are kept, since their pages are what an addition costs. The slots
are indexed by sequence first: sequences are times, so new ones come at the end, all on one page.

The column `place` is what the code calls a row id: SQLite's rowid of a packet. It keeps its name,
since existing files have it.
"""

from typing import Final

from qis._database import Schema

SCHEMA: Final = Schema(
    name="store",
    application_id=0x71697331,  # ASCII "qis1"
    rescue="or save what is readable with SQLiteStore.recover(path, into=…)",
    migrations=(
        """
    CREATE TABLE packets (
        place INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        tag INTEGER NOT NULL,
        issuer BLOB NOT NULL,
        sequence BLOB NOT NULL,
        raw BLOB NOT NULL CHECK (length(raw) = 512)
    );
    CREATE INDEX packets_by_tag ON packets (tag);
    CREATE INDEX packets_by_slot ON packets (issuer, sequence);
    CREATE TABLE heads (
        study BLOB NOT NULL,
        issuer BLOB NOT NULL,
        cohort TEXT NOT NULL,
        role INTEGER NOT NULL,
        sequence BLOB NOT NULL,
        id BLOB NOT NULL,
        PRIMARY KEY (study, issuer, cohort, role)
    ) WITHOUT ROWID;
    CREATE TABLE equivocations (
        issuer BLOB NOT NULL,
        sequence BLOB NOT NULL,
        PRIMARY KEY (issuer, sequence)
    ) WITHOUT ROWID;
    CREATE TABLE floors (
        issuer BLOB PRIMARY KEY,
        sequence BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
        # A head or an equivocation whose packet is missing fails here, on NOT NULL.
        """
    ALTER TABLE packets RENAME TO old_packets;
    ALTER TABLE heads RENAME TO old_heads;
    ALTER TABLE equivocations RENAME TO old_equivocations;
    CREATE TABLE issuers (
        number INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
        floor BLOB NOT NULL
    );
    INSERT INTO issuers (key, floor)
        SELECT key, coalesce(floors.sequence, x'0000000000000000')
        FROM (SELECT issuer AS key FROM old_packets UNION SELECT issuer FROM floors)
        LEFT JOIN floors ON floors.issuer = key;
    CREATE TABLE packets (
        place INTEGER PRIMARY KEY,
        issuer INTEGER NOT NULL,
        sequence BLOB NOT NULL,
        raw BLOB NOT NULL CHECK (length(raw) = 512)
    );
    INSERT INTO packets
        SELECT place, number, sequence, raw
        FROM old_packets JOIN issuers ON key = issuer ORDER BY place;
    CREATE TABLE heads (
        study BLOB NOT NULL,
        issuer INTEGER NOT NULL,
        cohort TEXT NOT NULL,
        role INTEGER NOT NULL,
        sequence BLOB NOT NULL,
        place INTEGER NOT NULL,
        PRIMARY KEY (study, issuer, cohort, role)
    ) WITHOUT ROWID;
    INSERT INTO heads
        SELECT study, number, cohort, role, h.sequence, place
        FROM old_heads AS h JOIN issuers ON key = h.issuer
        LEFT JOIN old_packets AS p
        ON p.issuer = h.issuer AND p.sequence = h.sequence AND p.id = h.id;
    CREATE TABLE equivocations (
        place INTEGER PRIMARY KEY,
        id BLOB NOT NULL
    );
    INSERT INTO equivocations
        SELECT place, id FROM old_equivocations AS e
        LEFT JOIN old_packets AS p ON p.issuer = e.issuer AND p.sequence = e.sequence;
    DROP TABLE old_packets;
    DROP TABLE old_heads;
    DROP TABLE old_equivocations;
    DROP TABLE floors;
    CREATE INDEX packets_by_slot ON packets (sequence, issuer);
    """,
        # By id, so that a packet that was dropped and comes again is still set aside.
        """
    CREATE TABLE aside (id BLOB PRIMARY KEY CHECK (length(id) = 32)) WITHOUT ROWID;
    """,
        # Packets that a stricter rule no longer reads, and by which rules the rest was looked at.
        """
    CREATE TABLE unread (
        number INTEGER PRIMARY KEY,
        issuer INTEGER NOT NULL,
        sequence BLOB NOT NULL,
        raw BLOB NOT NULL CHECK (length(raw) = 512),
        reason TEXT NOT NULL
    );
    CREATE TABLE rules (version INTEGER NOT NULL);
    """,
        # What a durable subscription goes by: another file starts anew. Not copied by `recover`.
        """
    CREATE TABLE file (id BLOB NOT NULL CHECK (length(id) = 16));
    INSERT INTO file VALUES (randomblob(16));
    """,
    ),
)
