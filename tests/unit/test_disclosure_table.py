"""docs/disclosure.md on what may leave from which smallest cell on, against the gate."""

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "disclosure.md"


@pytest.fixture(scope="module")
def gate(load_benchmark):
    return load_benchmark("disclosure_table")


def written():
    """What the page says: form → preset → (whether an empty cell may leave, least size)."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- what may leave: begin -->\n")
    head, _, *rows = rest.partition("<!--")[0].strip().splitlines()
    names = [cell.strip(" `") for cell in head.strip("|").split("|")][1:]
    found = {}
    for row in rows:
        form, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        found[form] = {
            name: (cell.startswith("0, "), int(cell.rpartition("≥ ")[2]))
            for name, cell in zip(names, cells, strict=True)
        }
    return found


def test_every_form_and_preset_is_there(gate):
    assert list(written()) == list(gate.FORMS)
    assert all(tuple(row) == gate.NAMES for row in written().values())


def test_the_size_that_is_written_passes_and_the_one_before_does_not(gate):
    for form, row in written().items():
        for preset in ("cms", "nhs"):  # the others differ in the limit only
            with_zero, least = row[preset]
            tried = gate.steps(preset, form)
            assert gate.passes(preset, form, least), (form, preset)
            assert least == tried[0] or not gate.passes(preset, form, least - tried.step)
            if gate.FORMS[form][1] > 1:
                assert gate.passes(preset, form, 0) == with_zero, (form, preset)
