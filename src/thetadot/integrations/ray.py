"""Ray: the paths of an ensemble, spread over the processes and machines of a cluster.

    with RayEnsemble() as engine:
        simulate(problem, integrator, start, time=10.0, step=0.01, engine=engine)

Noise is a function of (key, step, path), so a march of some paths is a function of their state alone: it is done
wherever there is a free core, and again elsewhere when the worker that did it has died. The engine is the one that the
whole job would have been given by one process, and so are the numbers: bit for bit on machines alike; "plain", to
rounding where an operation of torch rounds by the number of its rows.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, cast

import torch

from thetadot.core.tensors import tensor_of
from thetadot.errors import InadmissibleValue, IncompatiblePair, ThetadotError, require
from thetadot.fusion.program import CannotCompile, Interacting
from thetadot.integrations.cluster import Cluster, host, last_line
from thetadot.simulation.asked import asked
from thetadot.simulation.choice import MOST_OPERATIONS, called, choose, operations
from thetadot.simulation.engines import MARCH, traced_step
from thetadot.simulation.noise import PATHS
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from thetadot.core.annotations import State
    from thetadot.simulation.asked import Asked
    from thetadot.simulation.choice import Compile
    from thetadot.simulation.engines import Engine, Randomness
    from thetadot.simulation.motion import PosedMotion

_LIVES = 4  # workers that may die of one shard
_SHARDS = 4  # a worker and march: the last to finish then keeps the others waiting a quarter as long
_LONGER = 8  # marches of one process, for each worker: a march moves the state there and back
_JOBS = 4  # kept built in a worker
_NEEDED = "RayEnsemble needs"


class RayEnsemble:
    """An engine for :func:`thetadot.simulate`: paths marched by the workers of a Ray cluster.

    Args:
        address: of the cluster, as ``ray.init`` takes it; $RAY_ADDRESS if None, and where that is not set a cluster of
            this machine alone, on the loopback interface, without a dashboard. If this process is connected already,
            that cluster is used.
        workers: processes at a time; all cores of the cluster if None.

    What was started or connected here ends with :meth:`close`, the ``with`` block, or the process. Workers are sent
    functions that the script defines; modules must be importable there.

    Raises:
        InadmissibleValue: workers < 1; paths on another device than the CPU.
        IncompatiblePair: paths see each other, or what moves cannot be sent.
        ThetadotError: Ray is not installed, or the address cannot be reached; later, when the workers of the same
            paths die again and again.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        require(workers is None or workers >= 1, f"workers={workers}", "is below 1", "Pass workers >= 1, or leave it.")
        self.address, self.workers = address, workers
        self._cluster = Cluster(address, workers, _NEEDED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what was started or connected here; a cluster that this process was connected to before stays."""
        self._cluster.close()

    def build(
        self,
        motion: PosedMotion,
        randomness: Randomness,
        like: Tensor,
        compile: Compile,  # noqa: A002
        work: float,
    ) -> tuple[Engine, str]:
        """The engine of one job; called by :func:`~thetadot.simulate`."""
        if like.device.type != "cpu":
            raise InadmissibleValue(f"RayEnsemble sends paths from the CPU, and these lie on {like.device}. Move them.")
        whole, remark = choose(motion, randomness, like, compile, None, work)
        if whole.name == "plain":
            _require_apart(motion, like)
        ray = self._connected()
        try:
            job = ray.cloudpickle.dumps((whole.name, motion, randomness, like[:1].clone()))
        except Exception as error:  # whatever the user's objects throw at being copied
            raise IncompatiblePair(
                f"what moves cannot be sent to workers ({type(error).__name__}: {error}). Leave such objects out of "
                "its functions, or leave engine= out."
            ) from error
        return Spread(ray, job, whole, self.workers), remark

    def _connected(self) -> Any:
        return self._cluster.connected()


class Spread:
    """Engine of one job, spread over Ray workers.

    Args:
        ray: connected.
        job: what workers build the engine of, pickled.
        whole: the engine of the whole job.
        workers: at a time; all cores if None.
    """

    def __init__(self, ray: Any, job: bytes, whole: Engine, workers: int | None) -> None:
        self.name, self.counters = f"ray, {whole.name}", whole.counters
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.most = _LONGER * self.workers * MARCH
        self._ray, self._digest, self._job = ray, hashlib.sha256(job).hexdigest(), ray.put(job)
        self._march = ray.remote(num_cpus=1, max_retries=_LIVES - 1)(_march_shard)

    def march(self, state: State, before: int, steps: int) -> State:
        """Shard by shard, in whatever order workers are free."""
        rows = {name: _bytes(value) for name, value in state.items() if _by_path(value)}
        kinds = {name: tensor_of(state, name).dtype for name in rows}
        shared = {name: value for name, value in state.items() if name not in rows}
        new = {name: torch.empty_like(tensor_of(state, name), memory_format=torch.contiguous_format) for name in rows}
        room = {name: _bytes(value) for name, value in new.items()}
        handed: State = {}
        waiting = deque(self._cuts(len(rows[POSITION])))
        running: dict[Any, tuple[int, int]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    start, stop = waiting.popleft()
                    shard = {name: (array[start:stop], kinds[name]) for name, array in rows.items()}
                    task = self._march.remote(self._digest, self._job, shard, shared, start, before, steps)
                    running[task] = start, stop
                (done,), _ = self._ray.wait(list(running), num_returns=1)
                start, stop = running[done]
                arrays, handed = self._fetch(done, start, stop)
                del running[done]
                for name, array in arrays.items():
                    room[name][start:stop] = array
        except BaseException:
            for task in running:
                self._ray.cancel(task, force=True)
            raise
        return handed | new

    def _cuts(self, paths: int) -> Iterator[tuple[int, int]]:
        """Where shards begin and end: at whole blocks, about equal."""
        blocks = -(-paths // PATHS)
        shards = min(blocks, _SHARDS * self.workers)
        places = [min(blocks * i // shards * PATHS, paths) for i in range(shards + 1)]
        return pairwise(places)

    def _fetch(self, task: Any, start: int, stop: int) -> Any:
        """Fetch the result of a shard; re-raise a user's error unchanged."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise ThetadotError(f"a worker failed: {last_line(error)}. Leave engine= out to see where.") from error
        except errors.RayError as error:
            raise ThetadotError(
                f"paths {start} to {stop - 1} were lost with their worker {_LIVES} times ({type(error).__name__}). "
                "Give the workers more memory, or simulate these paths without engine= to see what they do."
            ) from error


_engines: dict[str, Any] = {}
"""Jobs that this worker has built."""


def _march_shard(
    digest: str,
    job: bytes,
    shard: dict[str, tuple[Any, torch.dtype]],
    shared: State,
    first: int,
    before: int,
    steps: int,
) -> tuple[dict[str, Any], State]:
    """In a worker: march paths that are numbered from ``first``."""
    if digest not in _engines:
        torch.set_num_threads(1)  # the cluster counts a worker as one core
        while len(_engines) >= _JOBS:
            del _engines[next(iter(_engines))]
        _engines[digest] = _built(job)
    engine = _engines[digest].beginning(first)
    state: State = dict(shared)
    for name, (array, kind) in shard.items():
        value = _shared_tensor(array, kind)
        state[name] = value.clone() if engine.name == "plain" else value  # the user's own operations may write to it
    after = engine.march(state, before, steps)
    arrays = {name: _bytes(cast("Tensor", after[name])) for name in shard}
    return arrays, {name: value for name, value in after.items() if name not in shard}


def _built(job: bytes) -> Any:
    """The engine that the whole job was given."""
    try:
        name, motion, randomness, like = host(_NEEDED).cloudpickle.loads(job)
    except Exception as error:
        raise ThetadotError(
            f"a worker cannot load what moves ({type(error).__name__}: {error}). Define its functions in the script, "
            "or install their module where workers find it."
        ) from error
    return called(name, motion, randomness, like)


def _require_apart(motion: PosedMotion, like: Tensor) -> None:
    """Refuse paths that see each other: by the trace, and where there is none, by four paths together and alone."""
    own = asked(motion, like, motion.begin({POSITION: like}))
    try:
        _trace_if_short(motion, like, own)
    except Interacting as error:
        raise _together(str(error).rstrip(".")) from error
    except CannotCompile:
        spread = torch.linspace(0.9, 1.1, 4, dtype=like.dtype).unsqueeze(-1)
        position = torch.where(like[:1] == 0, spread - 1, like[:1] * spread)
        try:
            begun = motion.begin({POSITION: position})
            together = _stepped(motion, begun)
            alone = [_stepped(motion, _path_row(begun, i)) for i in range(len(position))]
        except (RuntimeError, ValueError, IndexError) as error:
            raise _together(f"it cannot be taken by other than all paths ({str(error).splitlines()[0]})") from error
        if not all(
            _equal_to_rounding(value, torch.cat([one[name] for one in alone])) for name, value in together.items()
        ):
            raise _together("paths see each other") from None


def _trace_if_short(motion: PosedMotion, like: Tensor, own: Asked) -> None:
    """Trace what is not too long for it."""
    if operations(own) > MOST_OPERATIONS:
        raise CannotCompile("it has too many operations on components.")
    traced_step(motion, like, like.dtype, own.draws)


def _stepped(motion: PosedMotion, state: State) -> dict[str, Tensor]:
    """Variables by path after a step, all noise being 1."""
    after = motion.advance(state, lambda: torch.ones_like(tensor_of(state, POSITION)))
    return {name: tensor_of(after, name) for name, value in after.items() if _by_path(value)}


def _path_row(state: State, i: int) -> State:
    return {name: tensor_of(state, name)[i : i + 1] if _by_path(value) else value for name, value in state.items()}


def _equal_to_rounding(a: Tensor, b: Tensor) -> bool:
    """To rounding, which may depend on the number of rows."""
    error = 16 * torch.finfo(a.dtype).eps * float(a.nan_to_num().abs().max())
    return torch.allclose(a, b, rtol=0, atol=error, equal_nan=True)


def _together(why: str) -> IncompatiblePair:
    return IncompatiblePair(f"the step cannot be split over workers: {why}. Leave engine= out.")


def _by_path(value: Any) -> bool:
    """Whether a variable has a row for every path."""
    return isinstance(value, torch.Tensor) and value.ndim == 2


def _bytes(value: Tensor | float) -> Any:
    """The same memory as an array (paths, bytes), which crosses without a copy whatever the dtype."""
    return cast("Tensor", value).detach().contiguous().view(torch.uint8).numpy()


def _shared_tensor(array: Any, kind: torch.dtype) -> Tensor:
    """The same memory as a tensor again, write-protected."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).view(kind)
