"""Oracles: invariants that rules name, read off settings; round trips; what may be recommended on what is known."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.cli import main
from thetadot.cli.actions.recorded import settings_from
from thetadot.dictionary.optimizers import OPTIMIZERS
from thetadot.errors import InadmissibleValue
from thetadot.records import SCHEMA, UNITS, VERSION, Curvature, End, Header, Motion, Noise, Setting, Watched, Writer
from thetadot.translation import convert, to_physical, twins

BALL = {"optimizer": "heavy-ball", "lr": 0.1, "momentum": 0.9, "batch_size": 128}
ADAMW = {"optimizer": "adamw", "lr": 1e-3, "batch_size": 128, "weight_decay": 0.1}
RATIO = st.floats(0.2, 5.0)
KEEPS_HEAT = {
    "sgd": ("linear", "Smith", "same motion", "temperature by momentum"),
    "adaptive": ("Malladi", "square root"),
    "spectral": ("square root",),
}


def named(found):
    return {row.rule: row for row in found.rows}


def given_of(name, **more):
    kind = OPTIMIZERS[name]
    decay = {"weight_decay": 0.01} if kind.decoupled is not None else {}
    return {"optimizer": name, "lr": 0.003, "batch_size": 512, "epochs": 12, "dataset_size": 500_000, **decay, **more}


def again(row, name, present):
    """A row's settings, as a present to convert from."""
    kind = OPTIMIZERS[name]
    found = {"optimizer": name, "lr": row.lr, "batch_size": row.batch_size, "dataset_size": 500_000}
    found |= {
        key: getattr(row, key)
        for key in ("momentum", "beta2", "eps")
        if getattr(kind, key) is not None and getattr(row, key) is not None
    }
    found |= {"epochs": row.epochs} if row.epochs is not None else {}
    return found | ({"weight_decay": row.weight_decay} if "weight_decay" in present else {})


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(ratio=RATIO)
@settings(deadline=None, max_examples=15)
def test_there_and_back_is_nowhere(name, ratio):
    present = given_of(name)
    for back, target in (("to_batch_size", 512 * ratio), ("to_lr", 0.003 * ratio)):
        start = {"to_batch_size": 512, "to_lr": 0.003}[back]
        for row in convert(**present, **{back: target}, noise_scale=1e6).rows:
            one_way = row.rule in ("Seesaw", "nothing else")
            if row.standing != "usable" or one_way or row.about == "length":
                continue
            home = named(convert(**again(row, name, present), **{back: start}, noise_scale=1e6))[row.rule]
            assert home.lr == pytest.approx(0.003, rel=1e-6), row.rule
            assert home.batch_size == pytest.approx(512, rel=1e-6), row.rule
            if row.momentum is not None:
                assert 1 - home.momentum == pytest.approx(1 - (OPTIMIZERS[name].momentum or 0.0), rel=1e-6), row.rule
            if row.beta2 is not None:
                assert home.beta2 == pytest.approx(OPTIMIZERS[name].beta2, rel=1e-9), row.rule
            if row.rule != "Marek":  # which leaves it
                assert home.weight_decay == pytest.approx(present.get("weight_decay", 0.0), rel=1e-6), row.rule


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(ratio=RATIO, lr_ratio=st.none() | RATIO)
@settings(deadline=None, max_examples=25)
def test_what_a_row_says_it_keeps_is_kept(name, ratio, lr_ratio):
    kind, present = OPTIMIZERS[name], given_of(name)
    more = {} if lr_ratio is None else {"to_lr": 0.003 * lr_ratio}
    before = convert(**present, to_batch_size=512).present
    for row in convert(**present, to_batch_size=512 * ratio, noise_scale=1e6, **more).rows:
        if row.standing == "outside" or row.lr is None or not 0 <= (row.momentum or 0) < 1:
            continue
        if row.rule in KEEPS_HEAT[kind.family]:
            assert row.temperature_factor == pytest.approx(1.0, rel=1e-6), row.rule
        if "friction" in row.keeps:
            assert row.friction == pytest.approx(before.friction, rel=1e-6), row.rule
        if row.rule == "Marek":
            assert row.batch_size / math.log(row.beta2) == pytest.approx(512 / math.log(kind.beta2))
        lr_rows = row.about == "lr" and row.rule != "nothing else"
        if "weight_decay" in present and (lr_rows or row.rule == "constant decay time"):
            assert row.decay_factor == pytest.approx(1.0, rel=1e-9), row.rule


