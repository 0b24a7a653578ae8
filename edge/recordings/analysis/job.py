"""Analyses one recording and writes the folder of its results."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2

from edge import __version__, clock
from edge.config import Config, ImagesSource
from edge.config.recorded import recorded_config, versions
from edge.errors import ConfigError, LogFileError, ModelError
from edge.files.durable import replace_file
from edge.protocol.events import (
    EpochEnded,
    EpochStarted,
    ModelReference,
    WorkerStarted,
)
from edge.recordings.analysis.counts import Counts, with_codes
from edge.recordings.analysis.derived import Outputs, require_inputs, write_derived
from edge.recordings.analysis.identity import (
    analysis_settings,
    settings_sha256,
    sha256_of,
    stream_of,
)
from edge.recordings.analysis.inputs import Kind, size_of
from edge.recordings.analysis.results_folder import new_folder, write_session
from edge.recordings.analysis.session_file import earlier_session
from edge.recordings.analysis.tables import Tables, opened_tables, stored_rows, unreadable
from edge.recordings.damage import describe_damage
from edge.recordings.result import Result
from edge.recordings.settings import Selection
from edge.recordings.steps import Steps
from edge.results.analysed import TRACKS
from edge.results.marks import check_interval
from edge.vision.pipeline import Pipeline
from edge.vision.record import describe_file, model_references
from edge.vision.sources.container import recording_of
from edge.vision.sources.decode import file_address, open_capture
from edge.vision.sources.images import list_pictures

_REPORT_MS: Final = 200.0
_MACHINES: Final = ("kernel",)  # of ``versions``: what no result depends on


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to analyse; it travels to another process as JSON.

    Attributes:
        path: of the video file or folder; absolute.
        kind: which of them it is.
        name: of the folder of its results.
        out: folder of all results; absolute.
        config: configuration of this recording, JSON, with the names of the artifacts.
        models: the networks that must be loaded, by role.
        selection: the pictures to analyse.
        outputs: what is written besides.
        reuse: take the analysis from the folder of results, and write the rest anew.
        version: of the program that made it.
    """

    path: str
    kind: Kind
    name: str
    out: str
    config: str
    models: Mapping[str, ModelReference]
    selection: Selection
    outputs: Outputs
    reuse: bool = False
    version: str = __version__

    def encode(self) -> str:
        """Return the job as one line of JSON."""
        models = {role: model.model_dump() for role, model in self.models.items()}
        values = {name: getattr(self, name) for name in Job.__slots__}
        values |= {"models": models, "selection": asdict(self.selection)}
        return json.dumps(values | {"outputs": asdict(self.outputs)})

    @classmethod
    def decode(cls, text: str) -> "Job":
        """Return the job that ``encode`` gave."""
        values = json.loads(text)
        outputs = values["outputs"]
        outputs["codes"] = {int(track): code for track, code in outputs["codes"].items()}
        values["outputs"] = Outputs(**outputs)
        values["selection"] = Selection(**values["selection"])
        values["models"] = {
            role: ModelReference.model_validate(model) for role, model in values["models"].items()
        }
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: what it does now, and the share of it that is done, 0..1."""

    doing: str
    share: float


class _Reporter:
    """Reports how far a job is: at once when it does something else, and else now and then."""

    def __init__(self, report: Callable[[Progress], None]) -> None:
        self._report = report
        self._doing = ""
        self._reported_ns = 0

    def __call__(self, doing: str, done: float, total: float) -> None:
        """Report that ``done`` of ``total`` is done; a total of 0 is not known."""
        if doing == self._doing and clock.elapsed_ms(self._reported_ns) < _REPORT_MS:
            return
        self._doing, self._reported_ns = doing, clock.monotonic_ns()
        self._report(Progress(doing, min(1.0, done / total) if total > 0 else 0.0))


def run_job(job: Job, networks: Pipeline, report: Callable[[Progress], None]) -> dict[str, Any]:
    """Analyse a recording; return its ``session.json``. Its folder appears when it is complete.

    Args:
        job: the recording.
        networks: a pipeline whose networks are used.
        report: takes the progress several times a second, whatever is done.

    Raises:
        ConfigError: the recording cannot be read or decoded, or was changed meanwhile.
        InferenceError: the detector fails again and again.
        LogFileError: the results cannot be written.
        ModelError: the networks are others than those of the job.
    """
    _require_same(job, networks)
    final = Path(job.out) / job.name
    reporter = _Reporter(report)
    try:
        with new_folder(final.parent, job.name) as folder, _named_as(final, folder):
            if job.reuse:
                session = _rewrite(job, final, folder, reporter)
            else:
                session = _analyse(job, networks, folder, reporter)
            reporter("results", 1, 1)
            write_derived(
                job.outputs,
                Path(job.path),
                folder,
                job.selection,
                on_step=lambda: reporter("results", 1, 1),
                on_video=_video_report(job, reporter),
            )
            write_session(folder, session)
    except OSError as error:  # of writing: what is read has errors of its own
        raise LogFileError(f"{final}: cannot be written: {error.strerror}") from error
    return session


@contextmanager
def _named_as(final: Path, folder: Path) -> Iterator[None]:
    """Name the folder of results in errors as it is called when it is complete."""
    try:
        yield
    except (ConfigError, LogFileError) as error:
        text = str(error).removeprefix("source.path ").replace(str(folder), str(final))
        raise type(error)(text) from error


def _require_same(job: Job, networks: Pipeline) -> None:
    """Check that this process computes what the process that made the job would compute.

    Raises:
        ModelError: it has other networks.
        ConfigError: it has another version.
    """
    if job.version != __version__:
        raise ConfigError(
            f"affect-edge {__version__} is installed here, and the job is of {job.version}; install"
            " the same version on every machine"
        )
    if job.reuse:
        return
    references = model_references(Config.model_validate_json(job.config), networks)
    loaded = {role: ModelReference(**each) for role, each in references.items()}
    for role in sorted({*loaded, *job.models}):
        if loaded.get(role) != job.models.get(role):
            expected, found = job.models.get(role), loaded.get(role)
            raise ModelError(
                f"{role}: expected {_describe(expected)}, found {_describe(found)}; install the"
                " same models on every machine"
            )


def _describe(model: ModelReference | None) -> str:
    if model is None:
        return "none"
    manifest = (model.manifest_sha256 or "")[:12]
    return f"{model.name}/{model.artifact} (sha256 {model.sha256[:12]}, manifest {manifest})"


def _analyse(job: Job, networks: Pipeline, folder: Path, report: _Reporter) -> dict[str, Any]:
    path, config = Path(job.path), Config.model_validate_json(job.config)
    before = _state(path)
    length_s = job.selection.end_s or _length_s(job) or 0.0
    check_interval(job.outputs.interval_s, length_s - job.selection.start_s)  # not after hours
    require_inputs(job.outputs)
    sha256 = _hash(job, report)
    settings = analysis_settings(config, job.selection)
    settings_hash = settings_sha256(settings, job.models)
    size = before[0] if job.kind == "video" else 0
    opened = describe_file(config.source, str(path), size=size, sha256=sha256)
    stream = stream_of(sha256, settings_hash)
    counts = Counts()
    with opened_tables(
        folder,
        csv=job.outputs.csv,
        device=config.device.name,
        stream=stream,
        recorded_unix_ns=opened.recorded_unix_ns,
        codes=job.outputs.codes,
    ) as tables:
        tables.event(_epoch_started(config, settings_hash))
        tables.event(WorkerStarted(models=dict(job.models), memory_locked=False))
        if job.kind == "video":
            tables.event(opened)
        steps = Steps(
            networks,
            config,
            job.selection,
            lambda media_ns: report("analyse", media_ns, 1e9 * length_s),
        )
        _write_steps(steps, tables, counts)
    if _state(path) != before:
        raise ConfigError(f"{path}: was changed while it was read; analyse it again")
    if not counts.frames:
        raise ConfigError(f"{path}: no picture of it is within the given start and end")
    replace_file(folder / TRACKS, counts.tracks_csv(path.name, job.outputs.codes))
    recorded = opened.model_dump(mode="json") | {"kind": job.kind}
    return {
        "recording": recorded
        | {
            "recorded_at": _iso(opened.recorded_unix_ns),
            "damage": _damage(job, counts, opened.duration_s),
        },
        "analysis": {
            "stream": stream,
            "settings_sha256": settings_hash,
            "purpose": config.device.purpose,
            "settings": settings,
        },
        "models": {role: model.model_dump(mode="json") for role, model in job.models.items()},
        "versions": _versions(),
        **counts.as_json(),
        "outputs": job.outputs.as_json(),
    }


def _write_steps(steps: Steps, tables: Tables, counts: Counts) -> None:
    for item in steps:
        tables.first_ns = steps.first_ns
        if isinstance(item, Result):
            tables.result(item)
            counts.add(item)
        else:
            tables.event(item)
    counts.pictures_lost = steps.lost
    tables.event(
        EpochEnded(
            exit_code=0,
            frames=steps.frames,
            dropped=counts.pictures_lost,
            captured=steps.captured,
            messages=tables.messages + 1,
        )
    )


def _damage(job: Job, counts: Counts, duration_s: float | None) -> list[str]:
    """Return what is missing of the recording, in words."""
    # of a part, or of few pictures, the last one says nothing about the end
    is_to_end = job.selection.end_s is None and job.selection.every == 1
    return describe_damage(counts.pictures_lost, counts.last_s if is_to_end else None, duration_s)


def _video_report(job: Job, report: _Reporter) -> Callable[[int], None]:
    """Return what takes the time of each picture of the annotated video, ns."""
    length_ns = 1e9 * (_length_s(job) or 0.0) if job.outputs.video else 0.0
    return lambda media_ns: report("video", media_ns, length_ns)


def _rewrite(job: Job, present: Path, folder: Path, report: _Reporter) -> dict[str, Any]:
    """Write the tables of an earlier analysis anew, with other participants or outputs."""
    session = earlier_session(present)
    if session is None:
        raise ConfigError(f"{present}: was removed meanwhile; the same command analyses it anew")
    # with seats, the codes of the table are those of the seats
    replaces = not session["analysis"]["settings"]["zones"]["seats"]
    counted = session["faces"]["found"] + session["frames"]["without_face"]
    analysis = session["analysis"]
    with opened_tables(
        folder,
        csv=job.outputs.csv,
        device=analysis["settings"]["device"]["name"],
        stream=analysis["stream"],
        recorded_unix_ns=None,
        codes=job.outputs.codes,
    ) as tables:
        done = 0
        for rows in stored_rows(present / "frames.parquet"):
            tables.frame_rows(rows, replace=replaces)
            done += len(rows)
            report("rewrite", done, counted)
        for rows in stored_rows(present / "events.parquet"):
            tables.event_rows(rows, replace=replaces)
    try:
        tracks = with_codes((present / TRACKS).read_bytes(), job.outputs.codes)
    except (OSError, ValueError) as error:
        raise unreadable(present / TRACKS, error) from error
    replace_file(folder / TRACKS, tracks)
    return session | {"outputs": job.outputs.as_json()}


def _hash(job: Job, report: _Reporter) -> str:
    total = size_of(Path(job.path), job.kind)
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        report("hash", done, total)

    return sha256_of(Path(job.path), job.kind, on_bytes)


def _state(path: Path) -> tuple[int, int]:
    """Return size and time of the last change of a file or folder.

    Raises:
        ConfigError: it is not there.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror} on {os.uname().nodename}; a recording must be reachable by"
            " the same path on every machine that analyses it"
        ) from error
    return status.st_size, status.st_mtime_ns


def _length_s(job: Job) -> float | None:
    """Return the length of the recording, seconds; None if it is not known."""
    source = Config.model_validate_json(job.config).source
    if isinstance(source, ImagesSource):
        return len(list_pictures(job.path)[0]) / source.rate_hz
    if (length_s := recording_of(job.path).duration_s) is not None:
        return length_s
    with file_address(job.path) as address:
        capture = open_capture(address, cv2.CAP_FFMPEG)
    frames, hz = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames / hz if frames > 0 and hz > 0 else None


def _epoch_started(config: Config, settings_hash: str) -> EpochStarted:
    return EpochStarted(
        version=__version__,
        purpose=config.device.purpose or "demo",
        source=config.source.kind,
        priors=config.expression.priors,
        boot_id=None,
        config_sha256=settings_hash,
        rotate_deg=config.source.rotate_deg,
        flip=config.source.flip,
        config=recorded_config(config),
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    return {name: text for name, text in versions().items() if name not in _MACHINES}


def _iso(unix_ns: int | None) -> str | None:
    return None if unix_ns is None else f"{clock.day(unix_ns)}T{clock.time_of_day(unix_ns)}Z"
