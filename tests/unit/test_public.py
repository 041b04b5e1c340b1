"""What `import qis` gives, and what it does not load."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qis

MOST_MODULES_OF_OURS, MOST_MODULES = 39, 178
README = Path(__file__).parents[2] / "README.md"


def test_every_listed_name_is_there_and_the_list_is_sorted_and_unique():
    assert len(set(qis.__all__)) == len(qis.__all__)
    for name in qis.__all__:
        assert getattr(qis, name) is not None


def test_every_error_is_public():
    errors = {name for name, value in vars(qis.errors).items() if isinstance(value, type)}
    assert {name for name in errors if issubclass(getattr(qis.errors, name), Exception)} <= set(
        qis.__all__
    )


def test_the_readme_code_prints_what_it_says_and_its_picture_is_of_that(capsys, monkeypatch):
    text = README.read_text(encoding="utf-8")
    code, output = re.findall(r"```(?:python|text)\n(.*?)```", text, re.DOTALL)[:2]
    monkeypatch.chdir(README.parent)
    names = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102  the README is ours
    assert capsys.readouterr().out == output
    assert len(code.splitlines()) <= 12
    assert len(text[: text.index("```python")].splitlines()) <= 20
    synthesis = qis.synthesise(names["packets"], roster=qis.Roster(names["sites"]), model="fixed")
    (picture,) = re.findall(r"\]\((docs/[\w-]+\.svg)\)", text)
    committed = (README.parent / picture).read_text("utf-8")
    drawn = synthesis.forest_plot().svg()
    assert re.findall(">([^<]+)<", committed) == re.findall(
        ">([^<]+)<", drawn
    )  # all words, in order
    numbers = [re.findall(r'(?<=[" ,])[\d.]+(?=[" ,])', svg) for svg in (committed, drawn)]
    assert [float(x) for x in numbers[0]] == pytest.approx([float(x) for x in numbers[1]], abs=1.5)


def test_the_readme_needs_no_file_beside_it_to_be_seen():
    # A package index shows the text alone: an image there would need an address of its own.
    text = README.read_text(encoding="utf-8")
    assert [each for each in re.findall(r"!\[.*?\]\((.*?)\)", text) if "://" not in each] == []
    assert "<img" not in text


def test_the_readme_is_short_before_its_reference_part_and_links_to_what_is_there():
    text = README.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text[: text.index("## Reference")], flags=re.DOTALL)
    assert len(prose.split()) <= 450
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_import_loads_no_network_and_nothing_heavy():
    code = "import sys, qis; print([m for m in sys.argv[1:] if m in sys.modules])"
    names = ["asyncio", "socket", "scipy", "matplotlib", "numpy"]
    result = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_dir_lists_every_public_name_and_there_is_a_version():
    assert set(qis.__all__) <= set(dir(qis))
    assert re.match(r"\d+\.\d+|unknown", qis.__version__)


LAZY = ["qis", "qis.outcomes", "qis.testing", "qis.transport"]


def imported(source, *, for_type_checkers):
    """Names that a package imports, behind TYPE_CHECKING or in front of it."""
    for statement in ast.parse(source).body:
        is_behind = isinstance(statement, ast.If)
        if is_behind == for_type_checkers:
            for node in statement.body if is_behind else [statement]:
                if isinstance(node, ast.ImportFrom):
                    yield from ((alias.name, alias.asname, node.module) for alias in node.names)


def vars_module(value):
    return getattr(value, "__module__", None)


@pytest.mark.parametrize("package", LAZY)
def test_lazy_names_are_those_that_type_checkers_see_and_each_comes_from_where_they_look(package):
    module = importlib.import_module(package)
    source = Path(module.__file__).read_text(encoding="utf-8")
    seen = list(imported(source, for_type_checkers=True))
    assert all(name == alias for name, alias, _ in seen)  # so that they are exported (PEP 484)
    eager = {alias for name, alias, _ in imported(source, for_type_checkers=False) if name == alias}
    own = {
        name for name, value in vars(module).items() if getattr(value, "__module__", 0) == package
    }
    lazy = {name for name, _, _ in seen}
    assert set(module.__all__) == lazy | eager | {name for name in own if name[0] != "_"}
    for name, _, where in seen:
        assert getattr(module, name) is getattr(importlib.import_module(where), name)
        assert name in vars(module)  # found at once from now on
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_no_package_has_a_mechanism_of_its_own_for_lazy_names():
    root = Path(qis.__file__).parent
    own = [p for p in root.rglob("__init__.py") if "def __getattr__" in p.read_text("utf-8")]
    assert own == []


def test_importing_the_library_loads_few_modules():
    """A count, since seconds depend on the machine: each module takes its share of a start."""
    code = "import sys; old = set(sys.modules); import qis; print(*sorted({*sys.modules} - old))"
    done = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    ours = [name for name in loaded if name.partition(".")[0] == "qis"]
    assert len(ours) <= MOST_MODULES_OF_OURS, ours
    assert len(loaded) <= MOST_MODULES, loaded
