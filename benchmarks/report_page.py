"""The report of a site in a real browser: what axe-core finds, and a picture to look at.

    python benchmarks/report_page.py --axe node_modules/axe-core/axe.min.js --json

Needs Chromium (of the system) and axe-core (``npm install axe-core``), which no extra brings;
tests/unit/test_report.py checks without them what can be checked of the page alone.
"""

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

import qis  # noqa: E402
import qis.blocking  # noqa: E402
from benchmarks._doctor_cases import ABOUT, make  # noqa: E402  found by the line above

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SCRIPT = """
axe.run(document).then(found => {
  const said = document.createElement("pre");
  said.id = "said";
  said.textContent = JSON.stringify(found.violations.map(each => [each.impact, each.id]));
  document.body.append(said);
});
"""


def report(home: Path) -> Path:
    """The report of a site of which something waits, something left, and something is refused."""
    make(home)
    with qis.blocking.open_site(home / "site.toml") as site:
        study = qis.Study.load(home / "study.toml")
        effect = {"measure": "OR", "estimate": 0.1234, "standard_error": 0.21, "n": 900}
        site.publish(qis.Effect(study=study, **effect), about=ABOUT)
        site.release(site.waiting()[0].id, approver="Dr Grey")
        site.publish(qis.Effect(question="<b> & 'c'", **effect), about=ABOUT)
        for _ in site.syntheses(timeout_s=2.0):
            pass
        site.report(home / "report.html")
    return home / "report.html"


def violations(page: Path, axe: Path, browser: str) -> list[tuple[str, str]]:
    """What axe finds in a page: how bad each is, and which rule."""
    text = page.read_text("utf-8")
    # The page forbids every script; the copy that is looked at has this one.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    script = f"<script>{axe.read_text('utf-8')}</script><script>{_SCRIPT}</script>"
    copy = page.with_name("copy.html")
    copy.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    said = subprocess.run(  # noqa: S603  the system's browser
        [*_headless(browser, page.parent), "--virtual-time-budget=20000", "--dump-dom", str(copy)],
        capture_output=True,
        check=True,
        timeout=120,
        text=True,
    ).stdout
    found = re.search(r'<pre id="said">(.*?)</pre>', said, re.DOTALL)
    if found is None:
        raise SystemExit("axe has not answered")
    return [tuple(each) for each in json.loads(html.unescape(found[1]))]


def _headless(browser: str, folder: Path) -> list[str]:
    return [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]


def main() -> None:
    """Make the report, let axe look at it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--axe", type=Path, required=True, help="axe.min.js")
    parser.add_argument("--picture", type=Path, help="PNG of the page, to be looked at")
    parser.add_argument("--json", action="store_true", help="print figures as one line of JSON")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(_BROWSERS)} is installed")
    with tempfile.TemporaryDirectory() as folder:
        page = report(Path(folder))
        found = violations(page, options.axe, browser)
        # A search that finds nothing has to be seen to find something.
        spoilt = Path(folder) / "spoilt.html"
        spoilt.write_text(page.read_text("utf-8").replace(' lang="en"', ""), encoding="utf-8")
        if ("serious", "html-has-lang") not in violations(spoilt, options.axe, browser):
            raise SystemExit("axe does not see that a page has no language")
        if options.picture:
            picture = [f"--screenshot={options.picture.resolve()}", "--window-size=1000,2600"]
            subprocess.run(  # noqa: S603
                [*_headless(browser, Path(folder)), *picture, str(page)],
                check=True,
                capture_output=True,
                timeout=120,
            )
    for impact, rule in found:
        print(f"{impact}: {rule}")
    serious = sum(impact in {"serious", "critical"} for impact, _ in found)
    figures = {"report_axe_serious": serious, "report_axe_violations": len(found)}
    print(json.dumps(figures) if options.json else figures)


if __name__ == "__main__":
    main()
