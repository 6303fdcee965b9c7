"""What does not fit is told before anything is measured, with the sample and the remedy; what fits is trained."""

import importlib

import pytest
import torch
from torch.utils.data import TensorDataset

import thetadot
from thetadot.errors import TaskError
from thetadot.training.data import Source
from thetadot.training.misfit import remarks_on_targets

misfits = importlib.import_module("training.misfits")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out_of_range", "sample 23, 7, in the training data .*classes are 0 to 1"),
        ("negative_in_validation", "sample 5, -1, in the validation data"),
        ("out_of_range_for_a_loss_of_ones_own", "sample 63, 2, in the training data"),
        ("ragged", r"of sample 41 the input is of shape \(3,\) and float32, of sample 0 of shape \(4,\)"),
        ("ragged_targets", "of sample 12 the target is of shape .* and float32, of sample 0 .* and int64"),
        ("narrow", r"does not take the samples: the input is of shape \(4,\) and float32.*first layer"),
        ("whole_numbers", r"does not take the samples: the input is of shape \(4,\) and int64.*convert the data"),
        ("outputs_of_another_shape", r"output is of shape \(2, 3\) and float32; the target is of shape \(2, 1\)"),
        ("broadcast", r"output is of shape \(2, 1\) and float32; the target is of shape \(2,\).*Using a target size"),
        ("classes_as_floats", r"the target is of shape \(2,\) and float32.*convert the target"),
        ("wide", r"the inputs are float64 and the model is float32.*x\.float\(\)"),
        ("one_sample_with_batch_norm", "a training set of one sample.*GroupNorm"),
        ("huge", "squares overflow in float32.*Multiply the loss by 1e-20"),
        ("tiny", "squares vanish in float32.*Multiply the loss by 1e[+]30"),
        ("constant", "every gradient is 0 at the first parameters, where the loss is 1.5"),
        ("infinite_slope", "its gradient is not finite, although all training data are finite"),
        ("loss_class", r"loss is the class CrossEntropyLoss.*Pass CrossEntropyLoss\(\)"),
        ("metric_class", r"metric is the class L1Loss.*Pass L1Loss\(\)"),
        ("model_class", "model is the class Linear"),
        ("nan", "sample 17 has NaN .* in the training data: 1 of 64 samples .* column 2.*leave these rows out"),
        ("infinite_target", "target of sample 5 .* in the validation data"),
        ("text", r"the inputs hold '(red|blue)'.*pandas.factorize"),
        ("rows_of_objects", "sample 0 of the training data holds 'red'.*pandas.get_dummies"),
        ("floats_for_classes", r"of shape \(2,\) and float32.*pass y\.long\(\)"),
        ("a_column_of_classes", r"pass y\.squeeze\(1\)"),
        ("whole_numbers_for_probabilities", r"pass y\.float\(\)"),
        ("one_dimension_too_few", r"pass y\.unsqueeze\(1\)"),
        ("a_flat_target", r"pass y\.unsqueeze\(1\)"),
        ("classes_from_one", "They are 1 to 2 here: pass y - 1"),
        ("no_probabilities", r"between 0 and 2.*outside of \[0, 1\]"),
    ],
)
def test_a_misfit_names_the_sample_and_the_remedy(tmp_path, name, said):
    with pytest.raises(TaskError, match=f"(?s){said}"):
        thetadot.run(getattr(misfits, name), out=tmp_path / "run", epochs=2)


def test_a_batch_of_one_beside_statistics_of_a_batch_is_refused_where_it_is_asked_for(tmp_path):
    with pytest.raises(TaskError, match=r"batch_size=1 does not do for this model.*BatchNorm"):
        thetadot.run(misfits.with_batch_norm, out=tmp_path / "run", epochs=1, batch_size=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["few_with_batch_norm", "ignored", "missing_values_that_the_model_knows"])
def test_what_fits_is_trained(tmp_path, name):
    assert thetadot.run(getattr(misfits, name), out=tmp_path / "run", epochs=2).record.result is not None


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (torch.ones(300).long(), "all 300 training targets are 1"),
        (torch.full((300, 1), 2.5), "all 300 training targets are 2.5"),
        ((torch.arange(300) == 7).long(), "class 1 has 1 of 300 training samples"),
    ],
)
def test_targets_that_tell_little_are_said(y, said):
    (remark,) = remarks_on_targets(Source(TensorDataset(torch.zeros(300, 2), y), 0, torch.device("cpu")))
    assert said in remark.says


@pytest.mark.parametrize("y", [torch.arange(300) % 3, torch.randn(300, 1), torch.arange(300), torch.rand(300) < 0.5])
def test_ordinary_targets_are_passed_over(y):
    assert not list(remarks_on_targets(Source(TensorDataset(torch.zeros(300, 2), y), 0, torch.device("cpu"))))


@pytest.mark.slow
def test_a_loss_of_any_unit_in_between_is_trained_as_well(tmp_path):
    came = [
        thetadot.run(lambda f=factor: misfits.scaled(f), out=tmp_path / f"{factor}", epochs=20).record.result
        for factor in (1e-9, 1.0, 1e9)
    ]
    assert not any(result.diverged for result in came)
    small, plain, large = (result.valid_loss / factor for result, factor in zip(came, (1e-9, 1.0, 1e9), strict=True))
    assert small == pytest.approx(plain, rel=0.02)
    assert large == pytest.approx(plain, rel=0.02)