@pytest.mark.parametrize("name", ["adamw", "heavy-ball", "sgd", "muon", "sign"])
def test_the_kept_decay_time_is_that_of_the_twins(name):
    present = given_of(name)
    old = twins(**present)
    row = named(convert(**present, to_batch_size=2048, to_lr=0.004, to_epochs=24))["constant decay time"]
    assert twins(**again(row, name, present)).decay_epochs == pytest.approx(old.decay_epochs)
    share = named(convert(**present, to_batch_size=2048, to_epochs=24))["constant share of the run"]
    assert twins(**again(share, name, present)).run_decays == pytest.approx(old.run_decays)


@pytest.mark.parametrize("present", [BALL | {"weight_decay": 0.01}, ADAMW, ADAMW | {"optimizer": "adam"}])
def test_what_keeps_the_temperature_leaves_coupled_decay_and_the_linear_rule_any(present):
    rows = named(convert(**present, to_batch_size=512, noise_scale=1e6))
    if present is not ADAMW:
        rule = "linear" if present["optimizer"] == "heavy-ball" else "square root"
        assert rows[rule].weight_decay == pytest.approx(present["weight_decay"])
    else:  # αw ∝ B
        assert rows["square root"].weight_decay == pytest.approx(0.2)


def test_a_changed_decay_time_can_be_made_up_by_lr():
    row = named(convert(**ADAMW, to_weight_decay=0.05))["decay time by lr"]
    assert (row.lr, row.weight_decay, row.decay_factor) == (pytest.approx(2e-3), 0.05, 1.0)


@given(ratio=st.floats(0.05, 0.95))
@settings(deadline=None)
def test_seesaw_has_temperature_and_progress_of_the_cut_that_it_stands_for(ratio):
    adam = named(convert(**ADAMW, to_lr=1e-3 * ratio))
    assert adam["Seesaw"].temperature_factor == pytest.approx(adam["nothing else"].temperature_factor)
    assert adam["Seesaw"].lr == pytest.approx(1e-3 * math.sqrt(ratio))
    assert adam["Seesaw"].batch_size == pytest.approx(128 / ratio)
    ball = named(convert(**BALL, to_lr=0.1 * ratio))
    assert ball["Seesaw"].lr == 0.1
    assert ball["Seesaw"].temperature_factor == pytest.approx(ball["nothing else"].temperature_factor)


def test_a_halved_lr_is_divided_by_the_root_of_two_and_the_batch_doubled():
    row = named(convert(**ADAMW, to_lr=5e-4))["Seesaw"]
    assert (row.lr, row.batch_size) == (pytest.approx(1e-3 / math.sqrt(2)), pytest.approx(256))


def test_a_run_four_times_as_long_has_half_the_lr_by_the_convex_rate():
    rows = named(convert(**ADAMW, epochs=10, to_epochs=40))
    assert rows["convex rate"].lr == pytest.approx(5e-4)
    assert rows["Bjorck"].lr == pytest.approx(1e-3 * 4**-0.3)


@pytest.mark.parametrize("present", [BALL, ADAMW])
@given(ratio=RATIO)
@settings(deadline=None, max_examples=20)
def test_an_lr_and_the_batch_that_a_rule_gives_for_it_belong_together(present, ratio):
    for row in convert(**present, to_lr=present["lr"] * ratio, noise_scale=1e4).rows:
        if row.standing != "usable" or row.batch_size == 128 or row.rule == "Seesaw":
            continue
        assert row.lr == pytest.approx(present["lr"] * ratio)
        there = named(convert(**present, to_batch_size=row.batch_size, noise_scale=1e4))[row.rule]
        assert there.lr == pytest.approx(row.lr, rel=1e-6)
        both = named(convert(**present, to_batch_size=row.batch_size, to_lr=there.lr, noise_scale=1e4))[row.rule]
        assert both.standing == "usable"


