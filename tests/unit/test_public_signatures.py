"""The public surface, frozen: a change here is a change for users and belongs in the changelog.

After a deliberate change: python tests/unit/test_public_signatures.py
"""

import importlib
import inspect
import pkgutil
from enum import Enum
from pathlib import Path

import qis
import qis.blocking
import qis.testing

SNAPSHOT = Path(__file__).parent / "public_signatures.txt"


def described(module):
    for name in sorted(module.__all__):
        thing = getattr(module, name)
        if inspect.isclass(thing):
            signature = "" if issubclass(thing, Enum) else _signature(thing)
            yield f"class {module.__name__}.{name}{signature}"
            for member in sorted(vars(thing)):
                if not member.startswith("_"):
                    found = inspect.getattr_static(thing, member)
                    yield f"    {member}{_signature(found)}"
        else:
            yield f"{module.__name__}.{name}{_signature(thing)}"


def _signature(thing):
    if isinstance(thing, (classmethod, staticmethod)):
        thing = thing.__func__
    if isinstance(thing, property):
        return ": property"
    if not callable(thing):
        return ""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return "(…)"
    # Names, kinds and defaults; how annotations print differs between versions of Python.
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(bare))


def surface():
    lines = [*described(qis), *described(qis.testing)]
    lines += [f"class qis.blocking.SynthesisLoop{_signature(qis.blocking.SynthesisLoop)}"]
    lines += [f"name {face}.{name}" for face in faces() for name in sorted(names_of(face))]
    return "\n".join(lines) + "\n"


def faces():
    """Packages that an application may import from, beside those whose signatures are frozen."""
    packages = [each.name for each in pkgutil.iter_modules(qis.__path__) if each.ispkg]
    return [f"qis.{name}" for name in sorted(packages) if name[0] != "_" and name != "testing"]


def names_of(face):
    return getattr(importlib.import_module(face), "__all__", ())


def test_the_public_surface_is_the_one_that_was_agreed():
    assert surface() == SNAPSHOT.read_text(encoding="utf-8")


def test_every_face_gives_what_it_lists():
    assert len(faces()) > 10
    for face in faces():
        module = importlib.import_module(face)
        names = names_of(face)
        assert len(set(names)) == len(names)
        assert [name for name in names if not hasattr(module, name)] == []
        assert not any(name.startswith("_") for name in names)


def test_every_public_name_is_documented():
    for module in (qis, qis.testing):
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing):
                assert inspect.getdoc(thing), name
                for member, found in vars(thing).items() if inspect.isclass(thing) else ():
                    if not member.startswith("_") and callable(found):
                        assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"


if __name__ == "__main__":
    SNAPSHOT.write_text(surface(), encoding="utf-8")
