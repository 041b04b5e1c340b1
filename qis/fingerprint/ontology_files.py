"""Files of ontologies and annotations: OBO Graphs JSON, OBO, and the HPO annotation table."""

import csv
import gzip
import json
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Final

from qis._paths import opening
from qis.errors import InputError
from qis.fingerprint.term_ids import short_id

_REPLACED_BY: Final = ("IAO_0100001", "term_replaced_by")
_ALTERNATIVE: Final = "hasAlternativeId"
_NOBODY: Final = re.compile(r"0+(\.0*)?(/\d+|%)|HP:0040285").fullmatch
"""Frequencies in the HPO annotation table that say that no patient had it."""


def read_obographs(path: str | PathLike[str]) -> dict[str, Any]:
    """Arguments for `Ontology` from OBO Graphs JSON, the first graph of the file."""
    try:
        graph = json.loads(_text(path))["graphs"][0]
        nodes = [node for node in graph["nodes"] if node.get("type", "CLASS") == "CLASS"]
        edges = [edge for edge in graph.get("edges", ()) if edge.get("pred") == "is_a"]
        version = str(graph.get("meta", {}).get("version", Path(path).name))
        found = _Found(_release(version))
        for node in nodes:
            _add_node(found, node)
        for edge in edges:
            found.parents.setdefault(short_id(edge["sub"]), set()).add(short_id(edge["obj"]))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no OBO Graphs file ({type(error).__name__}: {error})", field="path"
        ) from error
    return found.arguments()


def read_obo(path: str | PathLike[str]) -> dict[str, Any]:
    """Arguments for `Ontology` from an OBO file."""
    found = _Found(Path(path).name)
    stanzas = _stanzas(_text(path))
    header = next(stanzas)[1]
    if "format-version" not in header:
        raise InputError(f"{path} is no OBO file: it has no format-version", field="path")
    if "data-version" in header:
        found.release = _release(header["data-version"][0])
    for kind, tags in stanzas:
        if kind != "Term" or "id" not in tags:
            continue
        term = tags["id"][0]
        name = tags.get("name", [""])[0]
        alternatives = tags.get("alt_id", [])
        replacement = next(iter(tags.get("replaced_by", [])), None)
        is_obsolete = tags.get("is_obsolete", ["false"])[0] == "true"
        found.add(term, name, alternatives, replacement, is_obsolete=is_obsolete)
        if not is_obsolete:
            found.parents[term].update(parent.split()[0] for parent in tags.get("is_a", []))
    return found.arguments()


def read_annotations(path: str | PathLike[str]) -> dict[str, list[str]]:
    """Profiles from ``phenotype.hpoa``: disease → terms that its patients have.

    Only rows of phenotypic abnormalities (aspect P) count that are not negated and whose frequency
    is not none: ``0/7``, ``0%`` and ``HP:0040285`` (excluded) say that no patient had it.
    """
    lines = [line for line in _text(path).splitlines() if line and not line.startswith("#")]
    profiles: dict[str, list[str]] = {}
    reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    needed = {"database_id", "qualifier", "hpo_id", "aspect", "frequency"}
    if not needed <= set(reader.fieldnames or ()):
        raise InputError(
            f"{path} has no columns {', '.join(sorted(needed))}: it is no phenotype.hpoa",
            field="annotations",
            actual=tuple(reader.fieldnames or ()),
        )
    for row in reader:
        if row["aspect"] == "P" and row["qualifier"] != "NOT" and not _NOBODY(row["frequency"]):
            profiles.setdefault(row["database_id"], []).append(row["hpo_id"])
    return profiles


class _Found:
    """What a file says of terms, collected."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.parents: dict[str, set[str]] = {}
        self.names: dict[str, str] = {}
        self.replacements: dict[str, str] = {}
        self.obsolete: set[str] = set()

    def add(
        self,
        term: str,
        name: str,
        alternatives: list[str],
        replacement: str | None,
        *,
        is_obsolete: bool,
    ) -> None:
        if is_obsolete:
            self.obsolete.add(term)
            if replacement is not None:
                self.replacements[term] = replacement
            return
        self.parents.setdefault(term, set())
        self.names[term] = name
        for alternative in alternatives:
            self.replacements[alternative] = term

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Ontology`.

        Replacements are followed to a current term; ids whose replacement is none are obsolete.
        """
        current = {}
        for old in self.replacements:
            new, seen = self.replacements[old], {old}
            while new not in self.parents and new in self.replacements and new not in seen:
                seen.add(new)
                new = self.replacements[new]
            if new in self.parents:
                current[old] = new
            else:
                self.obsolete.add(old)
        return {
            "release": self.release,
            "parents": self.parents,
            "names": self.names,
            "replacements": current,
            "obsolete": self.obsolete,
        }


def _add_node(found: _Found, node: dict[str, Any]) -> None:
    meta = node.get("meta", {})
    values = meta.get("basicPropertyValues", [])
    alternatives = [short_id(v["val"]) for v in values if v["pred"].endswith(_ALTERNATIVE)]
    replacements = [short_id(v["val"]) for v in values if v["pred"].endswith(_REPLACED_BY)]
    found.add(
        short_id(node["id"]),
        str(node.get("lbl", "")),
        alternatives,
        next(iter(replacements), None),
        is_obsolete=bool(meta.get("deprecated", False)),
    )


def _release(version: str) -> str:
    """``hp/2025-01-16`` from ``…/hp/releases/2025-01-16…``; others as they are."""
    parts = version.split("/")
    if "releases" in parts[1:-1]:
        index = parts.index("releases")
        return f"{parts[index - 1]}/{parts[index + 1]}"
    return version


def _stanzas(text: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Kind and tags of each stanza; the header first, under the name ""."""
    kind = ""
    tags: dict[str, list[str]] = {}
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            yield kind, tags
            kind, tags = line[1:-1], {}
        elif ":" in line and not line.startswith("!"):
            tag, _, value = line.partition(":")
            tags.setdefault(tag, []).append(value.split(" ! ")[0].strip())
    yield kind, tags


def _text(path: str | PathLike[str]) -> str:
    with opening(path, "read"):
        raw = Path(path).read_bytes()
    try:
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise InputError(f"{path} is not UTF-8 text: {error}", field="path") from error
