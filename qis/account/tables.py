"""The tables of an account. Published migrations are never changed."""

from typing import Final

from qis._database import Schema

SCHEMA: Final = Schema(
    name="account",
    application_id=0x7169736F,  # ASCII "qiso": it was an outbox only, once
    rescue=(
        "or begin with another and tell the site's loop that it was restored: sequences move on "
        "with the clock, what waited in this one must be published again, and what it knew of "
        "releases and payments is known to nobody then"
    ),
    migrations=(
        """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE unsent (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        packet BLOB NOT NULL CHECK (length(packet) = 512),
        keys BLOB NOT NULL
    );
    CREATE TABLE looks (
        study BLOB PRIMARY KEY,
        state BLOB NOT NULL,
        number INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE own (
        study BLOB NOT NULL,
        issuer BLOB NOT NULL,
        cohort TEXT NOT NULL,
        role INTEGER NOT NULL,
        packet BLOB NOT NULL CHECK (length(packet) = 512),
        keys BLOB NOT NULL,
        PRIMARY KEY (study, issuer, cohort, role)
    ) WITHOUT ROWID;
    CREATE TABLE waiting (
        id TEXT PRIMARY KEY,
        created_at REAL NOT NULL,
        kind INTEGER NOT NULL,
        body BLOB NOT NULL,
        sketch BLOB NOT NULL,
        scheme BLOB NOT NULL,
        keys BLOB NOT NULL,
        subjects TEXT,
        people INTEGER,
        preview TEXT NOT NULL,
        preview_digest BLOB NOT NULL,
        explain TEXT NOT NULL
    );
    """,
        """
    ALTER TABLE unsent ADD COLUMN since REAL;
    """,
        """
    CREATE TABLE numbers (sequence BLOB PRIMARY KEY, aside INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO numbers SELECT value, 0 FROM facts WHERE name = 'sequence';
    CREATE TABLE aside (
        packet BLOB PRIMARY KEY CHECK (length(packet) = 512),
        keys BLOB NOT NULL,
        is_answered INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
        """
    CREATE TABLE made (
        packet BLOB PRIMARY KEY CHECK (length(packet) = 32),
        sequence BLOB NOT NULL,
        is_foreign INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX made_by_sequence ON made (sequence);
    INSERT INTO facts SELECT 'unknown before', coalesce(max(sequence), x'0000000000000000')
        FROM numbers;
    """,
        # Packets that a stricter rule no longer reads.
        """
    CREATE TABLE unread (packet BLOB PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
    """,
        # And outcomes that wait, which are then looked at once more.
        """
    CREATE TABLE unread_waiting (
        id TEXT PRIMARY KEY,
        created_at REAL NOT NULL,
        kind INTEGER NOT NULL,
        body BLOB NOT NULL,
        explain TEXT NOT NULL,
        reason TEXT NOT NULL
    ) WITHOUT ROWID;
    DELETE FROM facts WHERE name = 'rules';
    """,
        # One account: what was released and paid, what was taken over, and what is wrong.
        """
    CREATE TABLE lines (
        kind TEXT NOT NULL,
        number INTEGER NOT NULL,
        line TEXT NOT NULL,
        chain BLOB NOT NULL,
        PRIMARY KEY (kind, number)
    ) WITHOUT ROWID;
    CREATE TABLE taken_over (
        source TEXT PRIMARY KEY,
        path TEXT NOT NULL,
        size INTEGER,
        digest BLOB
    ) WITHOUT ROWID;
    CREATE TABLE findings (
        code TEXT PRIMARY KEY,
        said TEXT NOT NULL,
        found_at REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE unknown (
        packet BLOB PRIMARY KEY CHECK (length(packet) = 512),
        emission TEXT,
        payment TEXT
    ) WITHOUT ROWID;
    CREATE TABLE arriving (packet BLOB PRIMARY KEY, label TEXT NOT NULL) WITHOUT ROWID;
    ALTER TABLE waiting ADD COLUMN reinstates INTEGER NOT NULL DEFAULT 0;
    INSERT INTO facts VALUES ('counter', x'0000000000000000');
    INSERT INTO facts SELECT 'name', randomblob(16);
    """,
        # Routing keys before any epoch, by the commitment of those that followed from them.
        """
    CREATE TABLE bases (commitment BLOB PRIMARY KEY, keys BLOB NOT NULL) WITHOUT ROWID;
    """,
    ),
    is_shared=True,
)
