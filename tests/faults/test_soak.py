"""The soak itself, for a minute: faults of random kinds, nothing lost, nothing twice."""

import pytest

from tests.support.soak import report, running_soak

pytestmark = [pytest.mark.stage, pytest.mark.timeout(600)]


def test_a_minute_with_faults_loses_nothing() -> None:
    with running_soak(60.0, seed=3, database=None) as soak:
        soak.run(60.0, fault_every_s=1.5)
        found = report(soak)
    assert found["ended_by_themselves"] == []
    assert sum(found["faults"].values()) > 5
    for each in found["logs"].values():
        assert each["stored"] > 1000  # some 7000 on a machine that keeps up
        assert (each["missing"], each["twice"], each["gaps"]) == (0, 0, [])
