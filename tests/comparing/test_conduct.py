"""A run against the loop that one would write, its budget, and what it leaves as it was."""

import math
from pathlib import Path

import msgspec
import pytest
import torch
from comparing import tasks
from torch import nn
from torch.utils.data import TensorDataset

from thetadot.comparing.conduct import conduct
from thetadot.comparing.curves import STRETCHES
from thetadot.comparing.job import ComparisonJob, numbers
from thetadot.comparing.spec import parse_spec
from thetadot.errors import InadmissibleValue, TaskError
from thetadot.training.data import Source
from thetadot.training.setting import seed_all

HERE = Path(tasks.__file__)


def job(text, make=tasks.line, *, seed=0, epochs=3, batch_size=8, budget=None):
    (point,) = parse_spec(text).points
    return ComparisonJob(make, "line", point, seed, epochs, 64 * epochs if budget is None else budget, batch_size)


def done(text, make=tasks.line, **given):
    return conduct(job(text, make, **given))[0]


@pytest.mark.parametrize("size", [8, 60, 7])  # 60 leaves a smaller last batch, 7 one sample, which is merged
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_a_run_is_the_loop_that_one_would_write(schedule, size):
    seed_all(4)
    task = tasks.net()
    optimizer = torch.optim.SGD(task.model.parameters(), 0.05, momentum=0.9)
    steps = 3 * {8: 8, 60: 2, 7: 9}[size]
    factors = {
        "constant": torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        "linear": torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps),
    }
    scheduler, source, judged = factors[schedule], Source(task.train, 4, torch.device("cpu")), []
    for epoch in range(3):
        task.model.train()
        for batch in source.load(source.plan(epoch, lambda _: size)):
            optimizer.zero_grad()
            task.loss(task.model(batch.inputs), batch.target).backward()
            optimizer.step()
            scheduler.step()
        task.model.eval()
        with torch.no_grad():
            judged.append(float(task.loss(task.model(task.valid.tensors[0]), task.valid.tensors[1])))
    found = done(f"sgd:lr=0.05,momentum=0.9,schedule={schedule},batch_size={size}", tasks.net, seed=4)
    assert [loss for _, loss in found.valid] == pytest.approx(judged, rel=1e-6)
    assert found.final == pytest.approx(judged[-1], rel=1e-6)
    assert found.best == pytest.approx(min(judged), rel=1e-6)
    assert (found.spent, found.steps, found.budget) == (192, steps, 192)


OWN = [pytest.param(text, marks=pytest.mark.slow) for text in ("untuned", "run:lr=0.1,momentum=0.5")]


@pytest.mark.parametrize("text", ["sgd:lr=0.01", "adamw:lr=1e-2", *OWN])
def test_a_run_is_a_function_of_its_job_and_leaves_the_process_as_it_was(text):
    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    one = done(text, tasks.net)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    torch.manual_seed(12)
    assert numbers(done(text, tasks.net)) == numbers(one)
    assert numbers(done(text, f"{HERE}:net")) == numbers(one)
    assert numbers(done(text, tasks.net, seed=1)) != numbers(one)


@pytest.mark.parametrize(
    ("optimizer", "per_step"),
    [
        ("sgd:lr=0.01", 1),
        (f"{HERE}:Sign(lr=0.01)", 1),
        (f"{HERE}:TwoGradients(lr=0.01)", 2),
        ("lbfgs:max_iter=4", None),
    ],
)
@pytest.mark.parametrize("budget", [64, 100, 192, 200])
def test_every_gradient_counts_and_the_budget_is_kept_to_half_a_step(optimizer, per_step, budget):
    found = done(optimizer, budget=budget)
    a_step = 8 * (per_step or 5)
    if per_step is not None:  # one that must first be asked says so at the price of a gradient
        assert found.spent == found.steps * a_step + 8 * (per_step - 1)
    assert found.spent - budget <= a_step + 8
    if per_step == 1:
        assert abs(found.spent - budget) <= 4


def test_an_epochs_end_and_the_last_step_are_judged():
    found = done("sgd:lr=0.01", budget=100)
    assert [at for at, _ in found.valid] == [64.0, 104.0]
    assert found.train[-1][0] == 104.0
    assert len(found.train) <= STRETCHES


def test_of_two_sets_of_parameters_those_of_eval_mode_are_judged():
    """With the weights at 0 the loss is the mean square of the targets."""
    found = done(f"{HERE}:TwoSets(lr=0.05)")
    y = tasks.Y[64:80]
    assert [loss for _, loss in found.valid] == pytest.approx([float(y.square().mean())] * 3)
    assert found.train[-1][1] < 0.7 * found.train[0][1]  # and those of train mode are trained


@pytest.mark.parametrize("text", ["sgd:lr=1e9", "sgd:lr=1e30", "adamw:lr=1e30", "lbfgs:lr=1e30"])
def test_a_run_that_diverges_says_so_and_ends(text):
    found = done(text, epochs=20)
    assert found.diverged
    assert found.best is found.final is found.test is None
    assert found.spent < found.budget
    assert all(math.isfinite(loss) for _, loss in found.train + found.valid)
    msgspec.json.encode(found)


