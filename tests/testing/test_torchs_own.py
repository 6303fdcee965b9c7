"""torch's own optimizers keep the contract but for differences that are pinned here by name."""

import functools

import pytest
import torch

from thetadot.testing import Traits, check_optimizer, laws

COMMON = {
    "a_group_is_checked_before_it_is_added": "torch checks its defaults, not a group's own settings",
    "hyperparameters_that_are_not_finite_are_refused": "nan and inf are not below zero",
    "reordered_parameters_find_their_state_by_name": "torch loads by position",
    "other_names_are_refused": "torch loads by position",
    "state_of_another_shape_is_refused": "torch looks at no shapes",
    "state_of_another_optimizer_is_refused": "torch looks at no variables",
    "inadmissible_settings_in_a_state_dict_are_refused": "torch takes them as they are",
    "loaded_state_is_not_shared": "torch copies groups, not state",
    "bfloat16_parameters_take_small_steps": "torch rounds to the nearest",
}
FLOAT16 = {"float16_parameters_take_small_steps": "torch rounds to the nearest"}
SPARSE = {"a_sparse_gradient_is_one_clear_error": "parameters before it have begun their state"}
SINGLE = {"a_differentiable_step_is_the_step": "torch counts steps in float32, and rounds differently then"}
LATE = {"a_group_added_in_mid_run_starts_from_there": "state is begun when it is built, of no later group"}
OWN = {
    "SGD": (
        functools.partial(torch.optim.SGD, momentum=0.9),
        Traits(momentum=True, differentiable=True),
        {
            "a_sparse_gradient_is_one_clear_error": "it is taken, and densifies",
            "steps_are_differentiated_in_the_start": "the first momentum buffer is detached",
            "steps_are_differentiated_in_lr": "parameters are written over in place",
        },
    ),
    "Adam": (torch.optim.Adam, Traits(differentiable=True), FLOAT16 | SPARSE | SINGLE),
    "AdamW": (torch.optim.AdamW, Traits(differentiable=True), FLOAT16 | SPARSE | SINGLE),
    "RMSprop": (
        functools.partial(torch.optim.RMSprop, momentum=0.9),
        Traits(momentum=True, differentiable=True),
        SPARSE | {"steps_are_differentiated_in_lr": "alpha must be a number"},
    ),
    "Adagrad": (
        torch.optim.Adagrad,
        Traits(differentiable=True, sparse=True),
        FLOAT16
        | (LATE if torch.__version__ < "2.12" else {})
        | {
            "without_gradient_nothing_moves": "state is begun when it is built",
            "steps_are_differentiated_in_lr": "value must be a number",
        },
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_torchs_own_differ_where_it_is_known(name):
    build, traits, known = OWN[name]
    findings = check_optimizer(
        build, traits=traits, known=COMMON | known, among=[law for law in laws() if not law.slow]
    )
    assert sum(finding.verdict == "holds" for finding in findings) >= 40
