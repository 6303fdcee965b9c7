"""Tasks by name or by ``file.py:function``, with errors located in the user's file."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from thetadot.core.formatting import nearest
from thetadot.errors import TaskError, ThetadotError
from thetadot.tasks import BUILT_IN, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_OURS = Path(__file__).resolve().parents[1]
_SEAMS = ("forward.py", "data.py", "job.py", "fit.py", "trying.py")  # here we call what the user wrote


def resolve(spec: str) -> Callable[[], Task]:
    """The function that makes the task; the file is not executed yet.

    Raises:
        TaskError: no such name, no such file.
    """
    if spec in BUILT_IN:
        return BUILT_IN[spec]
    if not is_file(spec):
        if spec.endswith(".py"):
            raise TaskError(f"task {spec!r} names no function. Pass {spec}:FUNCTION, which returns the task.")
        known = ", ".join(sorted(BUILT_IN))
        meant = nearest(spec, BUILT_IN)
        raise TaskError(f"task {spec!r} is unknown{meant} Pass one of: {known}; or file.py:function.")
    made = from_file(spec, what="task")
    return lambda: checked(made())


def is_file(spec: str) -> bool:
    """Whether a name reads ``file.py:function``."""
    path_text, separator, _ = spec.rpartition(":")
    return bool(separator) and path_text.endswith(".py")


def address(task: object, name: str) -> str | None:
    """What ``thetadot run`` takes for a task from any folder; None where that is nothing.

    Args:
        task: as it was given: a function, or a Task.
        name: what it is called.
    """
    for built_in, function in BUILT_IN.items():
        if task is function:
            return built_in
    if is_file(name):
        path, _, function_name = name.rpartition(":")
        return f"{Path(path).resolve()}:{function_name}" if Path(path).is_file() else None
    own = getattr(task, "__name__", "")
    module = sys.modules.get(getattr(task, "__module__", None) or "")
    file = Path(getattr(module, "__file__", None) or "")
    if getattr(module, own, None) is not task or file.suffix != ".py" or not file.is_file():
        return None
    return f"{file.resolve()}:{own}"


def from_file(spec: str, *, what: str) -> Callable[..., object]:
    """The function that ``file.py:function`` names; the file is not executed before it is called.

    Args:
        spec: file.py:function.
        what: the function makes, for errors and for the name under which the file is loaded.

    Raises:
        TaskError: no such file.
    """
    find = named_in(spec, what=what)

    def make(**given: object) -> object:
        function = find()
        try:
            inspect.signature(function).bind(**given)
        except (TypeError, ValueError) as error:
            arguments = ", ".join(given) or "arguments"
            how = "with" if given else "without"
            remedy = "Let it take them, or leave them out." if given else "Give them defaults."
            path, _, name = spec.rpartition(":")
            raise TaskError(
                f"{Path(path).resolve()}: {name}() cannot be called {how} {arguments} ({error}). {remedy}"
            ) from error
        with users_code():
            return function(**given)

    return make


def named_in(spec: str, *, what: str) -> Callable[[], Callable[..., object]]:
    """What executes the file of ``file.py:name`` and returns the function or class of that name.

    Raises:
        TaskError: no such file; later, nothing of that name in it that can be called.
    """
    path_text, _, name = spec.rpartition(":")
    try:
        path = Path(path_text).resolve()
        there = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, with a null byte, or links in a circle
        reason = getattr(error, "strerror", None) or error
        raise TaskError(f"{what} {spec[:80]!r} is no name of a file ({reason}). Pass file.py:function.") from error
    if not there:
        raise TaskError(f"{what} {spec!r}: there is no file {path}. Pass an existing file.py:function.")

    def find() -> Callable[..., object]:
        module_name = f"thetadot_{what}_{path.stem}"
        found = importlib.util.spec_from_file_location(module_name, path)
        assert found is not None  # noqa: S101 - a .py file always has a spec
        assert found.loader is not None  # noqa: S101
        module = importlib.util.module_from_spec(found)
        sys.modules[module_name] = module  # so that loader workers and pickles find its classes
        sys.path.insert(0, str(path.parent))
        with users_code():
            found.loader.exec_module(module)
        function = getattr(module, name, None)
        if not callable(function):
            raise TaskError(f"{path} has no function {name!r}. Define it, or name another one after the colon.")
        return cast("Callable[..., object]", function)

    return find


def checked(task: object) -> Task:
    """Return ``task`` if it is a task; refuse otherwise."""
    if not isinstance(task, Task):
        raise TaskError(
            f"the task function returned a {type(task).__name__}. Return thetadot.Task(model, loss, train, valid)."
        )
    return task


@contextmanager
def users_code() -> Iterator[None]:
    """Turn an exception of the user's own code into a TaskError that names their file and line.

    The innermost frame that is neither ours nor a library's is where to look. An exception that began in our own code,
    elsewhere than where the user's is called, is our bug and stays what it is. A SystemExit is an error too: it would
    end the command as if it had succeeded.
    """
    try:
        yield
    except (ThetadotError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as caught:
        # within a generator of ours a StopIteration arrives wrapped
        error = caught.__cause__ if isinstance(caught.__cause__, StopIteration) else caught
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not _foreign(frame.filename)]
        innermost = Path(frames[-1].filename)
        if not own and innermost.is_relative_to(_OURS) and innermost.name not in _SEAMS:
            raise
        if isinstance(error, SyntaxError) and error.filename:
            where, said = f"{error.filename}, line {error.lineno}: ", error.msg
        else:
            where = f"{own[-1].filename}, line {own[-1].lineno}, in {own[-1].name}: " if own else ""
            said = str(error)
        raise TaskError(f"{where}{type(error).__name__}: {said}") from error


def in_users_code(error: BaseException) -> bool:
    """Whether an exception began in a file of the user's, or passed through one."""
    return any(not _foreign(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def _foreign(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith((str(_OURS), "<", sys.base_prefix))
