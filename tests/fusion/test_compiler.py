"""The compiler and its cache: what is compiled is said and kept; what others could have written is not loaded."""

import errno
import logging
import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from thetadot.fusion import compiler
from thetadot.fusion.program import CannotCompile
from thetadot.optim import Adam, HeavyBall, Kramers

STEP = """
import logging, torch
logging.basicConfig(level=logging.INFO, format="%(name)s:%(message)s")
from thetadot.optim import HeavyBall
p = torch.ones(10, requires_grad=True)
optimizer = HeavyBall([p], lr=0.5, compile={compile!r})
p.grad = torch.ones(10)
optimizer.step()
print("position", p[0].item())
"""


def process(compile, **environment):  # noqa: A002
    """One step in a new process."""
    return subprocess.run(
        [sys.executable, "-c", STEP.format(compile=compile)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def one_step(make=HeavyBall, *, shapes=((10,),), **options):
    params = [torch.ones(shape, requires_grad=True) for shape in shapes]
    optimizer = make(params, lr=0.5, **options)
    step(optimizer, params)
    return optimizer, params


def step(optimizer, params):
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()


def compilations(caplog):
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("compiled")]


# What is compiled, and when.


def test_a_compilation_is_said_once_with_its_rule_and_its_time(new_process, caplog):
    with caplog.at_level(logging.INFO, "thetadot"):
        optimizer, params = one_step(compile=True)
        step(optimizer, params)
    (message,) = compilations(caplog)
    assert message.startswith("compiled Leapfrog for float32 in ")
    assert not message.endswith("(found in the cache)")


def test_numbers_and_shapes_that_move_compile_nothing(new_process, caplog):
    makes = {HeavyBall: {}, Adam: {}, Kramers: {"temperature": 0.1}}
    with caplog.at_level(logging.INFO, "thetadot"):
        for make, options in makes.items():
            optimizer, params = one_step(make, compile=True, weight_decay=0.1, averaging=0.9, **options)
            step(optimizer, params)
            before = len(compilations(caplog))
            (group,) = optimizer.param_groups
            moving = {"lr": 0.1, "momentum": 0.5, "betas": (0.5, 0.6), "temperature": 0.2, "eps": 1e-3}
            moving |= {"weight_decay": 0.2, "averaging": 0.5}
            for name in moving.keys() & group.keys():
                group[name] = moving[name]
                step(optimizer, params)
            for shapes in ((), ((3, 4), (), (0,), (70_000,))):
                more, others = one_step(
                    make, compile=True, shapes=shapes or ((1,),), weight_decay=0.3, averaging=0.1, **options
                )
                step(more, others)
            assert len(compilations(caplog)) == before, make


def test_what_is_structure_compiles_anew(new_process, caplog):
    with caplog.at_level(logging.INFO, "thetadot"):
        optimizer, params = one_step(compile=True)
        counts = [len(compilations(caplog))]
        for change in ({"maximize": True}, {"weight_decay": 0.1}, {"weight_decay_mode": "l2"}, {"maximize": False}):
            optimizer.param_groups[0].update(change)
            step(optimizer, params)
            counts.append(len(compilations(caplog)))
    assert counts == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_second_process_finds_what_the_first_has_compiled(new_process, caplog):
    with caplog.at_level(logging.INFO, "thetadot"):
        one_step(compile=True)
    (library,) = new_process.glob("*.so")
    made = library.stat().st_mtime_ns
    other = process(compile=True, THETADOT_CACHE=str(new_process))
    assert "(found in the cache)" in other.stderr, other.stderr
    assert "position 0.5" in other.stdout
    assert [*new_process.iterdir()] == [library]
    assert library.stat().st_mtime_ns == made


# Without a compiler.


def absent(monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    return "CXX='/nowhere/c++' is not there"


def broken(monkeypatch):
    monkeypatch.setenv("CXX", "false")
    return "false refused a kernel"


def not_executable(monkeypatch):
    """Found on the path, and not a program."""
    folder = Path(os.environ["THETADOT_CACHE"]).parent / "bin"
    folder.mkdir()
    tool = folder / "nonsense++"
    tool.write_bytes(b"\x7fELF nonsense")
    tool.chmod(0o755)
    monkeypatch.setenv("CXX", str(tool))
    return "did not run"


def without_output(monkeypatch):
    """It says that all went well, and wrote nothing."""
    monkeypatch.setenv("CXX", "true")
    return "true wrote no library"


def open_quote(monkeypatch):
    monkeypatch.setenv("CXX", 'g++ "')
    return "is no command (No closing quotation)"


def nonsense(monkeypatch):
    """Runs, and compiles nothing."""
    monkeypatch.setenv("CXX", "echo $(c++) ; |")
    return "echo wrote no library"


def a_folder(monkeypatch):
    monkeypatch.setenv("CXX", str(Path(os.environ["THETADOT_CACHE"]).parent))
    return "is not there"


MISSING = (absent, broken, not_executable, without_output, open_quote, nonsense, a_folder)


@pytest.mark.parametrize("missing", MISSING)
def test_auto_then_steps_in_torchs_operations_and_says_so_once(new_process, monkeypatch, caplog, missing):
    reason = missing(monkeypatch)
    with caplog.at_level(logging.INFO, "thetadot"):
        optimizer, params = one_step(compile="auto")
        step(optimizer, params)
        one_step(compile="auto")
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith("steps are not compiled, and run block by block in torch's operations: ")
    assert reason in record.getMessage()
    assert "\n" not in record.getMessage()
    assert params[0].tolist() == pytest.approx([1 - 0.5 - 0.95] * 10)


@pytest.mark.parametrize("missing", MISSING)
def test_true_is_then_an_error_that_says_what_to_do_and_nothing_has_moved(new_process, monkeypatch, missing):
    reason = missing(monkeypatch)
    p = torch.ones(10, requires_grad=True)
    optimizer = HeavyBall([p], lr=0.5, compile=True)
    optimizer.init_state()
    p.grad = torch.ones(10)
    for _ in range(2):
        with pytest.raises(CannotCompile, match=rf"{re.escape(reason)}.*([Ss]et \$CXX), or pass compile=False\."):
            optimizer.step()
    assert torch.equal(p, torch.ones(10))
    assert torch.equal(optimizer.state[p]["velocity"], torch.zeros(10))
    assert optimizer.steps == 0


def test_compile_false_asks_for_no_compiler(new_process, monkeypatch, caplog):
    absent(monkeypatch)
    with caplog.at_level(logging.INFO, "thetadot"):
        one_step(compile=False)
    assert not caplog.records
    assert not new_process.exists()


def test_flags_in_cxx_are_passed_on(new_process, monkeypatch):
    found = compiler.compiler()
    if found is None:
        pytest.skip("no compiler")
    monkeypatch.setenv("CXX", f"{found[0]} -DNOTHING=1")
    compiler.compiler.cache_clear()
    assert compiler.compiler() == (found[0], "-DNOTHING=1")
    one_step(compile=True)
    assert len([*new_process.glob("*.so")]) == 1


# The cache.


def private():
    """The folder is not the one that was asked for, and nobody else's."""
    folder = compiler._cache_folder()
    assert str(folder) != os.environ["THETADOT_CACHE"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    return folder


def test_the_folder_is_the_owners_alone(new_process):
    umask = os.umask(0)
    try:
        one_step(compile=True)
    finally:
        os.umask(umask)
    assert compiler._cache_folder() == new_process
    assert stat.S_IMODE(new_process.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_can_write_to_is_not_used(new_process, mode):
    new_process.mkdir()
    new_process.chmod(mode)
    one_step(compile=True)
    assert [*private().glob("*.so")]
    assert not [*new_process.iterdir()]


def test_a_folder_that_cannot_be_made_is_replaced_by_a_private_one(new_process):
    new_process.write_text("a file stands here")
    _, (p,) = one_step(compile=True)
    assert [*private().glob("*.so")]
    assert p[0] == 0.5


def test_without_a_home_the_folder_is_private(new_process, monkeypatch):
    monkeypatch.delenv("THETADOT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    folder = compiler._cache_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "nowhere" not in str(folder)


def test_the_users_cache_folder_is_honoured(new_process, monkeypatch, tmp_path):
    monkeypatch.delenv("THETADOT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert compiler._cache_folder() == tmp_path / "xdg" / "thetadot"


# A folder that is of no use is said once, and steps are compiled all the same.


def not_a_folder(folder, monkeypatch):
    folder.write_text("a file stands here")
    return "File exists"


def open_to_others(folder, monkeypatch):
    folder.mkdir()
    folder.chmod(0o777)
    return "others can write to it"


def write_protected(folder, monkeypatch):
    """As on a disk that is mounted to be read only, which root cannot write to either."""
    folder.mkdir(mode=0o700)
    access = os.access
    monkeypatch.setattr(compiler.os, "access", lambda path, mode: path != folder and access(path, mode))
    return "it cannot be written to"


def full(folder, monkeypatch):
    """Disk full while a kernel is written."""
    replace = Path.replace

    def no_room(self, target):
        if Path(target).parent == folder:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", no_room)
    return "No space left on device"


def no_lock(folder, monkeypatch):
    """Full before anything is begun."""
    begin = os.open

    def no_room(path, *rest, **more):
        if str(path).startswith(str(folder)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return begin(path, *rest, **more)

    monkeypatch.setattr(compiler.os, "open", no_room)
    return "No space left on device"


@pytest.mark.parametrize("useless", [not_a_folder, open_to_others, write_protected, full, no_lock])
def test_a_folder_that_cannot_keep_kernels_is_said_once(new_process, monkeypatch, caplog, useless):
    reason = useless(new_process, monkeypatch)
    with caplog.at_level(logging.INFO, "thetadot"):
        for make in (HeavyBall, Adam):
            one_step(make, compile=True)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith(f"compiled kernels are not kept in {new_process} ({reason}), and every")
    assert len(compilations(caplog)) >= 2
    assert len([*compiler._private().glob("*.so")]) >= 2
    if new_process.is_dir():
        assert not [*new_process.iterdir()]


def test_where_no_folder_has_room_steps_run_in_torchs_operations(new_process, monkeypatch, caplog):
    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_room)
    with caplog.at_level(logging.INFO, "thetadot"):
        for make in (HeavyBall, Adam):
            _, (p,) = one_step(make)
            assert p[0] < 1
    elsewhere, without = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert elsewhere.startswith(f"compiled kernels are not kept in {new_process}")
    assert without.startswith("steps are not compiled, and run block by block")
    assert "No space left on device" in without


@pytest.mark.slow
def test_processes_that_begin_together_compile_once(new_process):
    """Ranks of a node."""
    environment = {**os.environ, "THETADOT_CACHE": str(new_process)}
    code = STEP.format(compile=True)
    ranks = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [rank.communicate()[1] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), said
    assert sum("(found in the cache)" not in each for each in said) == 1, said
    assert [path.suffix for path in new_process.iterdir()] == [".so"]


def test_a_kernel_is_waited_for_and_not_made_twice(new_process, monkeypatch):
    """While one process holds the kernel's lock, another finds what it made."""
    one_step(compile=True)
    (library,) = new_process.glob("*.so")
    lock, content = library.with_suffix(".lock"), library.read_bytes()
    library.unlink()
    forget(monkeypatch)
    held, built = threading.Event(), []

    def elsewhere():
        with compiler._locked(lock):
            held.set()
            time.sleep(0.3)
            library.touch(mode=0o700)
            library.write_bytes(content)

    monkeypatch.setattr(compiler, "_build", lambda *_: built.append(1))
    thread = threading.Thread(target=elsewhere)
    thread.start()
    held.wait()
    _, (p,) = one_step(compile=True)
    thread.join()
    assert p[0] == 0.5
    assert not built
    assert not lock.exists()


def forget(monkeypatch):
    from thetadot.optim.engine import programs

    monkeypatch.setattr(programs, "_made", {})


def test_a_library_that_others_could_have_written_is_built_again(new_process, monkeypatch, caplog):
    one_step(compile=True)
    (library,) = new_process.glob("*.so")
    library.chmod(0o777)
    before = library.stat().st_ino
    forget(monkeypatch)
    with caplog.at_level(logging.INFO, "thetadot"):
        one_step(compile=True)
    assert "found in the cache" not in compilations(caplog)[0]
    assert library.stat().st_ino != before
    assert not library.stat().st_mode & 0o022


@pytest.mark.parametrize("left", [0, 10, 100, 0.5, 0.9, "changed"])
def test_a_damaged_library_is_built_again_and_never_loaded(new_process, monkeypatch, caplog, left):
    """Loading half a library ends the process."""
    one_step(compile=True)
    (library,) = new_process.glob("*.so")
    content = library.read_bytes()
    library.unlink()  # this process goes on using it
    if left == "changed":
        library.write_bytes(content[:5000] + bytes(200) + content[5200:])
    else:
        library.write_bytes(content[: int(left * len(content) if isinstance(left, float) else left)])
    library.chmod(0o700)
    forget(monkeypatch)
    with caplog.at_level(logging.INFO, "thetadot"):
        _, (p,) = one_step(compile=True)
    assert p[0] == 0.5
    assert not compilations(caplog)[0].endswith("(found in the cache)")
    assert compiler._ends_with_digest(library)


def test_nothing_but_libraries_is_left_behind(new_process, monkeypatch):
    one_step(compile=True)
    broken(monkeypatch)
    compiler.compiler.cache_clear()
    forget(monkeypatch)
    with pytest.raises(CannotCompile):
        one_step(compile=True)
    assert [path.suffix for path in new_process.iterdir()] == [".so"]
