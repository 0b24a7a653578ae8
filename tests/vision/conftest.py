"""A fixture of the contract tests of networks; each module has a parameter ``case``."""

from pathlib import Path

import pytest

from tests.support.networks import NetworkCase


@pytest.fixture(scope="module")
def folder(case: NetworkCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's model folder; no test changes it."""
    return case.make_folder(tmp_path_factory.mktemp(case.name))
