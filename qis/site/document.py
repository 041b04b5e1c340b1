"""A page for people: sections of words, tables and pictures, as HTML or as plain text.

The HTML is one file that opens offline: no scripts, nothing that is loaded from elsewhere, and a
policy in its head that forbids both. All text is escaped, since much of it comes from strangers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from qis.picture import Picture
from qis.picture.elements import printable

_WIDTH: Final = 96
"""Most characters of a table's cell in plain text."""
_STYLE: Final = """
:root { color-scheme: light; }
body { font: 16px/1.5 Helvetica, Arial, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 64rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { border-bottom: 1px solid #767676; padding-bottom: .2rem; margin-top: 2.5rem; }
a { color: #0645ad; }
a:focus-visible, [tabindex]:focus-visible { outline: 3px solid #0645ad; }
table { border-collapse: collapse; margin: .5rem 0; font-size: .9rem; }
caption { text-align: left; font-weight: bold; padding: .3rem 0; }
th, td { border: 1px solid #767676; padding: .25rem .5rem; text-align: left; vertical-align: top;
  overflow-wrap: break-word; }
@media (max-width: 48rem) { th, td { overflow-wrap: anywhere; } }
th { background: #eee; }
pre { background: #f3f3f3; padding: .5rem; white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: .5rem 0; overflow-x: auto; }
.alarm { border-left: .4rem solid #b00020; padding-left: .6rem; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } nav { display: none; }
  table, figure, pre { break-inside: avoid; } h2, h3 { break-after: avoid; } }
""".strip()


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph; `is_alarm` marks what somebody has to do something about."""

    text: str
    is_alarm: bool = False


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Lines as they are, such as a preview; `label` names them for those who do not see them."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A table with a caption and a row of headings; the first cell of each row names it."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    text: str


Part = Paragraph | Verbatim | Rows | Heading | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under a heading of its own, which the page's contents list."""

    title: str
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Document:
    """A page.

    Parameters
    ----------
    title
        What it is and of whom.
    sections
        In the order in which they are read.

    Examples
    --------
    >>> from qis.site.document import Document, Section, Paragraph
    >>> page = Document("Report", [Section("At a glance", [Paragraph("all is < well")])])
    >>> "all is &lt; well" in page.html()
    True
    >>> print(page.text())
    Report
    ======
    <BLANKLINE>
    At a glance
    -----------
    <BLANKLINE>
    all is < well

    """

    title: str
    sections: Sequence[Section]

    def html(self) -> str:
        """The page as one file of HTML."""
        title = _escaped(self.title)
        contents = "".join(
            f'<li><a href="#s{number}">{_escaped(section.title)}</a></li>'
            for number, section in enumerate(self.sections)
        )
        body = "\n".join(
            f'<section aria-labelledby="s{number}">\n<h2 id="s{number}">{_escaped(section.title)}'
            f"</h2>\n{chr(10).join(map(_html_of, section.parts))}\n</section>"
            for number, section in enumerate(self.sections)
        )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'\">\n"
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
            f'<header><h1>{title}</h1></header>\n<nav aria-label="Contents"><ul>{contents}</ul>'
            f"</nav>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
        )

    def text(self) -> str:
        """The page as plain text, for terminals and mails."""
        return "\n".join(_stripped(self._lines())).rstrip()

    def _lines(self) -> Iterator[str]:
        yield from _under(self.title, "=")
        for section in self.sections:
            yield from ("", *_under(section.title, "-"))
            for part in section.parts:
                yield from ("", *_lines_of(part))


def _stripped(lines: Iterable[str]) -> Iterator[str]:
    return (printable(line).rstrip() for line in lines)


def _escaped(text: str) -> str:
    return escape(printable(text), quote=True)


def _html_of(part: Part) -> str:
    match part:
        case Paragraph():
            alarm = ' class="alarm"' if part.is_alarm else ""
            return f"<p{alarm}>{_escaped(part.text)}</p>"
        case Verbatim():
            lines = "\n".join(map(_escaped, part.text.splitlines()))
            # A region that scrolls has to be reachable by keyboard, and named.
            return (
                f'<pre tabindex="0" role="region" aria-label="{_escaped(part.label)}">{lines}</pre>'
            )
        case Heading():
            return f"<h3>{_escaped(part.text)}</h3>"
        case Rows():
            return _table(part)
        case Picture():
            label = _escaped(part.title)
            return (
                f'<figure tabindex="0" role="region" aria-label="{label}">{part.svg()}</figure>'
                f"<details><summary>The same in letters</summary><pre>"
                f"{chr(10).join(map(_escaped, part.text.splitlines()))}</pre></details>"
            )


def _table(table: Rows) -> str:
    head = "".join(f'<th scope="col">{_escaped(each)}</th>' for each in table.headings)
    body = "\n".join(
        f'<tr><th scope="row">{_escaped(first)}</th>'
        f"{''.join(f'<td>{_escaped(cell)}</td>' for cell in others)}</tr>"
        for first, *others in table.rows
    )
    return (
        f"<table><caption>{_escaped(table.caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{body}\n</tbody></table>"
    )


def _lines_of(part: Part) -> Iterator[str]:
    match part:
        case Paragraph():
            yield f"! {part.text}" if part.is_alarm else part.text
        case Verbatim():
            yield from (f"    {line}" for line in part.text.splitlines())
        case Heading():
            yield from _under(part.text, "~")
        case Rows():
            yield f"{part.caption}:"
            if len(part.headings) == 2:
                yield from (f"  {name}: {value}" for name, value in part.rows)
                return
            for first, *others in part.rows:
                yield f"  {first}"
                for name, cell in zip(part.headings[1:], others, strict=True):
                    yield f"    {name}: {cell if len(cell) <= _WIDTH else cell[: _WIDTH - 1] + '…'}"
        case Picture():
            yield from part.text.splitlines()


def _under(title: str, mark: str) -> tuple[str, str]:
    return title, mark * len(title)
