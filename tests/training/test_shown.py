"""What a run in Python shows: progress where somebody sees it, and a result that is a few lines."""

import sys
import types

import pytest
from comparing import tasks

import thetadot
from thetadot import report
from thetadot.core.formatting import plain


def trained(tmp_path, **given):
    settings = {"epochs": 2, "threads": 1, "out": tmp_path / "run", "page": False} | given
    return thetadot.run(tasks.tested, **settings)


class Terminal:
    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize(
    ("where", "given", "seen"),
    [
        ("log", {}, False),
        ("log", {"progress": True}, True),
        ("notebook", {}, True),
        ("notebook", {"progress": False}, False),
        ("notebook", {"show": lambda _: None}, False),
    ],
)
def test_progress_is_shown_where_somebody_sees_it(tmp_path, monkeypatch, capsys, where, given, seen):
    if where == "notebook":
        monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    trained(tmp_path, **given)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("epoch 2/2: train" in captured.err) == seen
    assert bool(captured.err) == seen


@pytest.mark.parametrize(("progress", "seen"), [(None, True), (False, False)])
def test_a_terminal_has_a_bar(tmp_path, monkeypatch, progress, seen):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    trained(tmp_path, progress=progress)
    assert ("training" in terminal.text) == seen


def test_showing_changes_no_number(tmp_path):
    one = trained(tmp_path, out=tmp_path / "one", progress=True).record.result
    other = trained(tmp_path, out=tmp_path / "other", progress=False).record.result
    assert (one.valid_loss, one.test_loss, one.cost) == (other.valid_loss, other.test_loss, other.cost)


def test_a_result_is_a_few_lines_of_what_came_of_it(tmp_path):
    result = trained(tmp_path, name="<b>mine</b>")
    closing, text = result.record.result, repr(result)
    assert len(text) < 1000
    assert "tensor" not in text
    for value in (closing.valid_loss, closing.test_loss):
        assert plain(value, 4) in text
    assert str(tmp_path / "run") in text
    assert "<b>" in text
    assert "<b>" not in result._repr_html_()
    assert result._repr_html_().count("<tr>") == len(text.splitlines())


def test_a_run_that_is_not_finished_says_so(tmp_path):
    def stop(entry):
        if type(entry).__name__ == "Epoch" and entry.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, show=stop, epochs=30)
    assert "not finished" in repr(thetadot.load(tmp_path / "run", tasks.tested))


def test_a_run_without_a_page_can_have_one_later(tmp_path):
    result = trained(tmp_path)
    assert result.unwritten is None
    assert not (tmp_path / "run" / "report.html").exists()
    report.write(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
