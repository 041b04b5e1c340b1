"""The notebooks run in a kernel of their own, and print what is kept in them."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def printed(notebook):
    """What each cell of code prints or shows, as one text: in how many parts it comes is chance."""
    return [
        "".join(
            out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_prints_what_is_kept_in_it(path, monkeypatch):
    paths = [str(ROOT)]
    monkeypatch.setenv("PYTHONPATH", ":".join(paths))  # the kernel is another process
    kept, run = (nbformat.read(path, as_version=4) for _ in range(2))
    nbformat.validate(kept)
    NotebookClient(
        run, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    assert printed(run) == printed(kept)


def test_there_are_three_notebooks():
    assert len(NOTEBOOKS) == 3
