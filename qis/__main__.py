"""``python -m qis``: the command line (`qis.command`)."""

import sys

from qis.command import main

if __name__ == "__main__":
    sys.exit(main())
