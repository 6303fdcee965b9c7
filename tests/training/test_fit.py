"""What does not fit is told before anything is measured, with the sample and the remedy; what fits is trained."""

import importlib

import pytest

import thetadot
from thetadot.errors import TaskError

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
    ],
)
def test_a_misfit_names_the_sample_and_the_remedy(tmp_path, name, said):
    with pytest.raises(TaskError, match=f"(?s){said}"):
        thetadot.run(getattr(misfits, name), out=tmp_path / "run", epochs=2)


def test_a_batch_of_one_beside_statistics_of_a_batch_is_refused_where_it_is_asked_for(tmp_path):
    with pytest.raises(TaskError, match=r"batch_size=1 does not do for this model.*BatchNorm"):
        thetadot.run(misfits.with_batch_norm, out=tmp_path / "run", epochs=1, batch_size=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["few_with_batch_norm", "ignored"])
def test_what_fits_is_trained(tmp_path, name):
    assert thetadot.run(getattr(misfits, name), out=tmp_path / "run", epochs=2).record.result is not None


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
