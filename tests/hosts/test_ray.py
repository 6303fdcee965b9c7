"""Ensembles over Ray: the numbers of one process, whoever dies."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import ray
import torch

from thetadot.errors import Diverged, InadmissibleValue, IncompatiblePair, ThetadotError
from thetadot.fusion.compiler import compiler
from thetadot.integrations.ray import RayEnsemble
from thetadot.integrators import Euler, EulerMaruyama, Leapfrog, Splitting
from thetadot.potentials import DoubleWell
from thetadot.simulation import Save, simulate
from thetadot.simulation.noise import PATHS
from thetadot.systems import ODE, SDE, AdaptiveFlow, Kramers, Langevin, Problem
from thetadot.systems.base import PerStep

WELL = Problem(Langevin(0.245), DoubleWell())
PHASE = Problem(Kramers(0.5, 0.2), DoubleWell())
BESSEL = SDE(torch.special.bessel_j0, lambda x: 0.3 * x)  # no kernel has it
N = 2 * PATHS + 1000
COMPILED = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
SAVE = {"moment": Save(lambda t, s: s["position"].square().mean(), count=3), "end": None}


@pytest.fixture(scope="module")
def cluster():
    with RayEnsemble(workers=2) as engine:
        engine._connected()
        yield engine
    assert not ray.is_initialized()


def start(dtype=torch.float32, paths=N):
    return torch.linspace(-1.2, 1.4, paths, dtype=dtype).unsqueeze(1)


CASES = {
    "compiled": pytest.param(WELL, EulerMaruyama(), True, torch.float32, marks=COMPILED),
    "compiled, a velocity": pytest.param(PHASE, Splitting("BAOAB"), True, torch.float64, marks=COMPILED),
    "in place": pytest.param(WELL, EulerMaruyama(), False, torch.float32),
    "in place, a velocity": pytest.param(PHASE, Leapfrog(), False, torch.float64),
    "in place, a first step of its own": pytest.param(
        Problem(AdaptiveFlow(PerStep(0.1), PerStep(0.01)), DoubleWell()), Euler(), False, torch.float64
    ),
    "in place, a clock": pytest.param(ODE(lambda t, x: torch.cos(t) * x), Euler(), False, torch.float64),
    "plain": pytest.param(BESSEL, EulerMaruyama(), "auto", torch.float32),
    "plain, narrow": pytest.param(BESSEL, EulerMaruyama(), False, torch.float64),
}


@pytest.mark.slow
@pytest.mark.parametrize(("system", "integrator", "compiled", "dtype"), CASES.values(), ids=CASES)
def test_states_statistics_and_continuation_are_those_of_one_process(cluster, system, integrator, compiled, dtype):
    x = start(dtype)
    one = simulate(system, integrator, x, time=1.2, step=0.1, key=7, compile=compiled, save=SAVE)
    many = simulate(system, integrator, x, time=1.2, step=0.1, key=7, compile=compiled, save=SAVE, engine=cluster)
    half = simulate(system, integrator, x, time=0.7, step=0.1, key=7, compile=compiled, engine=cluster)
    rest = simulate(system, integrator, half, time=0.5, step=0.1, compile=compiled, engine=cluster)
    assert many.engine == f"ray, {one.engine}"
    assert torch.equal(one["moment"].values, many["moment"].values)
    assert torch.equal(one["end"].values, many["end"].values)
    assert torch.equal(one["end"].values[-1], rest.final)
    for name, value in one.end.state.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(many.end.state[name])), name


def test_the_engine_is_that_of_the_whole_job_and_not_of_a_shard(cluster, monkeypatch):
    monkeypatch.setattr("thetadot.simulation.choice.PAYS", float(N * 5 - 1))
    run = simulate(WELL, EulerMaruyama(), start(), time=0.05, step=0.01, engine=cluster)
    assert run.engine == ("ray, compiled" if compiler() else "ray, in place")


def test_few_paths_are_one_shard(cluster):
    x = start(paths=10)
    one = simulate(WELL, EulerMaruyama(), x, time=0.1, step=0.01, key=4)
    many = simulate(WELL, EulerMaruyama(), x, time=0.1, step=0.01, key=4, engine=cluster)
    assert torch.equal(one.final, many.final)


def test_without_a_key_workers_share_one_of_torchs_generator(cluster):
    x = start(paths=10)
    run = {"time": 0.1, "step": 0.01}
    torch.manual_seed(3)
    here = simulate(WELL, EulerMaruyama(), x, **run)
    torch.manual_seed(3)
    there = simulate(WELL, EulerMaruyama(), x, engine=cluster, **run)
    assert here.key == there.key
    assert torch.equal(here.final, there.final)


@pytest.mark.slow
def test_a_worker_that_dies_in_a_march_is_not_seen_in_the_result(cluster, tmp_path):
    marker, driver, calls = tmp_path / "died", os.getpid(), []

    def drift(x):
        if os.getpid() != driver and not marker.exists():
            calls.append(1)
            if len(calls) == 5:
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return torch.special.bessel_j0(x)

    system = SDE(drift, 0.4)
    one = simulate(system, EulerMaruyama(), start(), time=1.0, step=0.1, key=3)
    many = simulate(system, EulerMaruyama(), start(), time=1.0, step=0.1, key=3, engine=cluster)
    assert marker.exists()
    assert torch.equal(one.final, many.final)


def test_what_a_function_raises_is_raised_as_it_was(cluster):
    driver = os.getpid()

    def drift(x):
        if os.getpid() != driver:
            raise ZeroDivisionError("of the user")
        return torch.special.bessel_j0(x)

    with pytest.raises(ZeroDivisionError, match="of the user"):
        simulate(ODE(drift), Euler(), start(), time=1.0, step=0.1, engine=cluster)


@pytest.mark.slow
def test_divergence_is_told_at_its_step(cluster):
    x = torch.full((PATHS + 5, 1), -1.0)
    x[PATHS + 2] = 3.0
    said = []
    for engine in (None, cluster):
        with pytest.raises(Diverged) as told:
            simulate(ODE(lambda x: x * x), Euler(), x, time=10.0, step=0.1, engine=engine)
        said.append((str(told.value), told.value.last.end.steps))
    assert said[0] == said[1]
    assert f"path {PATHS + 2} " in said[0][0]


TOGETHER = {
    "traced": (ODE(lambda x: x.mean(0) - x), "paths see each other"),
    "untraced": (ODE(lambda x: torch.special.bessel_j0(x).mean(0) - x), "paths see each other"),
    "by number": (ODE(lambda x: torch.special.bessel_j0(x) / len(x)), "paths see each other"),
}


@pytest.mark.parametrize(("system", "said"), TOGETHER.values(), ids=TOGETHER)
def test_paths_that_see_each_other_are_refused(cluster, system, said):
    with pytest.raises(IncompatiblePair, match=said):
        simulate(system, Euler(), torch.ones(N, 1), time=1.0, step=0.1, engine=cluster)


def test_what_cannot_be_sent_is_refused(cluster):
    log = sys.stdout

    def drift(x):
        log.flush()
        return torch.special.bessel_j0(x)

    with pytest.raises(IncompatiblePair, match="cannot be sent"):
        simulate(ODE(drift), Euler(), torch.ones(N, 1), time=1.0, step=0.1, engine=cluster)


def test_bad_input_is_refused(monkeypatch):
    with pytest.raises(InadmissibleValue, match="workers=0"):
        RayEnsemble(workers=0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ThetadotError, match=r"pip install 'thetadot\[ray\]'"):
        simulate(WELL, EulerMaruyama(), start(), time=0.1, step=0.1, engine=RayEnsemble())


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_an_address_that_does_not_answer_is_told_at_once(address, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ThetadotError, match=f"Ray cluster at '{address}' cannot be reached"):
        simulate(WELL, EulerMaruyama(), start(), time=0.1, step=0.1, engine=RayEnsemble(address))


def test_a_cluster_that_was_there_before_stays(cluster):
    with RayEnsemble() as second:
        simulate(WELL, EulerMaruyama(), start(), time=0.1, step=0.1, engine=second)
    assert ray.is_initialized()


@pytest.mark.slow
def test_a_cluster_of_others_is_joined_and_left(cluster):
    script = """
        import hashlib, torch
        from thetadot.integrations.ray import RayEnsemble
        from thetadot.integrators import EulerMaruyama
        from thetadot.simulation import simulate
        from thetadot.systems import SDE

        with RayEnsemble(workers=1) as engine:
            run = simulate(SDE(lambda x: -x, 1.0), EulerMaruyama(), torch.zeros(1), paths=70_000, time=0.5, step=0.1,
                           key=2, engine=engine)
        print(run.engine, hashlib.sha256(run.final.numpy()).hexdigest())
    """
    there = {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # it is on the loopback interface
    }
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=os.environ | there, capture_output=True, text=True, timeout=600, check=False)
    system = SDE(lambda x: -x, 1.0)
    one = simulate(system, EulerMaruyama(), torch.zeros(1), paths=70_000, time=0.5, step=0.1, key=2)
    assert done.stdout.split("\n")[0] == f"ray, in place {hashlib.sha256(one.final.numpy()).hexdigest()}", done.stderr
    assert ray.is_initialized()
    assert len(ray.nodes()) == 1


def descendants(pid):
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")
def test_servers_are_bound_to_the_loopback_interface(cluster):
    sockets = set()
    for pid in descendants(os.getpid()) | {os.getpid()}:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    bound = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                bound.append(fields[1].split(":")[0])
    assert len(bound) >= 3
    assert set(bound) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")
def test_an_interrupt_leaves_no_process_behind():
    script = """
        import torch
        from thetadot.integrations.ray import RayEnsemble
        from thetadot.integrators import EulerMaruyama
        from thetadot.simulation import Save, simulate
        from thetadot.systems import SDE

        def tell(t, state):
            print(t, flush=True)
            return state["position"].mean()

        simulate(SDE(lambda x: -x, 1.0), EulerMaruyama(), torch.zeros(1), paths=70_000, time=1e5, step=0.01,
                 compile=False, save=Save(tell, times=[0.1, 1e5]), engine=RayEnsemble(workers=1))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "0.1"
        family = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert len(family) >= 3
    assert "KeyboardInterrupt" in said
    assert not {pid for pid in family if Path(f"/proc/{pid}/exe").exists()}
