"""C++ source to a loaded library: the machine's own compiler, and a cache that only its owner can write to.

The compiler is ``$CXX``, else the first of c++, g++, clang++. Libraries are kept under ``$THETADOT_CACHE``, else
``$XDG_CACHE_HOME/thetadot``, else ``~/.cache/thetadot``, named by everything that they depend on: source, flags,
compiler and processor. Contraction is off and nothing is reordered, so that a kernel rounds as torch's operations do.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from thetadot.fusion.program import CannotCompile

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
    wanted = os.environ.get("CXX")
    candidates = [shlex.split(wanted)] if wanted else [["c++"], ["g++"], ["clang++"]]
    return next((tuple(command) for command in candidates if command and shutil.which(command[0])), None)


def load(source: str) -> tuple[ctypes.CDLL, bool]:
    """The library of ``source``, and whether it was found in the cache.

    Raises:
        CannotCompile: no compiler, or it refused the source.
    """
    command = compiler()
    if command is None:
        wanted = os.environ.get("CXX")
        sought = f"CXX={wanted!r} is not there" if wanted else "no C++ compiler was found (c++, g++, clang++)"
        raise CannotCompile(f"{sought}. Install one or set $CXX, or pass compile=False.")
    folder = _folder()
    library = folder / f"{_name(source, command)}.so"
    cached = _ours(library) and _whole(library)
    if not cached:
        _build(source, command, library)
    try:
        return ctypes.CDLL(str(library)), cached
    except OSError as error:
        raise CannotCompile(f"{library} cannot be loaded: {error}. Remove it, or pass compile=False.") from error


def _build(source: str, command: tuple[str, ...], library: Path) -> None:
    """Beside its place first, so that nobody ever loads half a library."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        text, built = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        text.write_text(source, encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 - the user's own compiler
                [*command, *_FLAGS, str(text), "-o", str(built)],
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotCompile(f"{command[0]} did not run: {error}. Set $CXX, or pass compile=False.") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.strip().splitlines()[:3]) or f"exit code {done.returncode}"
            raise CannotCompile(f"{command[0]} refused a kernel: {said}. Set $CXX, or pass compile=False.")
        try:
            content = built.read_bytes()
        except OSError as error:
            raise CannotCompile(f"{command[0]} wrote no library. Set $CXX, or pass compile=False.") from error
        built.write_bytes(content + hashlib.sha256(content).digest())
        built.replace(library)


def _whole(library: Path) -> bool:
    """Whether it ends with its own digest: loading half a library ends the process."""
    try:
        content = library.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]


@cache
def _machine(command: tuple[str, ...]) -> str:
    """What a native library depends on beside its source."""
    try:
        version = subprocess.run(  # noqa: S603 - the user's own compiler
            [*command, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotCompile(f"{command[0]} did not run: {error}. Set $CXX, or pass compile=False.") from error
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    return f"{version.stdout}\n{platform.machine()}\n{processor}"


def _name(source: str, command: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join((source, *command, *_FLAGS, _machine(command))).encode()).hexdigest()


@cache
def _folder() -> Path:
    """Where libraries are kept; a folder of this process alone where that cannot be trusted."""
    base = os.environ.get("THETADOT_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else (Path(shared) if shared else Path.home() / ".cache") / "thetadot"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _ours(folder) and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # no home
        pass
    private = Path(tempfile.mkdtemp(prefix="thetadot-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _ours(path: Path) -> bool:
    """Whether it is there, belongs to this user, and nobody else can write to it."""
    try:
        found = path.stat()
    except OSError:
        return False
    return not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)
