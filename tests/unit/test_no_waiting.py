"""No test sleeps, and none asserts how long something took: slow machines are not wrong."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time"}
POLLING = {
    "integration/test_udp_network.py",
    "sim/crash_site.py",
    "unit/test_model_loops.py",
    "unit/test_transports.py",
}
"""Real sockets, processes and threads, asked again and again until something has happened."""


def waits(tree):
    """The calls of a sleep that is not just the event loop's turn."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name == "sleep" and not (
            len(call.args) == 1
            and isinstance(call.args[0], ast.Constant)
            and not call.args[0].value
        ):
            yield ast.unparse(call)


def clocks(tree):
    """The uses of a clock that only measures."""
    names = (getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(tree))
    return sorted(CLOCKS.intersection(names))


def test_no_test_sleeps_or_measures_time():
    found = {}
    for path in sorted(TESTS.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = path.relative_to(TESTS).as_posix()
        found[name] = [*(() if name in POLLING else waits(tree)), *clocks(tree)]
    assert len(found) > 50
    assert {name: uses for name, uses in found.items() if uses} == {}
    assert list(waits(ast.parse("import time\ntime.sleep(1)\nasyncio.sleep(0)"))) == [
        "time.sleep(1)"
    ]
