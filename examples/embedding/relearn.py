"""After a back-up was restored: bring the ledger of releases up to date from what came back.

Usage: relearn.py FOLDER, after one run of the job and before anything is released.
"""

import sys
from contextlib import closing
from pathlib import Path

from blake3 import blake3

import qis
from qis.site import exit_code_of


def relearn(home: Path, issuer: qis.Issuer) -> int:
    """Note what this key has published according to the store; how many the ledger lacked."""
    gate = qis.Disclosure.preset("none", ledger=home / "releases.jsonl")  # which notes, and no more
    lacked = 0
    with closing(qis.SQLiteStore(home / "evidence.db", roster=qis.Roster.open())) as store:
        for packet in store.packets_of(issuer):
            known = gate.ledger.of_study(packet.outcome.study_id)
            if blake3(packet.outcome.encoded()).digest() not in {one.digest for one in known}:
                gate.release(packet.outcome, now=packet.issued_at)
                lacked += len(gate.ledger.of_study(packet.outcome.study_id)) - len(known)
    return lacked


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        print(relearn(folder, qis.Identity.load(folder / "key.pem").issuer))
    except qis.QISError as error:
        print(error, file=sys.stderr)
        sys.exit(exit_code_of(error))
