"""Where the shared data are, and hypothesis profiles for every machine."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from qis.health import Notices

ROOT = Path(__file__).parents[1]
# At the end, so that tests take the installed `qis`; benchmarks/ is imported from here only.
sys.path.append(str(ROOT))
SHARED = Path(os.environ.get("QIS_SHARED_DATA") or ROOT.parent / "shared" / "data")

# Timings vary between machines, so no deadline; in CI the same examples every time, so that a
# red build is the fault of the change and not of the draw.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("fresh", deadline=None, max_examples=30, print_blob=True)
# For benchmarks/mutants.py: a failure is enough, so nothing is shrunk or kept, and few are drawn.
settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=20,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_modifyitems(items):
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"the shared data folder is not here ({SHARED})")
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def load_benchmark():
    """Imports a file of benchmarks/, whose measurements some tests hold to their bars."""

    def load(name):
        path = ROOT / "benchmarks" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the shared data; only for tests marked `shared`."""
    return SHARED


class Faults:
    """What was contained during a test, and what the test has said it would inject."""

    def __init__(self):
        self.seen = []
        self._expected = []
        self._allowed = []

    def expect(self, *seams):
        """The test injects faults at these seams (`qis._guard`); each has to be told."""
        self._expected += seams

    def allow(self, *seams):
        """Something that the test calls, such as a conformance suite, injects faults there."""
        self._allowed += seams

    def check(self):
        known = (*self._expected, *self._allowed)
        unexpected = [each for each in self.seen if not each.startswith(known)]
        assert not unexpected, f"contained, and not injected by this test: {unexpected}"
        untold = [
            seam for seam in self._expected if not any(each.startswith(seam) for each in self.seen)
        ]
        assert not untold, f"this test expects faults here, and none was told: {untold}"


@pytest.fixture(autouse=True)
def faults(monkeypatch):
    """No test passes with a fault that was contained, unless it says that it injects it.

    What the guard contains would otherwise hide from the tests what it is there to tell to users.
    """
    found, tell = Faults(), Notices.tell

    def watched(self, kind, subject, reason, **options):
        if kind == "fault":
            found.seen.append(f"{subject}: {reason}")
        tell(self, kind, subject, reason, **options)

    monkeypatch.setattr(Notices, "tell", watched)
    yield found
    found.check()
