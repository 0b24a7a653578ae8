"""Opens networks: chooses artifact and number of threads, and verifies what was loaded."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from edge.clock import day, wall_ns
from edge.errors import InferenceError, ModelError
from edge.vision.inference import choice
from edge.vision.inference.folders import PARITY_FAILED, find_model, load_manifest, read_artifact
from edge.vision.inference.manifest import Artifact, Manifest, Task
from edge.vision.inference.network import Network
from edge.vision.inference.runtimes import Session, open_session, runtime_installed
from edge.vision.inference.threads import ONE_THREAD, MostThreads, Threads


def open_network(
    name: str | Path,
    *,
    task: Task,
    artifact: str = "auto",
    threads: Threads = 1,
    most_threads: MostThreads = ONE_THREAD,
    state_dir: Path | None = None,
) -> Network:
    """Return the verified network of a bundled model or a model folder, ready to run.

    Args:
        name: name of a bundled model, or the path of a model folder.
        task: the task that its manifest must state.
        artifact: a file name in the folder, or ``auto``: the fastest on this machine among those
            that passed parity and whose runtime is installed (``edge.vision.inference.choice``).
        threads: threads the runtime may use for one run, or ``auto``: as many of
            ``most_threads`` as make a run faster on this machine.
        most_threads: for ``auto``.
        state_dir: folder where the choices are recorded; None: the user's cache folder.

    Raises:
        ModelError: the folder, manifest, hash, parity, runtime, inputs or outputs are wrong.
    """
    folder = find_model(name)
    manifest = load_manifest(folder)
    if manifest.task != task:
        raise ModelError(f"model {manifest.name}: made for {manifest.task}, configured for {task}")
    number = 1 if threads == "auto" else threads
    most = most_threads.of_task(task) if threads == "auto" else 1
    if artifact != "auto":
        chosen = _select_artifact(manifest, artifact)
    else:
        chosen = _fastest_artifact(folder, manifest, number, state_dir)
    if most > 1:
        number = _best_threads(folder, manifest, chosen, most, state_dir)
    return load_artifact(folder, manifest, chosen, number)


def _fastest_artifact(
    folder: Path, manifest: Manifest, threads: int, state_dir: Path | None
) -> Artifact:
    """Return the artifact that ``auto`` chooses, after a measurement if there was none yet."""
    candidates = _candidates(manifest)
    if len(candidates) == 1:
        return candidates[0]
    known = _known_artifact(candidates, threads, state_dir)
    if known is None:
        networks = [load_artifact(folder, manifest, each, threads) for each in candidates]
        # measuring has a time limit: the artifacts that are probably the fastest come first
        order = sorted(networks, key=lambda network: network.info.precision != "int8")
        took = _measured({network.info.artifact: network for network in order})
        files = [each.file for each in candidates if each.file in took]
        run_ms = {file: took[file].processor_ms for file in files}
        known = choice.Choice(choice.fastest(run_ms), run_ms, day(wall_ns()))
        choice.save_choice(choice.artifact_key(candidates, threads), state_dir, known)
    return _select_artifact(manifest, known.chosen)


def _best_threads(
    folder: Path, manifest: Manifest, artifact: Artifact, most: int, state_dir: Path | None
) -> int:
    """Return the number of threads that ``auto`` chooses, after a measurement if needed."""
    known = _known_threads(artifact, most, state_dir)
    if known is None:
        numbers = range(1, most + 1)
        took = _measured({n: load_artifact(folder, manifest, artifact, n) for n in numbers})
        passed_ms = {str(number): each.passed_ms for number, each in took.items()}
        known = choice.Choice(str(choice.best_threads(took)), passed_ms, day(wall_ns()))
        choice.save_choice(choice.threads_key(artifact, most), state_dir, known)
    return int(known.chosen)


def _known_artifact(
    candidates: Sequence[Artifact], threads: int, state_dir: Path | None
) -> choice.Choice | None:
    key = choice.artifact_key(candidates, threads)
    return choice.load_choice(key, state_dir, [each.file for each in candidates])


def _known_threads(artifact: Artifact, most: int, state_dir: Path | None) -> choice.Choice | None:
    key = choice.threads_key(artifact, most)
    return choice.load_choice(key, state_dir, [str(each) for each in range(1, most + 1)])


def _measured(networks: Mapping[choice.Key, Network]) -> dict[choice.Key, choice.Took]:
    # as the daemon runs them for each frame: with quantisation and dequantisation
    info = next(iter(networks.values())).info
    picture = np.zeros((1, info.height, info.width), np.uint8)
    try:
        return choice.measure(
            {name: partial(network.run, picture) for name, network in networks.items()}
        )
    except InferenceError as error:
        raise ModelError(f"model {error}") from error


class NetworkConfig(Protocol):
    """The keys that the configurations of all networks share."""

    @property
    def model(self) -> str:
        """Name of a bundled model, or path of a model folder."""

    @property
    def artifact(self) -> str:
        """A file of the folder, or ``auto``."""

    @property
    def threads(self) -> Threads:
        """Threads that the runtime may use for one run, or ``auto``."""


def open_configured(
    config: NetworkConfig, task: Task, state_dir: Path | None, most_threads: MostThreads
) -> Network:
    """Return the verified network that ``config`` names; see ``open_network``."""
    return open_network(
        config.model,
        task=task,
        artifact=config.artifact,
        threads=config.threads,
        most_threads=most_threads,
        state_dir=state_dir,
    )


def saved_choice(
    folder: Path, *, threads: Threads = 1, state_dir: Path | None = None
) -> choice.Choice | None:
    """Return the artifact that ``auto`` chose for the model in ``folder``; None: not measured yet.

    Raises:
        ModelError: the manifest cannot be read, or no artifact can be chosen.
    """
    candidates = _candidates(load_manifest(folder))
    return _known_artifact(candidates, 1 if threads == "auto" else threads, state_dir)


def saved_threads(
    folder: Path,
    most_threads: MostThreads,
    *,
    artifact: str = "auto",
    state_dir: Path | None = None,
) -> choice.Choice | None:
    """Return how many threads ``auto`` chose for the model in ``folder``; None: not measured.

    Arguments: see ``open_network``.

    Raises:
        ModelError: the manifest cannot be read, or no artifact can be chosen.
    """
    manifest = load_manifest(folder)
    if artifact == "auto":
        candidates = _candidates(manifest)
        known = _known_artifact(candidates, 1, state_dir)
        if known is None and len(candidates) > 1:
            return None
        artifact = candidates[0].file if known is None else known.chosen
    most = most_threads.of_task(manifest.task)
    return _known_threads(_select_artifact(manifest, artifact), most, state_dir)


def load_artifact(folder: Path, manifest: Manifest, artifact: Artifact, threads: int) -> Network:
    """Load one artifact of ``folder`` after verification; the caller checks its parity.

    Raises:
        ModelError: the file, hash, runtime, inputs or outputs are wrong.
    """
    content = read_artifact(folder, artifact)
    stages = {
        name: load_artifact(folder, manifest.of_stage(name), stage.artifact, threads)
        for name, stage in (manifest.stages or {}).items()
    }
    try:
        session = open_session(artifact.runtime, content, threads)
        _check_tensors(manifest, artifact, session)
    except ModelError as error:
        raise ModelError(f"{folder / artifact.file}: {error}") from error
    return Network(manifest, artifact, session, threads, stages)


def _candidates(manifest: Manifest) -> list[Artifact]:
    """Return the artifacts that ``auto`` may choose, at least one, in the manifest's order."""
    passed = [each for each in manifest.artifacts if manifest.parity[each.file].passed]
    if not passed:
        raise ModelError(f"model {manifest.name}: no artifact passed parity; export it again")
    runnable = [each for each in passed if runtime_installed(each.runtime)]
    if not runnable:
        runtimes = " or ".join(sorted({each.runtime for each in passed}))
        raise ModelError(f"model {manifest.name}: needs {runtimes}, which is not installed")
    return runnable


