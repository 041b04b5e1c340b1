"""Each check of .ci/run as a session of its own: `nox -l` lists them, `nox -s lint` runs one."""

import nox

nox.options.sessions = ["lint", "types", "layers", "unit"]
nox.options.default_venv_backend = "venv"

PYTHONS = ["3.11", "3.12", "3.13"]


def _run(session: nox.Session, *command: str, extra: str = "dev") -> None:
    """Install the checkout with an extra, then run a command with the arguments after `--`."""
    session.install("-e", f".[{extra}]")
    session.run(*command, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, all rules, and its formatting."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    _run(session, "mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """The import contracts of pyproject.toml."""
    _run(session, "lint-imports")


@nox.session(python=PYTHONS)
def unit(session: nox.Session) -> None:
    """The unit tests; a file or a test can be named after `--`."""
    _run(
        session, "pytest", "-n", "auto", *([] if session.posargs else ["tests/unit"]), extra="test"
    )


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, as the README's command runs them."""
    _run(session, "pytest", "-n", "auto", extra="test")


@nox.session
def fresh(session: nox.Session) -> None:
    """The property tests with examples that were never drawn before."""
    _run(
        session,
        "pytest",
        "-n",
        "auto",
        "--hypothesis-profile=fresh",
        "tests/property",
        extra="test",
    )


@nox.session
def coverage(session: nox.Session) -> None:
    """Branch coverage of the unit and property tests, never under the figure in pyproject.toml."""
    session.install("-e", ".[test]")
    paths = session.posargs or ["tests/unit", "tests/property"]
    session.run("coverage", "run", "-m", "pytest", "-q", "--hypothesis-profile=mutants", *paths)
    session.run("coverage", "report")


@nox.session
def docs(session: nox.Session) -> None:
    """The Python in the docs, page by page."""
    _run(session, "pytest", "docs", extra="test")


@nox.session
def interop(session: nox.Session) -> None:
    """COSE libraries that are not ours read and make packets; needs Node 20.11 or newer."""
    _run(session, "python", "tests/interop/run.py")


@nox.session
def build(session: nox.Session) -> None:
    """Wheel and sdist, into the session's temporary folder."""
    _run(session, "python", "-m", "build", "--outdir", session.create_tmp())
