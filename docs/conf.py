"""How the documentation site is built: ``sphinx-build -W docs FOLDER`` (extra ``[docs]``)."""

import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from qis import __version__  # noqa: E402  found by the line above

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


def draw(_: Any) -> None:
    """Make the pictures of the gallery, each by the code that stands above it."""
    pictures, names = HERE / "_pictures", dict[str, Any]()
    pictures.mkdir(exist_ok=True)
    page = (HERE / "gallery.md").read_text(encoding="utf-8")
    before = Path.cwd()
    os.chdir(HERE.parent)  # as the tests run it
    try:
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", page, re.DOTALL), 1):
            exec(code, names)  # noqa: S102  our own page
            names["plot"].save(pictures / f"{number}.svg")
    finally:
        os.chdir(before)


def setup(app: Any) -> None:
    """Draw before the pages are read."""
    app.connect("builder-inited", draw)
