"""``thetadot report``: one sentence for what is wrong, and what can be read is shown."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys

import pytest

from thetadot.cli import main
from thetadot.records import SCHEMA, UNITS, VERSION, Choice, End, Header, Motion, Watched, Writer

HOSTILE = "<img src=x onerror=alert(1)>"


def record(folder, task="task"):
    folder.mkdir(parents=True)
    watched = Watched(optimizer="SGD", level="default", reference="")
    head = Header(SCHEMA, VERSION, task, 0, 10, None, None, None, "cpu", 1, {}, dict(UNITS), watched=watched)
    with Writer(folder / "record.jsonl") as writer:
        writer.write(head)
        writer.write(Choice("lr", 0.1, "--lr", "given"))
        for step in range(5):
            writer.write(Motion(step, None, 2.0 - 0.1 * step, 0.1, 0.9, 8, 0.3, 0.4, None, 0.3, 1e-3, None, None, 8.0))
        writer.write(End(5, "closed", 1.0, 40.0))
    return folder


def refused(capsys, *arguments):
    assert main(["report", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    lines = said.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("thetadot: ")
    assert said.out == ""
    return lines[0]


def test_one_run_is_written_beside_its_record(tmp_path, capsys):
    folder = record(tmp_path / "a")
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert "SGD was watched over 5 steps" in (folder / "report.html").read_text("utf-8")
    assert main(["report", str(folder / "record.jsonl"), "--title", "My <title>"]) == 0
    assert "<title>My &lt;title&gt; · thetadot</title>" in (folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize("options", [[], ["--serve"]])
def test_a_folder_without_a_record_is_told_from_one_that_is_not_there(tmp_path, capsys, options):
    """Of a folder of runs the runs are named."""
    assert "No such file" in refused(capsys, tmp_path / "nowhere", *options)
    (tmp_path / "empty").mkdir()
    said = refused(capsys, tmp_path / "empty", *options)
    assert said == f"thetadot: the folder {tmp_path / 'empty'} has no record.jsonl. Pass the folder of a run."
    record(tmp_path / "runs" / "a")
    said = refused(capsys, tmp_path / "runs", *options)
    assert f"such as {tmp_path / 'runs' / 'a'}." in said


def test_too_many_runs_are_not_called_a_file_that_cannot_be_written(tmp_path, capsys):
    said = refused(capsys, *[record(tmp_path / "a")] * 21)
    assert said == (
        "thetadot: 21 runs are not between 1 and 20, as many as colours and line styles tell apart. Name fewer runs."
    )


def test_an_address_that_is_none_is_not_blamed_on_the_port(tmp_path, capsys):
    said = refused(capsys, record(tmp_path / "a"), "--serve", "--host", "203.0.113.7")
    assert "Pass an address of this machine with --host" in said
    assert "--port" not in said


def test_several_runs_are_written_here(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [str(record(tmp_path / name)) for name in "abc"]
    assert main(["report", *folders]) == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert re.findall(r'data-name="([^"]*)"', page) == ["task · a", "task · b", "task · c"]
    assert main(["report", *folders, "--out", "other.html"]) == 0
    assert capsys.readouterr().out.split() == ["report.html", "other.html"]


def test_a_bad_one_among_several_is_named_and_the_others_are_shown(tmp_path, capsys):
    good = record(tmp_path / "good")
    (tmp_path / HOSTILE).mkdir()
    (tmp_path / HOSTILE / "record.jsonl").write_text("nothing of ours\n")
    assert main(["report", str(good), str(tmp_path / HOSTILE), "--out", str(tmp_path / "page.html")]) == 0
    assert "does not begin with" in capsys.readouterr().err
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "One record could not be read" in page
    assert "<img" not in page.split("<script")[0]
    assert "SGD was watched" in page


def test_damaged_lines_are_said_and_a_torn_end_is_not_damage(tmp_path, capsys):
    folder = record(tmp_path / "a")
    with (folder / "record.jsonl").open("ab") as file:
        file.write(b'{"kind":"motion"}\n{"kind":"motion","step":')
    assert main(["report", str(folder)]) == 0
    assert "1 damaged line was left out" in capsys.readouterr().err
    page = (folder / "report.html").read_text("utf-8")
    assert "line 9:" in page
    assert "line 10:" not in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "8000"], "Add --serve"),
        (["--host", "0.0.0.0"], "Add --serve"),
        (["--serve", "--out", "x.html"], "exclude each other"),
        (["--serve", "--port", "70000"], "port=70000 is outside"),
        (["--serve", "--port", "-1"], "port=-1 is outside"),
        (["--serve", "--host", "203.0.113.7"], "cannot serve on 203.0.113.7"),
        (["--serve", "--port", "many"], "invalid int value"),
        (["--out", "absent/folder/page.html"], "cannot be written"),
    ],
)
def test_wrong_options(tmp_path, capsys, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, record(tmp_path / "a"), *options)


def test_wrong_runs(tmp_path, capsys):
    assert "Pass the folder of a run" in refused(capsys, tmp_path / "nowhere")
    assert "Pass the folder of a run" in refused(capsys, tmp_path)
    assert "Pass the folder of a run" in refused(capsys, "nul\0l")
    assert "required" in refused(capsys)


def test_of_a_simulation_it_says_where_its_page_is(tmp_path, capsys):
    folder = tmp_path / "a b"
    assert main(["simulate", "dirac-gan", "--time", "1", "--out", str(folder)]) == 0
    capsys.readouterr()
    for options in ([], ["--serve"]):
        said = refused(capsys, folder, *options)
        assert said.endswith(f"holds a simulation, not a run. Its page is {folder / 'report.html'}.")
    assert "holds a simulation" in refused(capsys, record(tmp_path / "run"), folder, "--out", tmp_path / "page.html")
    (folder / "report.html").unlink()
    assert refused(capsys, folder).endswith(f"Draw its page with: thetadot simulate --resume '{folder}'")


def test_a_record_is_not_overwritten_by_its_page(tmp_path, capsys):
    folder = record(tmp_path / "a")
    before = (folder / "record.jsonl").read_bytes()
    assert "one of the records" in refused(capsys, folder, "--out", folder / "record.jsonl")
    assert (folder / "record.jsonl").read_bytes() == before


def test_more_runs_than_can_be_told_apart_are_refused(tmp_path, capsys):
    folder = record(tmp_path / "a")
    assert "21 runs are not between 1 and 20" in refused(capsys, *[folder] * 21, "--out", tmp_path / "page.html")


def test_serving_says_where_and_ends_with_an_interrupt(tmp_path):
    folder = record(tmp_path / "a")
    process = subprocess.Popen(
        [sys.executable, "-m", "thetadot", "report", str(folder), "--serve"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None
    assert re.match(r"http://127\.0\.0\.1:\d+/ ", process.stdout.readline())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert err == ""
    assert "Traceback" not in out


def test_an_interrupt_right_after_the_address_ends_it_as_well(tmp_path, monkeypatch):
    class Hasty(io.StringIO):
        def flush(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdout", Hasty())
    assert main(["report", str(record(tmp_path / "a")), "--serve"]) == 0


def test_the_command_needs_no_torch(tmp_path):
    folder = record(tmp_path / "a")
    code = f"import sys, thetadot.cli; thetadot.cli.main(['report', {str(folder)!r}]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
