"""One thread for LAPACK too: its matrices are small, and threads that wait for a busy core cost more than they give."""

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def _one_thread_of_lapack():
    with threadpool_limits(limits=1, user_api="blas"):
        yield
