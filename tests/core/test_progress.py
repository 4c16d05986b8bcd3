"""Reporters: silent by default, plain lines into a pipe, bars on a terminal."""

import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from groundup.core.progress import QUIET, SaidOnce, Terminal, _Remaining


def spoken(is_terminal):
    out = io.StringIO()
    terminal = Terminal(Console(file=out, force_terminal=is_terminal, highlight=False, soft_wrap=True, width=80))
    terminal.say("found [bold]12[/bold] files")
    terminal.warn("two are empty")
    with terminal.bar("training", total=4, unit="steps") as bar:
        bar.advance(2, info="loss [1.5]")
        bar.set(4, info="done")
        time.sleep(0.12)
    return out.getvalue()


def test_quiet_says_nothing(capsys):
    QUIET.say("x")
    QUIET.warn("x")
    with QUIET.bar("x", total=3) as bar:
        bar.advance()
        bar.set(2, info="x", total=4)
    assert capsys.readouterr() == ("", "")


def test_what_was_said_is_not_said_again():
    out = io.StringIO()
    once = SaidOnce(Terminal(Console(file=out, highlight=False)))
    for _ in range(2):
        once.say("two files")
        once.warn("two files")
        with once.bar("reading", total=2) as bar:
            bar.advance()
        once.say("three files")
    assert out.getvalue() == "two files\nnote: two files\nthree files\n"


def test_a_pipe_gets_the_lines_only_and_markup_is_not_read():
    assert spoken(False) == "found [bold]12[/bold] files\nnote: two are empty\n"


def test_a_terminal_gets_the_bar():
    text = spoken(True)
    assert "training" in text
    assert "100%" in text
    assert "done" in text


@pytest.mark.parametrize(
    ("completed", "total", "elapsed", "text"),
    [(25, 100, 20, "01:00 left"), (1, 101, 72, "2:00:00 left"), (0, 10, 5, "--:-- left"), (10, 10, 5, "00:00 left")],
)
def test_time_left_is_the_average_speed_of_all_so_far(completed, total, elapsed, text):
    task = SimpleNamespace(total=total, completed=completed, elapsed=elapsed, fields={"begun": 0})
    assert _Remaining().render(task).plain == text


def test_what_an_earlier_session_did_took_none_of_this_ones_time():
    task = SimpleNamespace(total=100, completed=75, elapsed=50, fields={"begun": 50})
    assert str(_Remaining().render(task)) == "00:50 left"