def test_what_is_asked_for_is_fixed_and_a_rule_says_what_it_asks_instead():
    rows = named(convert(**BALL, to_batch_size=512, to_lr=0.1, to_weight_decay=0.3))
    assert rows["linear"].standing == "contradicts"
    assert "asks for lr 0.4" in rows["linear"].verdict
    assert all(row.weight_decay == 0.3 for row in rows.values() if row.lr is not None)
    assert rows["temperature by momentum"].momentum == pytest.approx(0.975)


# What is recommended.


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("target", [{"to_batch_size": 1024}, {"to_lr": 0.001}, {"to_batch_size": 1024, "to_lr": 0.006}])
def test_nothing_is_recommended_where_the_noise_is_not_known_and_how_to_measure_it_is_said(name, target):
    found = convert(**given_of(name), **target)
    assert not found.recommended
    assert "--noise-scale" in found.advice
    assert "--from" in found.advice
    bound = convert(**given_of(name), **target, noise_scale=300.0, noise_resolved=False)
    assert not bound.recommended
    assert "at least 300" in bound.advice


@pytest.mark.parametrize(
    ("present", "noise", "rule"),
    [
        (BALL, 1e5, "linear"),
        (BALL, 300.0, "McCandlish"),
        (BALL, 20.0, "McCandlish"),
        (ADAMW, 1e5, "Malladi"),
        (ADAMW, 300.0, "mean field"),
        ({"optimizer": "sign", "lr": 1e-3, "batch_size": 128}, 1e5, "square root"),
        ({"optimizer": "muon", "lr": 1e-3, "batch_size": 128}, 1e5, "square root"),
        ({"optimizer": "muon", "lr": 1e-3, "batch_size": 128}, 300.0, "Muon"),
    ],
)
def test_the_noise_scale_says_which_rule_holds(present, noise, rule):
    found = convert(**present, to_batch_size=512, noise_scale=noise)
    assert found.recommended[0].rule == rule
    assert "noise scale is" in found.advice


def test_a_lower_bound_tells_that_noise_limits_the_step():
    assert convert(**BALL, to_batch_size=512, noise_scale=1e4, noise_resolved=False).recommended[0].rule == "linear"


def test_what_is_vetoed_or_outside_is_not_recommended():
    assert convert(**BALL, to_batch_size=1024, noise_scale=1e5, sharpness=12).recommended[0].rule == "Smith"
    beside = [row.rule for row in convert(**ADAMW, to_batch_size=2048, noise_scale=1e5).recommended]
    assert beside == ["square root", "Marek"]  # 16·(1-β₁) is above 1
    shuffled = convert(**BALL | {"batch_size": 32}, to_batch_size=256, noise_scale=1e5, dataset_size=1024)
    assert not shuffled.recommended


@pytest.mark.parametrize("name", ["sgd", "heavy-ball", "nesterov", "adam", "adamw", "rmsprop"])
def test_the_veto_is_the_optimizers_own_limit(name):
    from thetadot.analysis import adaptive_stability_limit, stability_limit

    beta = OPTIMIZERS[name].momentum
    limit = (
        adaptive_stability_limit(beta)
        if name in ("adam", "adamw")
        else stability_limit(beta, float(name == "nesterov"))
    )
    for share, standing in ((0.99, "usable"), (1.01, "vetoed")):
        given = {"optimizer": name, "lr": 0.01, "batch_size": 64, "sharpness": share * limit / 0.01}
        assert named(convert(**given, to_batch_size=128))["nothing else"].standing == standing


# Hostile values, and the record.

ANY = st.one_of(st.floats(), st.integers(), st.text(max_size=3), st.none(), st.booleans(), st.just([1.0]))


