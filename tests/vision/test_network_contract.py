"""The contract that detectors, expression networks and translators share, run over all of them.

``tests/support/networks.py`` lists them. Each package's ``test_contract.py`` tests the remainder of
its own contract.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edge.errors import InferenceError, ModelError
from edge.vision import detect, expression, translate
from edge.vision.inference import Network, load_manifest
from edge.vision.values import Luma
from tests.support.model_folders import changed_copy, known_decoders
from tests.support.networks import DETECTORS, EXPRESSION_NETWORKS, TRANSLATORS

PACKAGES = {detect: DETECTORS, expression: EXPRESSION_NETWORKS, translate: TRANSLATORS}
CASES = [(package, case) for package, cases in PACKAGES.items() for case in cases]


@pytest.fixture(scope="module", params=CASES, ids=lambda each: each[1].name)
def package_and_case(request: pytest.FixtureRequest) -> tuple[ModuleType, Any]:
    chosen: tuple[ModuleType, Any] = request.param
    return chosen


@pytest.fixture(scope="module")
def case(package_and_case: tuple[ModuleType, Any]) -> Any:
    return package_and_case[1]


@pytest.fixture
def failing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run of a network fail from now on."""

    def fail(self: Network, batch: Luma) -> dict[str, Any]:
        raise InferenceError("network: output is not finite")

    monkeypatch.setattr(Network, "run", fail)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_list_has_every_decoder(package: ModuleType) -> None:
    cases = PACKAGES[package]
    missing = known_decoders(package) - {case.decoder for case in cases}
    assert not missing, f"{package.__name__}: add {missing} to tests/support/networks.py"


def test_manifest_names_the_decoder(case: Any, folder: Path) -> None:
    assert load_manifest(folder).decoder == case.decoder


def test_info_names_model_artifact_and_input_size(case: Any, folder: Path) -> None:
    info, manifest = case.open(folder).info, load_manifest(folder)
    assert (info.name, info.artifact) == (manifest.name, case.artifact)
    assert (info.width, info.height) == (manifest.input.width, manifest.input.height)


def test_golden_answer_is_that_of_the_manifest(case: Any, folder: Path) -> None:
    golden = case.open(folder).golden
    assert golden is not None
    assert golden == load_manifest(folder).golden


def test_failing_run_raises_inference_error(
    case: Any, folder: Path, request: pytest.FixtureRequest
) -> None:
    network = case.open(folder)
    request.getfixturevalue("failing_runs")
    with pytest.raises(InferenceError, match="not finite"):
        case.run(network)


@pytest.mark.usefixtures("failing_runs")
def test_network_that_fails_on_its_first_run_is_not_opened(case: Any, folder: Path) -> None:
    with pytest.raises(ModelError, match="model network: output is not finite"):
        case.open(folder)


def test_each_missing_output_is_named(case: Any, folder: Path, tmp_path: Path) -> None:
    for role in load_manifest(folder).outputs:
        copy = changed_copy(folder, tmp_path / role, lambda data, r=role: data["outputs"].pop(r))
        with pytest.raises(ModelError) as caught:
            case.open(copy)
        assert f"decoder {case.decoder!r} also needs {role};" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_unknown_decoder_is_refused_only_when_the_model_is_opened(
    package_and_case: tuple[ModuleType, Any], folder: Path, tmp_path: Path
) -> None:
    package, case = package_and_case

    def change(data: dict[str, Any]) -> None:
        first = next(iter(data["outputs"].values()))
        data.update(decoder="other", outputs={"something": first})

    copy = changed_copy(folder, tmp_path / "other", change)
    assert load_manifest(copy).decoder == "other"
    with pytest.raises(ModelError, match="decoder 'other' is unknown; expected") as caught:
        case.open(copy)
    assert "\n" not in str(caught.value)
    unnamed = [known for known in known_decoders(package) if known not in str(caught.value)]
    assert not unnamed, f"name {unnamed} in the unknown_decoder(...) of {package.__name__}"


def test_model_of_another_task_is_refused(case: Any, tmp_path: Path) -> None:
    for others in PACKAGES.values():
        other = others[0]
        if other.task != case.task:
            (tmp_path / other.name).mkdir()
            folder = other.make_folder(tmp_path / other.name)
            expected = f"made for {other.task}, configured for {case.task}"
            with pytest.raises(ModelError, match=expected):
                case.open(folder)


def test_nothing_is_printed(case: Any, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case.run(case.open(folder))
    assert capfd.readouterr() == ("", "")
