"""qis.testing without hypothesis: suites and clock are there, strategies say what to install."""

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["hypothesis"] = None
import qis.testing
from qis.errors import MissingExtraError
qis.testing.VirtualClock(), qis.testing.check_store, qis.testing.check_transport
try:
    qis.testing.effects
except MissingExtraError as error:
    print(error)
"""


def test_strategies_say_what_to_install_and_the_rest_does_without():
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert "need hypothesis" in done.stdout
    assert 'pip install "qis-protocol[test]"' in done.stdout
