"""Files are whole or not there, nothing outside the folder is written, and one process has a folder to itself."""

import os
import subprocess
import sys

import pytest

from thetadot.core.files import Claim, open_plain, place_text, placed, put_text, sealed, unsealed
from thetadot.errors import DamagedFile, RunFolderError
from thetadot.records import Writer


def write_text(place):
    place_text(place, "new")


def write_sealed(place):
    with sealed(place) as stream:
        stream.write(b"new")


@pytest.mark.parametrize("write", [write_text, write_sealed])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_at_the_place_is_replaced_and_not_followed(tmp_path, write, link):
    outside, folder = tmp_path / "outside", tmp_path / "run"
    folder.mkdir()
    outside.write_text("precious")
    link(outside, folder / "file")
    write(folder / "file")
    assert outside.read_text() == "precious"
    assert not (folder / "file").is_symlink()
    assert (folder / "file").read_bytes().startswith(b"new")
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_links_under_names_of_half_written_files_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".checkpoint.part", ".file.abcdefgh.part", f".writable-{os.getpid()}"):
        (folder / name).symlink_to(outside)
    place_text(folder / "file", "new")
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_record_that_is_a_link_is_refused(tmp_path, link):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    link(outside, tmp_path / "record.jsonl")
    with pytest.raises(RunFolderError, match=r"cannot be written \(it is (a link|a second name)"):
        Writer(tmp_path / "record.jsonl")
    assert outside.read_text() == "precious"


def test_neither_is_a_pipe_waited_for(tmp_path):
    os.mkfifo(tmp_path / "record.jsonl")
    with pytest.raises(OSError, match="no ordinary file"):
        open_plain(tmp_path / "record.jsonl")


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "real")
    place_text(tmp_path / "run" / "file", "new")
    with Writer(tmp_path / "run" / "record.jsonl"), Claim(tmp_path / "run"):
        pass
    assert (tmp_path / "real" / "file").read_text() == "new"


def test_a_body_that_raises_leaves_the_old_file_and_no_other(tmp_path):
    place_text(tmp_path / "file", "old")
    with pytest.raises(TypeError), placed(tmp_path / "file") as stream:
        stream.write("no bytes")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_device_that_a_user_names_is_written_to_and_stays(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    put_text(tmp_path / "null", "text")
    assert (tmp_path / "null").is_symlink()


KILLED = """
import os, pathlib, sys
from thetadot.core.files import Claim, placed
claim = Claim(pathlib.Path(sys.argv[1]))
with placed(pathlib.Path(sys.argv[1]) / "report.html") as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_taken_away_by_the_next(tmp_path):
    (tmp_path / ".checkpoint.part").touch()
    (tmp_path / ".mine.abcdefgh.part").touch()  # not one of ours
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert len(list(tmp_path.iterdir())) == 2  # its own start took the first away
    with Claim(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".mine.abcdefgh.part"]


def test_a_folder_has_one_process_until_it_ends_or_lets_go(tmp_path):
    with Claim(tmp_path), pytest.raises(RunFolderError, match=r"is in use by another process\. Wait until it ends"):
        Claim(tmp_path)
    Claim(tmp_path).close()


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_child_does_not_hold_the_folder(tmp_path):
    claim = Claim(tmp_path)
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    with pytest.raises(RunFolderError, match="is in use"):
        Claim(tmp_path)
    claim.close()
    assert os.waitpid(child, os.WNOHANG) == (0, 0)  # the child lives
    with Claim(tmp_path), pytest.raises(RunFolderError, match="is in use"):
        Claim(tmp_path)
    os.write(go[1], b"x")
    os.waitpid(child, 0)


@pytest.mark.parametrize("content", [b"", b"x", bytes(3_000_000)])
def test_a_sealed_file_comes_back_and_any_damage_is_seen(tmp_path, content):
    place = tmp_path / "file"
    with sealed(place) as stream:
        stream.write(content)
    with unsealed(place, "Begin anew.") as stream:
        assert stream.read() == content
    whole = place.read_bytes()
    for damaged in (whole + b"x", whole[:-1], b"x" + whole, bytes([whole[0] ^ 1]) + whole[1:], b"", whole[:-20]):
        place.write_bytes(damaged)
        with pytest.raises(DamagedFile, match=r"Begin anew\.$"), unsealed(place, "Begin anew."):
            pass
