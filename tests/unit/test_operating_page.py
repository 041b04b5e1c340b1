"""docs/operating.md says of every event and of every reason of health what to do."""

import ast
import re
from pathlib import Path

from qis.health import HealthState
from qis.loop import EVENT_KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def rows(heading):
    """The rows of the table that begins with this column: its names, and the other cells."""
    table = re.search(rf"^\| {heading} \|.*\n\|[- |]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    for line in table[1].splitlines():
        first, *others = [cell.strip() for cell in line.strip("|").split(" | ")]
        for name in re.findall(r"`([^`]+)`", first):
            yield name, others


def codes_in(source):
    """Reason codes in `Condition.set`, `HealthReason`, health notices and tables of states."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from (key.value for key, value in pairs if is_state(value) and key is not None)
        elif isinstance(node, ast.Call):
            yield from codes_of_call(node)


def codes_of_call(node):
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    named = {each.arg: each.value for each in node.keywords}
    if name == "set" and len(node.args) > 1 and is_state(node.args[1]):
        yield node.args[0].value
    elif name == "HealthReason" and isinstance(named.get("code"), ast.Constant):
        yield named["code"].value
    elif name == "tell" and node.args and getattr(node.args[0], "value", "") == "health":
        subject = node.args[1] if len(node.args) > 1 else named["subject"]
        if isinstance(subject, ast.Constant):
            yield subject.value


def is_state(node):
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "HealthState"


def test_the_scan_sees_each_way_of_giving_a_code():
    source = """
condition.set("a", HealthState.OK, "", now=0)
_STATES = {"b": HealthState.CUT_OFF}
HealthReason(code="c", state=HealthState.OK)
notices.tell("health", "d", "why")
announcer.tell("health", subject="e")
announcer.tell("health", subject=reason.code)
{"HealthState": HealthState}
"""
    assert sorted(codes_in(source)) == ["a", "b", "c", "d", "e"]


def test_every_event_has_a_row_with_cause_and_cure():
    found = dict(rows("event"))
    assert set(found) == set(EVENT_KINDS)
    assert all(len(others) == 2 and all(others) for others in found.values())


def test_every_reason_of_health_has_a_row_with_cause_and_cure():
    used = {
        code
        for path in (ROOT / "qis").rglob("*.py")
        for code in codes_in(path.read_text(encoding="utf-8"))
    }
    found = dict(rows("reason"))
    assert used == set(found)
    assert len(used) >= 10
    assert all(len(others) == 2 and all(others) for others in found.values())


def test_every_state_has_a_row():
    assert dict(rows("state")).keys() == {state.value for state in HealthState}
