"""One thread: the tensors are small, and timings then do not depend on the neighbours."""

import hypothesis
import pytest
import torch
from hypothesis import settings

settings.register_profile(
    "patient", deadline=None
)  # a first step imports what torch loads lazily; neighbours take time
settings.load_profile("patient")

hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
