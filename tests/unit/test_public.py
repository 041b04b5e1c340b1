"""What `import qis` gives, and what it does not load."""

import re
import subprocess
import sys
from pathlib import Path

import qis

README = Path(__file__).parents[2] / "README.md"


def test_every_listed_name_is_there_and_the_list_is_sorted_and_unique():
    assert len(set(qis.__all__)) == len(qis.__all__)
    for name in qis.__all__:
        assert getattr(qis, name) is not None


def test_every_error_is_public():
    errors = {name for name, value in vars(qis.errors).items() if isinstance(value, type)}
    assert {name for name in errors if issubclass(getattr(qis.errors, name), Exception)} <= set(
        qis.__all__
    )


def test_the_readme_code_prints_what_it_says(capsys):
    text = README.read_text(encoding="utf-8")
    code, output = re.findall(r"```(?:python|text)\n(.*?)```", text, re.DOTALL)[:2]
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  the README is ours
    assert capsys.readouterr().out == output
    assert len(code.splitlines()) <= 12
    assert len(text[: text.index("```python")].splitlines()) <= 20


def test_import_loads_no_network_and_nothing_heavy():
    code = "import sys, qis; print([m for m in sys.argv[1:] if m in sys.modules])"
    names = ["asyncio", "socket", "scipy", "matplotlib", "numpy"]
    result = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
