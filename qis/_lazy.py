"""Names that are imported by those who use them (PEP 562): one table a package, and no list beside.

A package lists its lazy names once for the interpreter, by module, and once for type checkers,
behind ``TYPE_CHECKING`` (a test compares the two). ``__all__`` and ``__dir__`` follow from them.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any


def attach(
    namespace: dict[str, Any], where: Mapping[str, Sequence[str]]
) -> tuple[list[str], Callable[[], list[str]], Callable[[str], Any]]:
    """``__all__``, ``__dir__`` and ``__getattr__`` of a package; call it after all imports.

    Parameters
    ----------
    namespace
        The package's ``globals()``. Public are the names of `where`, and what the package has now:
        without an underscore, written by us, and no module.
    where
        Module → names that it gives.

    """
    package = namespace["__name__"]
    module_of = {name: module for module, names in where.items() for name in names}
    public = {name for name, value in namespace.items() if _is_public(name, value)}
    public |= {name for name in module_of if not name.startswith("_")}

    def names() -> list[str]:
        return sorted({*namespace, *module_of})

    def value_of(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module_of[name]), name)
        namespace[name] = value  # found there from now on
        return value

    return sorted(public), names, value_of


def _is_public(name: str, value: Any) -> bool:
    if name.startswith("_") or name == "TYPE_CHECKING" or isinstance(value, ModuleType):
        return False
    # A constant has no `__module__`; what others wrote names theirs.
    return value is not attach and getattr(value, "__module__", "qis").partition(".")[0] == "qis"
