"""Training in these tests uses one thread, so that results are deterministic."""

import pytest


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")
    torch.set_num_threads(1)
