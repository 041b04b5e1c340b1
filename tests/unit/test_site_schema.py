"""The schema of a site's file says what the file may hold: checked against what reads it."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import qis
from qis.command import main
from qis.errors import ConfigurationError
from qis.site import open_site, parts, site_schema
from qis.site.opening import FILE_KEYS, TABLES
from tests._builders import SITE, site_folders

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = site_schema()
KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


def faults(value, schema, where=""):
    """Where a value is not what a schema says: the few words of JSON Schema that ours uses."""
    if "enum" in schema and value not in schema["enum"]:
        return [where]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_of(value, kind) for kind in kinds):
        return [where]
    found = []
    if isinstance(value, dict):
        found += [f"{where}.{key}" for key in value if key not in schema["properties"]]
        found += [f"{where}.{key}" for key in schema["required"] if key not in value]
        for key, each in value.items():
            if key in schema["properties"]:
                found += faults(each, schema["properties"][key], f"{where}.{key}")
    for item in value if isinstance(value, list) else []:
        found += faults(item, schema["items"], f"{where}[]")
    if is_of(value, "number"):
        is_out = value < schema.get("minimum", value) or value > schema.get("maximum", value)
        found += [where] * is_out
    return found + [where] * (isinstance(value, str) and len(value) < schema.get("minLength", 0))


def is_of(value, kind):
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def keys_of(table):
    return set(SCHEMA["properties"][table]["properties"])


def test_it_has_the_keys_that_the_reader_knows():
    assert list(SCHEMA["properties"]) == list(TABLES)
    assert keys_of("files") == set(FILE_KEYS)
    assert keys_of("transport") == set(parts.TRANSPORT_KEYS)
    assert keys_of("scheme") == {"kind", "secret_file", *parts.SCHEME_KEYS}
    assert keys_of("identity") == set(parts.IDENTITY_KEYS) - {"passphrase"}  # refused, and said why
    assert keys_of("roster") == set(parts.ROSTER_KEYS)
    assert keys_of("interest") == set(parts.INTEREST_KEYS)
    assert keys_of("disclosure") == set(parts.DISCLOSURE_KEYS)
    assert all(
        each["description"]
        for table in SCHEMA["properties"].values()
        for each in table.get("properties", {}).values()
    )


def sites_of(page):
    return [
        found
        for found in re.findall(r'SITE = """\n(.*?)"""', page, re.DOTALL)
        if "[roster]" in found
    ]


@pytest.mark.parametrize(
    "text", [SITE, *sites_of((DOCS / "embedding.md").read_text(encoding="utf-8"))]
)
def test_the_sites_of_tests_and_pages_are_as_it_says(text):
    assert faults(tomllib.loads(text), SCHEMA) == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("[identity]", "[identities]", ".identities"),
        ('file = "key.pem"', "", ".identity.file"),
        ('"vector"', '"vectors"', ".scheme.kind"),
        ("dimensions = 3", "dimensions = 3.5", ".scheme.dimensions"),
        ("people = 0", "people = true", ".interest.people"),
        ("poll_s = 0.02", 'poll_s = "1"', ".transport.poll_s"),
        ('["study.toml"]', '"study.toml"', ".studies"),
        ('"directory"', '"pigeon"', ".transport.kind"),
    ],
)
def test_what_it_marks_the_reader_refuses(tmp_path, old, new, where):
    (home,) = site_folders(tmp_path, "north")
    text = SITE.replace(old, new, 1)
    assert text != SITE
    assert where in faults(tomllib.loads(text), SCHEMA)
    (home / "site.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(where.strip(".").rpartition(".")[2])):
        open_site(home / "site.toml")


def test_the_command_prints_it(capsys):
    assert main(["site", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
    assert qis.site.site_schema() == SCHEMA
