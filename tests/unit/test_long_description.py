"""What a package index shows: the README's text, without the files that lie beside it."""

import importlib.util
import re
import tarfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

ROOT = Path(__file__).parents[2]


def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def links(text):
    """Where links and pictures lead; what stands in code is no link."""
    return re.findall(r"\]\(([^)]*)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.fixture(scope="module")
def shown():
    core = ProjectMetadata(str(ROOT), PluginManager()).core
    assert core.readme_content_type == "text/markdown"
    return core.readme


def test_every_link_that_an_index_shows_leads_somewhere(shown):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(links(readme)) > 20
    assert [link for link in links(shown) if not re.match(r"https://|#", link)] == []
    # The words are all there, the code is as it was, and the files are in the sdist.
    code = r"^```.*?^```$"
    flags = re.DOTALL | re.MULTILINE
    assert re.findall(code, shown, flags) == re.findall(code, readme, flags)
    for link in links(readme):
        assert f"(`{link}`)" in shown


def test_the_sdist_has_the_files_that_it_names_and_what_builds_it(shown, tmp_path):
    name = next(iter(SdistBuilder(str(ROOT)).build(directory=str(tmp_path))))
    with tarfile.open(name) as sdist:
        held = {member.partition("/")[2] for member in sdist.getnames()}
    assert "hatch_build.py" in held
    assert set(re.findall(r"\(`([^`]*)`\)", shown)) - {"cms"} <= held


def test_with_an_address_links_are_absolute_and_pictures_stay():
    describe = hook().long_description
    text = (
        "![forest](docs/f.svg), [a](docs/a.md#b), [c](#d), [e](https://e.org)\n```\n[f](g)\n```\n"
    )
    assert describe(text, "https://code.example/") == (
        "![forest](https://code.example/docs/f.svg), [a](https://code.example/docs/a.md#b), "
        "[c](#d), [e](https://e.org)\n```\n[f](g)\n```\n"
    )
    assert describe(text) == (
        "forest (`docs/f.svg`), a (`docs/a.md#b`), [c](#d), [e](https://e.org)\n```\n[f](g)\n```\n"
    )
