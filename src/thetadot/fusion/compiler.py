"""C++ source to a loaded library: the machine's own compiler, and a cache that only its owner can write to.

The compiler is ``$CXX``, else the first of c++, g++, clang++. Libraries are kept under ``$THETADOT_CACHE``, else
``$XDG_CACHE_HOME/thetadot``, else ``~/.cache/thetadot``, named by everything that they depend on: source, flags,
compiler and processor. Contraction is off and nothing is reordered, so that a kernel rounds as torch's operations do.
Processes that share the folder compile a kernel once: one holds the kernel's lock, the others wait for its library.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.fusion.program import CannotCompile

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows, where each process compiles for itself
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("thetadot")

_FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-ffp-contract=off",  # a·b + c is rounded twice, as torch does
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
    "-shared",
    "-fPIC",
)
_PATIENCE = 300.0  # seconds
_DIGEST = hashlib.sha256().digest_size


@cache
def compiler() -> tuple[str, ...] | None:
    """The command that compiles C++, None where there is none."""
    try:
        return _compiler_command()
    except CannotCompile:
        return None


def _compiler_command() -> tuple[str, ...]:
    wanted = os.environ.get("CXX")
    try:
        candidates = [shlex.split(wanted)] if wanted else [["c++"], ["g++"], ["clang++"]]
    except ValueError as error:  # an open quote
        raise CannotCompile(f"CXX={wanted!r} is no command ({error}). Set $CXX, or pass compile=False.") from error
    for command in candidates:
        if command and shutil.which(command[0]):
            return tuple(command)
    sought = f"CXX={wanted!r} is not there" if wanted else "no C++ compiler was found (c++, g++, clang++)"
    raise CannotCompile(f"{sought}. Install one or set $CXX, or pass compile=False.")


def _why_none() -> str:
    try:
        _compiler_command()
    except CannotCompile as error:
        return str(error)
    return "no C++ compiler was found when one was first looked for. Start Python anew, or pass compile=False."


def load_library(source: str) -> tuple[ctypes.CDLL, bool]:
    """The library of ``source``, and whether it was found in the cache.

    Raises:
        CannotCompile: no compiler, it refused the source, or there is no place to write the library to.
    """
    command = compiler()
    if command is None:
        raise CannotCompile(_why_none())
    name = f"{_library_name(source, command)}.so"
    try:
        return _loaded(source, command, _cache_folder() / name)
    except OSError as error:
        _say_elsewhere(str(_cache_folder()), error.strerror or str(error))
    try:
        return _loaded(source, command, _private() / name)
    except OSError as error:
        raise CannotCompile(
            f"a kernel can be kept neither there nor in {_private()} ({error.strerror or error}). "
            "Set $THETADOT_CACHE to a folder with room, or pass compile=False."
        ) from error


def _loaded(source: str, command: tuple[str, ...], library: Path) -> tuple[ctypes.CDLL, bool]:
    """The library at its place, built first where it is not there.

    Raises:
        CannotCompile: the compiler refused it, or did not run.
        OSError: it cannot be written or loaded there.
    """
    cached = _is_intact(library)
    if not cached:
        with _locked(library.with_suffix(".lock")):
            cached = _is_intact(library)  # another process was faster
            if not cached:
                _build(source, command, library)
    return ctypes.CDLL(str(library)), cached


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that ``path`` stands for; it is released with the process, and where none can be had, none is held.

    The file is removed by who made the kernel. Who waited for it then holds a lock on a file that is gone, which does
    no harm: it looks for the library first.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            log.debug("no lock on %s", path)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _build(source: str, command: tuple[str, ...], library: Path) -> None:
    """Beside its place first, so that nobody ever loads half a library.

    Raises:
        CannotCompile: the compiler refused it, or did not run.
        OSError: there is no room, or no right to write.
    """
    with tempfile.TemporaryDirectory(dir=library.parent, ignore_cleanup_errors=True) as folder:
        text, built = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        text.write_text(source, encoding="utf-8")
        done = _compiler_output(command, [*_FLAGS, str(text), "-o", str(built)])
        if done.returncode != 0:
            said = done.stderr.replace(f"{folder}/", "").strip()  # the same words for every kernel, to be said once
            said = " ".join(said.splitlines()[:3]) or f"exit code {done.returncode}"
            raise CannotCompile(f"{command[0]} refused a kernel: {said}. Set $CXX, or pass compile=False.")
        if not built.exists():
            raise CannotCompile(f"{command[0]} wrote no library. Set $CXX, or pass compile=False.")
        content = built.read_bytes()
        built.write_bytes(content + hashlib.sha256(content).digest())
        built.replace(library)


def _compiler_output(command: tuple[str, ...], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the compiler and return its result.

    Raises:
        CannotCompile: it does not run.
    """
    try:
        return subprocess.run(  # noqa: S603 - the user's own compiler
            [*command, *arguments], capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:  # ValueError: a null byte in the command
        raise CannotCompile(f"{command[0]} did not run: {error}. Set $CXX, or pass compile=False.") from error


def _is_intact(library: Path) -> bool:
    return _is_trusted(library) and _ends_with_digest(library)


def _ends_with_digest(library: Path) -> bool:
    """Whether it ends with its own digest: loading half a library ends the process."""
    try:
        content = library.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]


@cache
def _machine(command: tuple[str, ...]) -> str:
    """Describe the compiler and processor that a native library depends on."""
    version = _compiler_output(command, ["--version"])
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    return f"{version.stdout}\n{platform.machine()}\n{processor}"


def _library_name(source: str, command: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join((source, *command, *_FLAGS, _machine(command))).encode()).hexdigest()


@cache
def _cache_folder() -> Path:
    """Where libraries are kept; a folder of this process alone where that cannot be trusted or written to."""
    base = os.environ.get("THETADOT_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else (Path(shared) if shared else Path.home() / ".cache") / "thetadot"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_trusted(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
        why = "it cannot be written to" if _is_trusted(folder) else "others can write to it"
    except (OSError, RuntimeError, ValueError) as error:  # no home; a null byte
        why = getattr(error, "strerror", None) or str(error)
    _say_elsewhere(base or (f"{shared}/thetadot" if shared else "~/.cache/thetadot"), why)
    return _private()


@cache
def _say_elsewhere(folder: str, why: str) -> None:
    log.warning(
        "compiled kernels are not kept in %s (%s), and every process compiles them anew. "
        "Set $THETADOT_CACHE to a folder of your own.",
        folder,
        why,
    )


@cache
def _private() -> Path:
    """A folder of this process alone, removed at its end.

    Raises:
        CannotCompile: there is no room for one.
    """
    try:
        private = Path(tempfile.mkdtemp(prefix="thetadot-"))
    except OSError as error:
        raise CannotCompile(
            f"there is no folder to compile in ({error.strerror or error}). Set $THETADOT_CACHE, or pass compile=False."
        ) from error
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _is_trusted(path: Path) -> bool:
    """Whether it is there, belongs to this user, and nobody else can write to it."""
    try:
        found = path.stat()
    except OSError:
        return False
    return not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)
