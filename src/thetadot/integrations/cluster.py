"""A Ray cluster: joined where it runs, or started on this machine, and left as it was found."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from thetadot.errors import ThetadotError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REACH = 5.0  # seconds for an address to answer
_SURROUNDINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class Cluster:
    """A connection to a Ray cluster.

    Args:
        address: as ``ray.init`` takes it; $RAY_ADDRESS if None, and where that is not set, or for "local", a cluster of
            this machine alone, on the loopback interface, without a dashboard. If this process is connected already,
            that cluster is used.
        workers: processes of a cluster that is started here; all cores if None.
        needed: says who needs Ray, for the error where it is not installed.
    """

    def __init__(self, address: str | None, workers: int | None, needed: str) -> None:
        self.address, self.workers, self.needed = address, workers, needed
        self._ours = False

    def connected(self) -> Any:
        """Return the module ``ray``, connected.

        Raises:
            ThetadotError: Ray is not installed, or the address cannot be reached.
        """
        ray = host(self.needed)
        if ray.is_initialized():
            return ray
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        options: dict[str, Any] = {"address": address, "log_to_driver": False, "configure_logging": False}
        if address == "local":
            options |= {"num_cpus": self.workers or cores(), "include_dashboard": False}
        else:
            _require_reachable(address)
        try:
            with _start_quietly(ray, local=address == "local"):
                ray.init(**options)
        except (Exception, SystemExit) as error:  # Ray ends the process where a cluster does not answer
            raise _unreachable(address, str(error)) from error
        self._ours = True
        return ray

    def close(self) -> None:
        """End or leave what was started or joined here; a cluster that this process was connected to before stays."""
        if self._ours:
            host(self.needed).shutdown()
            self._ours = False


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def host(needed: str) -> Any:
    """Return the module ``ray``.

    Raises:
        ThetadotError: it is not installed.
    """
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ThetadotError(f"{needed} Ray. Run: pip install 'thetadot[ray]'.") from error
    return ray


@contextmanager
def _start_quietly(ray: Any, *, local: bool) -> Iterator[None]:
    """Start without talk; a local cluster talks on the loopback interface alone, as Ray's do on macOS and Windows."""
    surroundings = _SURROUNDINGS | ({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if local else {})
    before = {name: os.environ.get(name) for name in surroundings}
    log, constants = logging.getLogger("ray"), ray._private.ray_constants  # noqa: SLF001
    level, wide = log.level, constants.ENABLE_RAY_CLUSTER
    os.environ.update(surroundings)
    constants.ENABLE_RAY_CLUSTER = wide and not local
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        constants.ENABLE_RAY_CLUSTER = wide
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _require_reachable(address: str) -> None:
    """Knock, because Ray itself waits for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, why: str) -> ThetadotError:
    said = why.strip().splitlines()[0].rstrip(".") if why.strip() else "no answer"
    return ThetadotError(
        f"the Ray cluster at {address!r} cannot be reached ({said[:160]}). Start it (ray start --head) and pass its "
        "host:port, or local for one on this machine."
    )


def last_line(error: BaseException) -> str:
    """Return what an error says last, without its traceback."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