@given(
    st.sampled_from([*OPTIMIZERS]),
    st.dictionaries(
        st.sampled_from(
            ["lr", "batch_size", "momentum", "beta2", "eps", "weight_decay", "epochs", "dataset_size", "noise_scale",
             "sharpness", "to_lr", "to_batch_size", "to_epochs", "to_weight_decay", "decoupled"]
        ),
        ANY | st.floats(1e-3, 1e3),
    ),
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_whatever_the_values_the_answer_is_admissible_or_one_error(name, more):
    try:
        found = convert(**{"optimizer": name, "lr": 0.1, "batch_size": 8, "to_batch_size": 16, **more})
    except InadmissibleValue as error:
        assert ". " in str(error)  # noqa: PT017 - what to do comes after what came
        return
    for row in found.recommended:
        assert 0 < row.lr < math.inf
        assert 1 <= row.batch_size < math.inf
        assert row.momentum is None or 0 <= row.momentum < 1


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("lr", [1e-300, 1e300])
@pytest.mark.parametrize("decay", [5e-324, 1e-300, 1e200])
@pytest.mark.parametrize("target", [{"to_batch_size": 2.0}, {"to_epochs": 3.0}, {"to_lr_ratio": 1e-9}])
def test_products_that_are_no_numbers_end_no_answer(name, lr, decay, target):
    more = {"weight_decay": decay} if OPTIMIZERS[name].decoupled is not None else {}
    change = {"to_lr": lr * target["to_lr_ratio"]} if "to_lr_ratio" in target else target
    if change.get("to_lr", lr) < 1e-300:
        change = {"to_lr": lr * 10}
    found = convert(name, lr=lr, batch_size=8, epochs=1.0, dataset_size=100, **more, **change)
    assert found.rows


def test_numbers_of_other_libraries_are_numbers():
    import numpy as np
    import torch

    for kind in (np.float64, torch.tensor):
        given = {name: kind(value) for name, value in ADAMW.items() if name != "optimizer"}
        more = {
            "to_batch_size": kind(512.0),
            "to_lr": kind(2e-3),
            "noise_scale": kind(1e5),
            "to_weight_decay": kind(0.2),
        }
        found = convert("adamw", **given, **more)
        wanted = convert(**ADAMW, to_batch_size=512, to_lr=2e-3, noise_scale=1e5, to_weight_decay=0.2)
        assert [row.verdict for row in found.rows] == [row.verdict for row in wanted.rows]
        assert [row.lr for row in found.rows] == pytest.approx([row.lr for row in wanted.rows], rel=1e-6)


def test_nothing_to_change_is_refused():
    with pytest.raises(InadmissibleValue, match="one of --to-lr, --to-batch-size, --to-epochs or --to-weight-decay"):
        convert(lr=0.1, batch_size=8)
    with pytest.raises(InadmissibleValue, match="Pass epochs too"):
        convert(lr=0.1, batch_size=8, to_epochs=3)
    with pytest.raises(InadmissibleValue, match="makes of its lr"):
        convert("amos", lr=0.1, batch_size=8, to_weight_decay=0.1)
    with pytest.raises(InadmissibleValue, match="no linear stability limit"):
        convert("muon", lr=0.1, batch_size=8, to_lr=0.2, sharpness=1.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_command_says_what_the_function_says(capsys, name):
    given = [
        "--optimizer",
        name,
        "--lr",
        "0.01",
        "--batch-size",
        "64",
        "--to-batch-size",
        "256",
        "--noise-scale",
        "1e4",
    ]
    assert main(["convert", *given, "--json"]) == 0
    said = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    found = convert(name, lr=0.01, batch_size=64, to_batch_size=256, noise_scale=1e4)
    assert [row["rule"] for row in said["rows"] if row["recommended"]] == [row.rule for row in found.recommended]
    assert said["present"]["lr"] == 0.01
    assert main(["convert", *given]) == 0
    assert "recommended" in capsys.readouterr().out


def test_the_clock_of_the_present_is_the_articles():
    found = convert(**BALL, to_lr=0.01).twins
    assert (found.step, found.friction) == pytest.approx(to_physical(0.1, 0.9))


# A recorded run.


def recorded(folder, *, optimizer="SGD", resolved: bool | None = True, limit=38.0, settings=None):
    watched = Watched(optimizer, "default", "256 samples", 256)
    head = Header(SCHEMA, VERSION, "t", 0, 100, 60_000, None, 30, "cpu", 1, {}, dict(UNITS), watched=watched)
    with Writer(folder / "record.jsonl") as writer:
        writer.write(head)
        if settings:
            writer.write(Setting(0, 0, 10, settings))
        for step in range(20):
            writer.write(Motion(step, None, 2.0, 0.1, 0.9, 64, 0.3, 0.4, None, 0.3, 1e-3, None, None, 8.0))
        for step in (0, 10, 19) if resolved is not None else ():
            writer.write(Noise("training", step, 900.0, 1.0, 900.0, 800.0, 1000.0, resolved, 64, 0.0))
        writer.write(Curvature("training", 19, 5.0, 0.0, limit, 256, 0.0))
        writer.write(End(20, "closed", 1.0, 40.0))
    return folder


def test_a_record_gives_settings_noise_and_sharpness(tmp_path):
    found, _ = settings_from(str(recorded(tmp_path)), None)
    wanted = {"lr": 0.1, "batch_size": 64, "momentum": 0.9, "noise_scale": 900.0, "epochs": 30.0}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert (found["optimizer"], found["sharpness"]) == ("sgd", 5.0)


def test_the_command_recommends_by_a_record_and_options_stand_above_it(tmp_path, capsys):
    folder = str(recorded(tmp_path))
    assert main(["convert", "--from", folder, "--to-batch-size", "256", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = {row["rule"]: row for row in said["rows"]}
    assert rows["linear"]["recommended"]
    assert rows["linear"]["lr"] == pytest.approx(0.4)
    assert "900 samples" in said["advice"]
    assert main(["convert", "--from", folder, "--lr", "0.2", "--to-batch-size", "256", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["present"]["lr"] == 0.2


def test_of_an_unresolved_noise_scale_the_record_is_a_bound(tmp_path, capsys):
    folder = str(recorded(tmp_path, resolved=False))
    assert main(["convert", "--from", folder, "--to-batch-size", "4096"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "at least 900 samples" in said
    assert "recommended:" not in said


def test_a_record_without_noise_says_so(tmp_path, capsys):
    folder = str(recorded(tmp_path, resolved=None))
    assert main(["convert", "--from", folder, "--to-batch-size", "256", "--json"]) == 0
    advice = json.loads(capsys.readouterr().out)["advice"]
    assert advice.startswith(f"{folder} records no noise scale (none was measured).")
    assert "critical_batch" in advice
    assert main(["convert", "--from", folder, "--to-batch-size", "256", "--noise-scale", "900", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["advice"].startswith("The noise scale is 900")


def test_a_record_of_adam_has_its_squares_and_its_decay(tmp_path):
    given = {"betas[1]": 0.95, "eps": 1e-6, "weight_decay": 0.2, "decoupled_weight_decay": True}
    found, _ = settings_from(str(recorded(tmp_path, optimizer="AdamW", limit=380.0, settings=given)), None)
    assert (found["optimizer"], found["beta2"], found["eps"]) == ("adamw", 0.95, 1e-6)
    assert (found["weight_decay"], found["decoupled"]) == (0.2, True)


def test_a_record_of_another_optimizer_asks_for_the_one_that_it_resembles(tmp_path, capsys):
    folder = str(recorded(tmp_path, optimizer="Shampoo"))
    assert main(["convert", "--from", folder, "--to-batch-size", "256"]) == 2
    assert "by --optimizer" in capsys.readouterr().err
    assert main(["convert", "--from", folder, "--optimizer", "sgd", "--to-batch-size", "256"]) == 0
