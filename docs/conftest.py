"""The Python in the docs runs from top to bottom, a page at a time."""

import sys
from pathlib import Path

from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

sys.path.append(str(Path(__file__).parents[1] / "examples" / "embedding"))  # what one page is about

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["*.md"]).pytest()
