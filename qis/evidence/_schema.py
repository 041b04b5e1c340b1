"""The tables of a `SQLiteStore`."""

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
    ),
)