def test_test_data_are_judged_at_the_lowest_validation_loss():
    seed_all(0)
    task = tasks.tested()
    for text in ("sgd:lr=0.3", "untuned"):
        found = done(text, tasks.tested)
        assert found.test is not None
        assert found.test != found.best
    still = done("sgd:lr=0.0", tasks.tested)
    x, y = task.test.tensors
    assert still.test == pytest.approx(float((task.model(x) - y).square().mean().detach()), rel=1e-6)


def test_running_statistics_are_those_of_the_parameters_that_are_judged():
    """In eval mode all parameters are 0, so that what is normalized has mean and variance 0."""

    class Seen(nn.BatchNorm1d):
        def forward(self, x):
            if not self.training:
                seen.append((float(self.running_var.max()), int(self.num_batches_tracked)))
            return super().forward(x)

    def make():
        task = tasks.normed()
        task.model[1] = Seen(4, momentum=0.9)
        made.append(task)
        return task

    seen, made = [], []
    found = done(f"{HERE}:TwoSets(lr=0.05)", make)
    batches = 3 * 8
    assert seen[-1][0] < 1e-5
    assert seen[-1][1] == batches + 8  # an epoch of batches more, and only while it is judged
    assert int(made[-1].model[1].num_batches_tracked) == batches
    assert float(made[-1].model[1].running_var.max()) > 1e-3
    plain = done(f"{HERE}:Sign(lr=0.05)", make)
    assert seen[-1] == (pytest.approx(float(made[-1].model[1].running_var.max())), batches)
    assert found.train == plain.train  # nothing of it reaches the run: order, dropout, statistics


def test_test_data_are_judged_at_the_last_step_too():
    seed_all(0)
    x, y = tasks.tested().test.tensors
    made = []

    def make():
        made.append(tasks.tested())
        return made[-1]

    for text in ("sgd:lr=0.3", "adamw:lr=3.0"):
        found = done(text, make)
        last = float((made[-1].model(x) - y).square().mean().detach())
        assert found.final_test == pytest.approx(last, rel=1e-6)
        assert (found.final_test == found.test) == (found.final == found.best)


@pytest.mark.slow
def test_our_run_returns_its_best_state_and_a_plain_loop_its_last():
    ours, plain = (done(text, tasks.tested, epochs=6) for text in ("untuned", "adamw:lr=3.0"))
    assert [ours.score(by) for by in ("returned", "returned-test")] == [ours.best, ours.test]
    assert [plain.score(by) for by in ("returned", "returned-test")] == [plain.final, plain.final_test]
    assert None not in (ours.test, ours.final_test, plain.test, plain.final_test)


def test_data_that_are_not_finite_are_nobodys_divergence():
    x = tasks.X[:64].clone()
    x[5, 1] = math.nan
    with pytest.raises(TaskError, match="the input of sample 5 has NaN"):
        done("sgd:lr=0.01", lambda: tasks.line(train=TensorDataset(x, tasks.Y[:64])))


def test_a_loss_that_learns_is_trained():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.log = nn.Parameter(torch.zeros(()))

        def forward(self, output, target):
            return ((output - target).square() / self.log.exp() + self.log).mean()

    made = []

    def make():
        made.append(tasks.line(loss=Scaled()))
        return made[-1]

    done("sgd:lr=0.01", make)
    assert float(made[-1].loss.log.detach()) != 0.0


def test_an_optimizer_that_fails_at_finite_numbers_is_an_error_that_names_its_place(tmp_path):
    place = tmp_path / "broken.py"
    place.write_text(
        "import torch\nclass Broken(torch.optim.SGD):\n    def step(self):\n        raise KeyError('gone')\n"
    )
    with pytest.raises(TaskError, match=r"broken.py, line 4, in step: KeyError: 'gone'"):
        done(f"{place}:Broken(lr=0.1)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sdg:lr=0.1", "Did you mean sgd?"),
        ("nonsense", "is unknown. Pass one of: adadelta"),
        ("untunde", "Did you mean untuned?"),
        ("sgd:lrr=0.1", "has no setting 'lrr'. Did you mean lr?"),
        ("sgd:params=1", "has no setting 'params'"),
        ("sgd:lr=-1", "Invalid learning rate"),
        ("sgd:lr='a'", "TypeError"),
        ("sgd:lr", "setting 'lr' has no value"),
        ("adamw:betas=(0.9, 2.0)", "Invalid beta"),
        ("nonesuch_module:Foo(lr=1)", "cannot be imported"),
        ("torch.optim:Nope", "has no Nope"),
        ("torch.optim:SGD.Nope", "has no SGD.Nope"),
        ("math:pi", "a float, which is not called"),
        ("builtins:list", "without param_groups"),
        (f"{HERE}:Sign(beta=1)", "has no setting 'beta'"),
        ("run:epochs=3", "run has no setting 'epochs'"),
        ("run:lr=-1", "lr=-1 is not a positive finite number"),
        ("run:lr='a'", "right kind"),
        ("run:optimizer=adagrad", "unknown"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_there_is(text, said, tmp_path):
    from thetadot.comparing import compare

    with pytest.raises(InadmissibleValue) as told:
        compare(tasks.line, ["sgd:lr=0.1", text], seeds=1, epochs=1, out=tmp_path / "c")
    assert said in str(told.value)
    assert not (tmp_path / "c").exists()
