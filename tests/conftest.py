"""Where the shared data are, and one hypothesis profile for every machine."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("QIS_SHARED_DATA") or ROOT.parent / "shared" / "data")

# Timings vary between machines, so no deadline; in CI the same examples every time, so that a
# red build is the fault of the change and not of the draw.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
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
