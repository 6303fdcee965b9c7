"""One thread: the tensors are small, and timings then do not depend on the neighbours."""

import signal

import pytest
import torch
from hypothesis import settings

# a first step imports what torch loads lazily; neighbours take time
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _signals_as_in_a_terminal():
    """A shell that starts a job behind nohup or in the background has some ignored, which tests of them cannot see."""
    usual = {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, usual[number]) for number in usual if ignored(number)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ignored(number):
    return signal.getsignal(number) is signal.SIG_IGN
