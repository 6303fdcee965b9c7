"""Bad input gets one sentence and exit code 2: what came, what is admissible, what to do; and nothing is lost."""

import json
from pathlib import Path

import pytest
import torch

from thetadot.cli import main
from thetadot.core.files import sealed

TASKS = Path(__file__).parents[1] / "training" / "tasks.py"
RIGHT = ["run", f"{TASKS}:right", "--epochs", "1", "--threads", "1"]


def refused(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("thetadot: ")
    assert "Traceback" not in captured.err
    return last


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("absent", "has no function 'absent'"),
        ("loss_not_scalar", "not a scalar tensor"),
        ("loss_not_tensor", "type float, not a scalar tensor"),
        ("nan_in_data", "the input of sample 17 has NaN or infinite values in the training data"),
        ("nan_in_validation", "has NaN or infinite values in the validation data"),
        ("nan_at_a_step", "step"),
        ("empty", "train is empty"),
        ("returns_something_else", "returned a dict"),
        ("no_parameters", "no trainable parameter"),
        ("raises", "KeyError: 'missing'"),
        ("model_raises", "ValueError: wrong shape somewhere"),
        ("samples_of_one", "(input, target)"),
        ("loss_is_a_sum", "it is a sum"),
        ("broadcasts", "Using a target size"),
        ("arrays", "TensorDataset(inputs, targets)"),
        ("needs_an_argument", "cannot be called without arguments"),
    ],
)
def test_wrong_task(capsys, tmp_path, function, said):
    message = refused(capsys, "run", f"{TASKS}:{function}", "--out", tmp_path / "run", "--epochs", 8, "--threads", 1)
    assert said in message


