"""What CONTRIBUTING, CITATION.cff and the decision records name is there, and says the same."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("0*.md"))
HEADINGS = ["The question", "Decided", "Because", "What it costs"]


def read(*parts):
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def sessions():
    tree = ast.parse(read("noxfile.py"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any("session" in ast.unparse(each) for each in node.decorator_list)
    }


def test_each_session_is_in_the_table_and_each_row_is_a_session():
    rows = re.findall(r"^\| `nox -s (\w+)(?:-3\.\d+)?` \|", read("CONTRIBUTING.md"), re.MULTILINE)
    assert len(rows) == len(set(rows)) > 5
    assert set(rows) == sessions()


def test_nox_runs_the_pythons_that_the_classifiers_promise():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    (pythons,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(read("noxfile.py")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PYTHONS"
    )
    assert pythons == promised
    assert project["requires-python"] == f">={promised[0]}"


def test_the_citation_names_this_version_and_licence():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    said = dict(re.findall(r"^([a-z-]+): (.+)$", read("CITATION.cff"), re.MULTILINE))
    assert (said["version"], said["license"]) == (project["version"], project["license"])


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_decision_says_what_why_and_what_it_costs_in_half_a_page(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.name[:4]}: ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert len(text.split()) < 350


def test_the_index_lists_each_decision_once():
    listed = re.findall(r"\]\((0[\w-]+\.md)\)", (DECISIONS / "README.md").read_text("utf-8"))
    assert listed == [path.name for path in RECORDS]


@pytest.mark.parametrize(
    "path",
    [*(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")), *DECISIONS.glob("*.md")],
    ids=lambda path: path.stem,
)
def test_files_and_links_that_a_page_names_are_there(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text)
    files = re.findall(r"`((?:qis|tests|docs|\.ci)(?:/[\w.]+)+)`", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    assert [file for file in files if not (ROOT / file).exists()] == []
    for symbol, file in re.findall(r"`(?:\w+\.)?(\w+)` \(`(qis/[\w/.]+)`\)", text):
        assert f"def {symbol}(" in read(file)


def test_the_changelog_has_a_section_of_this_version_and_says_what_versions_promise():
    text = read("CHANGELOG.md")
    project = tomllib.loads(read("pyproject.toml"))["project"]
    version = re.match(r"\d+\.\d+\.\d+", project["version"])[0]
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections[0] == "Versions"
    assert sections[1].startswith(f"[{version}]") or sections[1] == "[Unreleased]"
    assert any(section.startswith(f"[{version}]") for section in sections)
    assert ".dev" not in project["version"] or "not released yet" in " ".join(sections)


def test_the_systems_of_the_classifiers_are_those_that_run_the_tests():
    """.ci/run is a shell script that looks for interpreters as Linux has them, and nowhere else."""
    classifiers = tomllib.loads(read("pyproject.toml"))["project"]["classifiers"]
    systems = [each for each in classifiers if each.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]
    assert read(".ci", "run").startswith("#!/usr/bin/env bash")
