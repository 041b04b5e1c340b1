"""How far a long simulation has come, for whoever waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qis.errors import MissingExtraError

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and of what."""


def no_progress(_done: int, _total: int, _what: str) -> None:
    """Say nothing."""


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show progress in the terminal or notebook, one bar for each stage (extra `progress`).

    Yields
    ------
    Progress
        To be given as `progress=`.

    Raises
    ------
    MissingExtraError
        If rich is not installed.

    """
    try:
        from rich.progress import Progress as Bars, TaskID  # noqa: PLC0415  the extra [progress]
    except ImportError as error:
        raise MissingExtraError(
            'a progress bar needs rich: pip install "qis-protocol[progress]"'
        ) from error
    tasks: dict[str, TaskID] = {}
    with Bars() as bars:

        def show(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show
