"""What a command says while it works: nothing at first, then a changing line, or lines in a log."""

import io
import json

import pytest

from qis.command import main, progress
from qis.command.progress import BEGINS_S, IN_LOG_S, ProgressLine
from tests._builders import site_folders


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_what_is_quick_says_nothing(stream):
    stream, clock = stream(), Clock()
    shown = ProgressLine(stream, clock)
    for done in range(100):
        clock.now = BEGINS_S * done / 101
        shown(done, 100, "files read")
    shown.end()
    assert stream.getvalue() == ""


def test_a_log_gets_a_line_now_and_then():
    stream, clock = io.StringIO(), Clock()
    shown = ProgressLine(stream, clock)
    for done in range(1_000):
        clock.now = done / 10
        shown(done, 1_000, "files read")
    shown.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + int((100.0 - BEGINS_S) / IN_LOG_S)
    assert lines[0] == "files read: 10 of 1,000"
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_changes_and_is_left_empty():
    stream, clock = Terminal(), Clock()
    shown = ProgressLine(stream, clock)
    for done in range(101):
        clock.now = done
        shown(done, 100, "nodes join")
    shown.end()
    said = stream.getvalue()
    assert "\n" not in said
    assert "[############............] nodes join: 50 of 100" in said
    assert said.endswith("\r\x1b[K")


def test_a_reader_that_has_gone_stops_nothing():
    stream, clock = io.StringIO(), Clock()
    shown = ProgressLine(stream, clock)
    stream.close()
    clock.now = 2 * BEGINS_S
    shown(1, 2, "nodes join")
    shown.end()


def test_commands_show_it_beside_their_answer(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "BEGINS_S", -1.0)
    monkeypatch.setattr(progress, "IN_TERMINAL_S", 0.0)
    (home,) = site_folders(tmp_path, "north")
    for words, said in (
        (["simulate", "--nodes", "20", "--packets", "2"], "nodes subscribe: 20 of 20"),
        (["site", "run", str(home / "site.toml"), "--quiet", "0.1"], "to be delivered: 0"),
    ):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        assert main([*words, "--json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), dict)
        assert said in terminal.getvalue()
        assert terminal.getvalue().endswith("\r\x1b[K")
