"""After a back-up was restored, a file lost, or a key stolen: say which of them, and who says so.

Usage: settle.py FOLDER restored|stolen NAME, after reading what the job has found.
"""

import sys
from pathlib import Path

import qis
import qis.blocking
from qis.site import exit_code_of


def settle(home: Path, verdict: str, approver: str) -> list[str]:
    """Take a person's word for what was found; what is still wrong."""
    with qis.blocking.open_site(home / "site.toml") as site:
        for finding in site.check():
            print(finding)
        return [str(one) for one in site.settle(verdict, approver=approver)]


if __name__ == "__main__":
    try:
        print(settle(Path(sys.argv[1]), *sys.argv[2:4]) or "settled")
    except qis.QISError as error:
        print(error, file=sys.stderr)
        sys.exit(exit_code_of(error))