@pytest.mark.parametrize("function", ["raises", "model_raises"])
def test_users_exception_names_their_file_and_line(capsys, tmp_path, function):
    message = refused(capsys, "run", f"{TASKS}:{function}", "--out", tmp_path / "run")
    lines = TASKS.read_text().splitlines()
    number = int(message.split("line ")[1].split(",")[0])
    assert str(TASKS) in message
    assert "missing" in lines[number - 1] or "wrong shape" in lines[number - 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--lr", "nan"], "lr=nan is not a positive finite number"),
        (["--lr", "-0.1"], "lr=-0.1"),
        (["--momentum", "1"], "momentum=1 is outside [0, 1)"),
        (["--momentum", "1.2"], "momentum=1.2 is outside [0, 1)"),
        (["--epochs", "-3"], "epochs=-3 is below 1"),
        (["--epochs", "many"], "invalid int value"),
        (["--batch-size", "0"], "batch_size=0 is below 1"),
        (["--batch-size", "65"], "larger than the training data (64 samples)"),
        (["--optimizer", "adagrad"], "unknown"),
        (["--annealing", "steps"], "unknown"),
        (["--prefer", "speed"], "unknown"),
        (["--prefer", "wall", "--batch-size", "8"], "Pass one of them"),
        (["--minutes", "0"], "minutes=0"),
        (["--seed", "-1"], "seed=-1"),
        (["--workers", "-1"], "workers=-1"),
        (["--threads", "0"], "threads=0"),
        (["--device", "abacus"], "cannot be used here"),
        (["--colour", "red"], "unrecognized arguments"),
    ],
)
def test_wrong_option(capsys, tmp_path, options, said):
    assert said in refused(capsys, *RIGHT, "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_unknown_task_lists_the_known(capsys):
    assert "Pass one of: digits" in refused(capsys, "run", "digit")


def test_absent_file(capsys):
    assert "there is no file" in refused(capsys, "run", "nowhere.py:task")


def test_a_file_without_a_function_is_told_how_to_name_one(capsys):
    assert "Pass mine.py:FUNCTION" in refused(capsys, "run", "mine.py")


def test_a_file_that_is_no_python_names_file_and_line(capsys, tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\ndef make(:\n")
    said = refused(capsys, "run", f"{tmp_path / 'mine.py'}:make")
    assert said.startswith(f"thetadot: {tmp_path / 'mine.py'}, line 2: SyntaxError: ")


def test_unknown_command(capsys):
    assert "invalid choice: 'train'" in refused(capsys, "train")


def test_folder_that_holds_a_run_is_left_as_it_is(capsys, tmp_path):
    assert main([*RIGHT, "--out", str(tmp_path / "run")]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert "already holds a run" in refused(capsys, *RIGHT, "--out", tmp_path / "run")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_unwritable_out(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(capsys, *RIGHT, "--out", tmp_path / "file" / "run")


def test_absent_resume_folder(capsys, tmp_path):
    assert "holds no run" in refused(capsys, "run", "--resume", tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_corrupt_checkpoint(capsys, tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    assert "has no digest" in refused(capsys, "run", "--resume", tmp_path)


def test_foreign_checkpoint(capsys, tmp_path):
    with sealed(tmp_path / "checkpoint.pt") as stream:
        torch.save({"model": {}}, stream)
    assert "not a thetadot checkpoint" in refused(capsys, "run", "--resume", tmp_path)


def test_hostile_checkpoint_runs_no_code(capsys, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    with sealed(tmp_path / "checkpoint.pt") as stream:
        torch.save({"format": "thetadot.checkpoint", "x": Hostile()}, stream)
    assert "not a checkpoint that can be read" in refused(capsys, "run", "--resume", tmp_path)
    assert not (tmp_path / "owned").exists()


def test_resume_repeats_or_contradicts(capsys, tmp_path):
    run = tmp_path / "run"
    assert main([*RIGHT, "--out", str(run)]) == 0
    assert main(["run", "--resume", str(run), "--epochs", "1"]) == 0
    assert "begun with epochs=1, not 2" in refused(capsys, "run", "--resume", run, "--epochs", 2)
    assert "begun with task" in refused(capsys, "run", "digits", "--resume", run)


def test_data_at_fault_names_the_step_and_keeps_the_last_good_state(capsys, tmp_path):
    message = refused(capsys, "run", f"{TASKS}:nan_at_a_step", "--out", tmp_path / "run", "--epochs", 8, "--threads", 1)
    assert "step " in message
    assert "samples" in message
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert all(torch.isfinite(v).all() for v in saved["loop"]["now"]["model"].values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--lr", "0", "--to-lr", "0.1"], "lr=0"),
        (["--lr", "0.1", "--to-lr", "0"], "to_lr=0"),
        (["--lr", "nan", "--to-lr", "0.1"], "lr=nan"),
        (["--lr", "0.1", "--momentum", "1", "--to-lr", "0.1"], "momentum=1"),
        (["--lr", "0.1", "--to-batch-size", "-4"], "to_batch_size=-4"),
        (["--lr", "0.1"], "required"),
        (["--to-lr", "1"], "--lr missing"),
        (["--lr", "0.1", "--to-epochs", "3"], "epochs"),
        (["--lr", "0.1", "--to-lr", "1", "--optimizer", "adan"], "heavy-ball, nesterov, adam, adamw"),
        (["--lr", "0.1", "--to-lr", "1", "--beta2", "0.9"], "sgd does not have"),
        (["--lr", "0.1", "--to-lr", "1", "--decay-mode", "both"], "coupled (l2) or decoupled"),
        (["--lr", "0.1", "--to-lr", "1", "--noise-scale", "-1"], "noise_scale=-1"),
        (["--lr", "0.1", "--to-lr", "1", "--from", "nowhere"], "nowhere"),
        (["--lr", "0.1", "--to-weight-decay", "-1"], "to_weight_decay=-1"),
        (["--lr", "0.1", "--to-lr", "1", "--optimizer", "amos", "--weight-decay", "1", "--momentum", "0"], "amos"),
        (["--lr", "0.1", "--to-lr", "1", "--sharpness", "0"], "sharpness=0"),
        (["--lr", "1e300", "--to-lr", "1e-300"], "a ratio of 0"),
    ],
)
def test_convert_refuses(capsys, options, said):
    base = ["convert", "--batch-size", "32"] + ([] if "--momentum" in options else ["--momentum", "0.9"])
    assert said in refused(capsys, *base, *options)


def test_json_is_one_object_on_the_last_line(capsys, tmp_path):
    assert main([*RIGHT, "--out", str(tmp_path / "run"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    wanted = (
        "task seed epochs steps seconds optimizer lr momentum batch_size train_loss valid_loss best_valid_loss "
        "best_epoch metric sharpness noise_scale temperature diverged out"
    )
    assert set(wanted.split()) <= set(said)
    assert said["epochs"] == 1
    assert said["diverged"] is False
    assert said["metric"] >= 0