def _select_artifact(manifest: Manifest, wanted: str) -> Artifact:
    found = manifest.artifact(wanted)
    if found is None:
        files = ", ".join(each.file for each in manifest.artifacts)
        raise ModelError(f"model {manifest.name}: no artifact {wanted!r}; expected auto or {files}")
    if not manifest.parity[found.file].passed:
        raise ModelError(f"model {manifest.name}/{found.file}: {PARITY_FAILED}")
    return found


def _check_tensors(manifest: Manifest, artifact: Artifact, session: Session) -> None:
    expected = manifest.input
    if set(session.inputs) != {expected.name}:
        raise ModelError(
            f"has the inputs {sorted(session.inputs)}, the manifest says {expected.name!r}"
        )
    wanted = expected.in_layout(artifact.layout), artifact.dtype or expected.dtype
    actual = session.inputs[expected.name]
    if artifact.runtime == "opencv":  # a cascade takes pictures of any size
        actual = wanted[0], actual[1]
    if actual != wanted:
        raise ModelError(
            f"has the input {actual[1]} {list(actual[0])}, the manifest says {wanted[1]}"
            f" {list(wanted[0])};"
            " export it with a fixed shape"
        )
    missing = {output.tensor for output in manifest.outputs.values()} - session.outputs
    if missing:
        raise ModelError(
            f"has the outputs {sorted(session.outputs)}, the manifest also expects"
            f" {sorted(missing)}"
        )
