"""How the documentation site is built: ``sphinx-build -W docs FOLDER`` (extra ``[docs]``)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from qis import __version__

project = "qis"
author = "the qis founders"
copyright = "2026, the qis founders"  # noqa: A001  Sphinx calls it so
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "qis"

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
