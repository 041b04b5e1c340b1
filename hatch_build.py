"""The long description of the package: README.md without the files that lie beside it.

A package index shows the text alone, so there a link to a page of the repository leads nowhere.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!#|[a-z]+:)([^)]*)\)")


def long_description(readme: str, pages: str = "") -> str:
    """Make links to files absolute; where they have no address, name the file in the sdist."""

    def seen(link: re.Match[str]) -> str:
        mark, text, path = link.groups()
        if pages:
            return f"{mark}[{text}]({pages.rstrip('/')}/{path})"
        return f"{text} (`{path}`)"

    # Code is shown as it is: every second part is a block of it.
    parts = re.split(r"(^```.*?^```$)", readme, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = (_LINK.sub(seen, part) for part in parts[::2])
    return "".join(parts)


class LongDescription(MetadataHookInterface):
    """Gives hatchling the readme; `pages` is the address under which the files are to be seen."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme."""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = long_description(readme, self.config.get("pages", ""))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
