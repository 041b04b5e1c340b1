"""The public surface, frozen: a change here is a change for users and belongs in the changelog.

After a deliberate change: python tests/unit/test_public_signatures.py
"""

import inspect
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
    return "\n".join(lines) + "\n"


def test_the_public_surface_is_the_one_that_was_agreed():
    assert surface() == SNAPSHOT.read_text(encoding="utf-8")


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
