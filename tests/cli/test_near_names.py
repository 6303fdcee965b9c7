"""A mistyped name is answered by the one that was meant, of commands, options and tasks alike."""

import io

import pytest

from thetadot.cli import COMMANDS, main
from thetadot.core.terminal import console


def said(capsys, *arguments):
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["runn"], "run"),
        (["simulte"], "simulate"),
        (["run", "--ephocs", "3"], "--epochs"),
        (["report", "x", "--tilte=a"], "--title"),
        (
            ["convert", "--lr", "1", "--momentum", "0", "--batch-size", "1", "--to-lr", "1", "--shaprness", "1"],
            "--sharpness",
        ),
        (["run", "digit"], "digits"),
        (["compare", "digit", "--runs", "untuned"], "digits"),
        (["simulate", "dirac_gna"], "dirac-gan"),
        (["export", "x", "--csv", "-", "--kind", "lossse"], "losses"),
    ],
)
def test_a_near_name_is_asked_for(capsys, arguments, meant):
    assert f"; did you mean '{meant}'?" in said(capsys, *arguments)


@pytest.mark.parametrize("arguments", [["zzzz"], ["run", "--zzzz"], ["run", "zzzz"]])
def test_a_far_name_is_not_answered_by_a_guess(capsys, arguments):
    assert "did you mean" not in said(capsys, *arguments)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command_and_its_options(capsys, shell):
    assert main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command.NAME in script for command in COMMANDS)
    assert all(option in script for option in ("annealing", "sharpness", "tensorboard"))


def test_no_color_is_respected(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    shown = []
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        stream = Terminal()
        console(stream).print("[red]x[/red]")
        shown.append(stream.getvalue())
    assert "\x1b[31m" in shown[0]
    assert "\x1b[31m" not in shown[1]
