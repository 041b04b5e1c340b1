"""A picture, for notebooks, files and figures of one's own."""

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from qis._given import real_number
from qis._paths import file_path
from qis.errors import InputError
from qis.picture.elements import Axis, Element
from qis.picture.svg import svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUFFIXES: Final = (".svg", ".png", ".pdf")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Picture:
    """A forest plot, funnel plot or the like. A notebook shows it; `print` shows it as text.

    Parameters
    ----------
    title
        What it shows, also for those who cannot see it.
    width, height
        In pixels of 1/96 inch.
    elements
        What is drawn, from back to front.
    axis
        Where values are.
    text
        The same in letters, for terminals.

    Examples
    --------
    >>> import qis
    >>> table = {"site": ["A", "B"], "estimate": [-0.7, -0.2], "standard_error": [0.3, 0.4]}
    >>> study = qis.Study(question="drug vs none | death", measure="OR", model="fixed")
    >>> picture = qis.synthesise(table, study=study).forest_plot()
    >>> picture  # doctest: +ELLIPSIS
    <Picture of 'Forest plot: drug vs none | death', ...>

    """

    title: str
    width: float
    height: float
    elements: tuple[Element, ...]
    axis: Axis
    text: str

    def svg(self) -> str:
        """The picture as an ``<svg>`` element: no scripts, no ids, all text escaped."""
        return svg_of(self.title, (self.width, self.height), self.elements)

    def save(self, path: str | PathLike[str], *, dpi: float = 200.0) -> None:
        """Write the picture to a file; one of that name is replaced.

        Parameters
        ----------
        path
            Ends with ``.svg``, or with ``.png`` or ``.pdf``, which need matplotlib.
        dpi
            Dots per inch of a PNG, from 10 to 2,400.

        Raises
        ------
        InputError
            If the name ends otherwise, or the file cannot be written there.
        MissingExtraError
            If matplotlib is needed and not installed.

        """
        target = file_path(path)
        kind = target.suffix.lower()
        if kind not in _SUFFIXES:
            raise InputError(
                f"path is {str(path)!r:.80}; it must end with {', '.join(_SUFFIXES)}",
                field="path",
                actual=path,
                limit=_SUFFIXES,
            )
        dots = real_number(dpi, "dpi", 10.0, 2400.0)
        figure = None if kind == ".svg" else self.figure()
        try:
            if figure is None:
                target.write_text(self.svg(), encoding="utf-8")
            else:
                figure.savefig(target, dpi=dots)
        except OSError as error:
            raise InputError(f"path: cannot write {target}: {error}", field="path") from error

    def figure(self) -> "Figure":
        """A matplotlib figure of the picture's size, not registered with pyplot.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.

        """
        from qis.picture.painting import figure_of  # noqa: PLC0415  an extra, and slow to import

        figure: Figure = figure_of((self.width, self.height), self.axis, self.elements)
        return figure

    def draw(self, ax: Any) -> None:
        """Draw it into axes of matplotlib, as large as fits there.

        Afterwards x is in data (logarithms for ratios), so that ``ax.axvline(math.log(0.8))`` adds
        a line at 0.8; y is in pixels from the top.

        Raises
        ------
        InputError
            If `ax` is no axes of matplotlib.
        MissingExtraError
            If matplotlib is not installed.

        """
        from qis.picture.painting import paint  # noqa: PLC0415  an extra, and slow to import

        paint(ax, (self.width, self.height), self.axis, self.elements)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Picture of {self.title!r}, {self.width:.0f} × {self.height:.0f}>"

    def _repr_svg_(self) -> str:
        return self.svg()
