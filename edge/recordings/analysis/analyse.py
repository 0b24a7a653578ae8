"""``affect-edge analyse``: recordings to tables, one folder each; goes on where it was stopped."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.client.logs.arrow import require_arrow
from edge.config import Config
from edge.descriptors import report_line
from edge.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILURE, ConfigError
from edge.protocol.events import ModelReference
from edge.recordings.analysis.cluster import require_distributed, run_on_cluster
from edge.recordings.analysis.derived import Outputs, checked_outputs
from edge.recordings.analysis.differences import differences, removals
from edge.recordings.analysis.display import Display
from edge.recordings.analysis.identity import analysis_settings, sha256_of
from edge.recordings.analysis.inputs import Recording, find_recordings, size_of
from edge.recordings.analysis.job import Job, Progress
from edge.recordings.analysis.participants_file import read_participants
from edge.recordings.analysis.results_folder import locked_out
from edge.recordings.analysis.session_file import earlier_session
from edge.recordings.analysis.workers import Done, Process, Workers, open_models
from edge.recordings.interruption import Interrupted
from edge.recordings.purpose import purpose_of
from edge.recordings.settings import Selection, Settings
from edge.recordings.times import interval_of, seconds_of
from edge.results.analysed import TRACKS
from edge.results.marks import read_marks
from edge.vision.sources.container import recording_of


@dataclass(frozen=True, slots=True)
class AnalyseOptions:
    """The arguments of the command, as they were given."""

    recordings: Sequence[Path]
    out: Path
    participants: Path | None = None
    start: str | None = None
    end: str | None = None
    every: int = 1
    purpose: str | None = None
    config: Path | None = None
    settings: Sequence[str] = field(default=())
    jobs: int | None = None
    interval: str | None = None
    marks: Path | None = None
    joins: Sequence[Path] = field(default=())
    time_column: str | None = None
    video: bool = False
    scheduler: str | None = None
    csv: bool = True
    again: bool = False


def run_analyse(options: AnalyseOptions) -> int:
    """Run the command; return its exit code: 1 if some recordings failed or are damaged.

    78: none could be analysed, and each for a wrong argument or a file that is no recording.

    Raises:
        ConfigError: an argument is wrong; nothing was computed.
        ModelError: a network cannot be loaded.
    """
    require_arrow("analyse")
    if options.scheduler is not None:
        require_distributed(options.scheduler)
    recordings = find_recordings(options.recordings)
    selection = _selection(options)
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs {options.jobs}: expected 1 or more")
    purpose = purpose_of(options.purpose, options.config, options.settings)
    configs = _configs(recordings, Settings(options.config, options.settings, purpose))
    outputs = _outputs(options, recordings, configs)
    out = options.out.absolute()
    # from here on it takes time: to read earlier results, to load networks
    display = Display({each.name: each.bytes for each in recordings})
    with locked_out(out), display, ExitStack() as stack:
        present = {each.name: earlier_session(out / each.name) for each in recordings}
        if not options.again:
            configs = {name: _as_before(config, present) for name, config in configs.items()}
        first = stack.enter_context(Process())
        models = open_models(first, next(iter(configs.values())))
        jobs = [
            Job(
                path=str(each.path),
                kind=each.kind,
                name=each.name,
                out=str(out),
                config=_with_artifacts(configs[each.name], models).model_dump_json(),
                models=models,
                selection=selection,
                outputs=outputs[each.name],
            )
            for each in recordings
        ]
        if not options.again:
            _require_same_settings(jobs, present)
        waiting = jobs if options.again else _unfinished(jobs, present, display)
        if options.scheduler is not None:
            first.close()
            ends = run_on_cluster(options.scheduler, waiting, display.progress, display.line)
            return _run(jobs, waiting, ends, display)
        processes = min(options.jobs or len(os.sched_getaffinity(0)), len(waiting))
        workers = stack.enter_context(Workers(processes, first))
        return _run(jobs, waiting, workers.run(waiting, display.progress), display)


def _run(
    jobs: Sequence[Job], waiting: Sequence[Job], ends: Iterator[Done], display: Display
) -> int:
    failures: list[Done] = []
    damaged: list[str] = []
    done = len(jobs) - len(waiting)
    try:
        for end in ends:
            display.done(end.job)
            if end.session is None:
                failures.append(end)
                display.line(f"FAILED {end.failure}")
                if end.kind in ("results", "config"):
                    break
                continue
            done += 1
            display.line(f"{Path(end.job.out) / end.job.name}: {_words(end.session)}")
            _note_unknown_tracks(end.job, display)
            if end.session["recording"]["damage"] and not end.job.reuse:
                damaged.append(Path(end.job.path).name)
    except BaseException as error:
        words = f"{done} of {len(jobs)} recordings are done; the same command does the rest"
        if isinstance(error, SystemExit):
            raise Interrupted(error, words) from None
        display.line(words)
        raise
    if not failures and not damaged:
        return EXIT_DONE
    parts = [f"{done} of {len(jobs)} recordings are done"]
    if damaged:
        parts.append(f"damaged, read as far as possible: {', '.join(damaged)}")
    if failures:
        parts.append(f"failed: {', '.join(Path(each.job.path).name for each in failures)}")
    display.line("; ".join(parts))
    is_refused = not done and all(end.kind == "input" for end in failures)
    return EXIT_CONFIG if is_refused or "config" in {end.kind for end in failures} else EXIT_FAILURE


def _words(session: Mapping[str, Any]) -> str:
    """Return the counts of a recording in words."""
    frames, faces = session["frames"], session["faces"]
    span_s = frames["last_s"] - frames["first_s"]
    frames_word = "frame" if frames["analysed"] == 1 else "frames"
    words = [
        f"{frames['analysed']} {frames_word} in {span_s:.1f} s, {frames['share_read']:.0%} read"
    ]
    if frames["without_face"]:
        words.append(f"{frames['share_without_face']:.0%} without a face")
    words += [
        f"{count / faces['found']:.0%} of faces {reason.replace('_', ' ')}"
        for reason, count in faces["reasons"].items()
    ]
    damage = session["recording"]["damage"]
    return ", ".join(words) + (f"; DAMAGED: {', '.join(damage)}" if damage else "")


def _note_unknown_tracks(job: Job, display: Display) -> None:
    if job.outputs.codes:
        with open(Path(job.out) / job.name / TRACKS, newline="", encoding="utf-8") as file:
            known = {int(row["track"]) for row in csv.DictReader(file)}
        if unknown := sorted(set(job.outputs.codes) - known):
            tracks = ", ".join(map(str, unknown))
            display.line(f"{Path(job.path).name}: no track {tracks}, which --participants names")


def _unfinished(
    jobs: Sequence[Job], present: Mapping[str, dict[str, Any] | None], display: Display
) -> list[Job]:
    """Return the jobs that are left to do; say which are done already.

    Raises:
        ConfigError: the results in the folder are those of another recording of the same name.
    """
    waiting: list[Job] = []
    done: list[str] = []
    removed: dict[str, list[str]] = {}
    for job in jobs:
        session = present[job.name]
        if session is None:
            waiting.append(job)
            continue
        sha256 = _shown_sha256(job, display)
        recorded = session["recording"]
        if recorded["sha256"] != sha256:
            raise ConfigError(
                f"{Path(job.out) / job.name}: holds the results of another {recorded['file']}"
                f" (sha256 {recorded['sha256'][:12]}, now {sha256[:12]}); add --again to replace"
                " them, or choose another --out folder"
            )
        wanted = job.outputs.as_json()
        _note_codes_in_place(job, session, display)
        if session["outputs"] == wanted:
            done.append(job.name)
            display.done(job)
        else:
            waiting.append(replace(job, reuse=True))
            if words := removals(session["outputs"], wanted):
                removed.setdefault(words, []).append(job.name)
    for words, names in removed.items():
        display.line(f"{_few(names)}: {words}")
    if done:
        display.line(f"{len(done)} of {len(jobs)} recordings are done already: {_few(done)}")
    return waiting


def _shown_sha256(job: Job, display: Display) -> str:
    """Return the hash of a recording, and show how far that is: it takes minutes for hours."""
    path, done = Path(job.path), 0
    total = size_of(path, job.kind)
    display.progress(job, Progress("compare", 0.0))

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        display.progress(job, Progress("compare", min(1.0, done / total) if total else 1.0))

    return sha256_of(path, job.kind, on_bytes)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _note_codes_in_place(job: Job, session: Mapping[str, Any], display: Display) -> None:
    """Say that codes in the table of tracks itself do nothing.

    Raises:
        ConfigError: they would be lost, as the table is about to be written anew.
    """
    path = Path(job.out) / job.name / TRACKS
    if job.outputs.codes or not path.exists():
        return
    is_rewritten = session["outputs"] != job.outputs.as_json()
    try:
        filled = read_participants(path, option="").codes_of(Path(job.path).name)
    except ConfigError as error:
        words = f"{error}; it was changed, and is not used"
        if is_rewritten:
            raise ConfigError(f"{words}: copy it first, this command writes it anew") from error
        display.line(words)
        return
    used = {int(track): code for track, code in session["outputs"]["codes"].items()}
    seats = session["analysis"]["settings"]["zones"]["seats"]
    if seats or all(used.get(track) == code for track, code in filled.items()):
        return
    words = f"{path}: its codes are not used; to use them give --participants {path}"
    if is_rewritten:
        raise ConfigError(f"{words}, or copy it first: this command writes it anew, without them")
    display.line(words)


def _require_same_settings(
    jobs: Sequence[Job], present: Mapping[str, dict[str, Any] | None]
) -> None:
    """Raise ``ConfigError`` if the results that are there were made with other settings."""
    for job in jobs:
        session = present[job.name]
        if session is None:
            continue
        settings = analysis_settings(Config.model_validate_json(job.config), job.selection)
        models = {role: model.model_dump(mode="json") for role, model in job.models.items()}
        changed = differences(
            {**session["analysis"]["settings"], "models": session["models"]},
            {**settings, "models": models},
        )
        if changed:
            shown = "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else "")
            raise ConfigError(
                f"{Path(job.out) / job.name}: was analysed with other settings ({shown}); add"
                " --again to replace the results, or choose another --out folder"
            )


def _configs(recordings: Sequence[Recording], settings: Settings) -> dict[str, Config]:
    configs = {}
    for each in recordings:
        of = settings.of_video if each.kind == "video" else settings.of_folder
        configs[each.name] = config = of(each.path)
        if len(recordings) > 1 and getattr(config.source, "recorded_at", None) is not None:
            raise ConfigError(
                f"source.recorded_at: one time for {len(recordings)} recordings; analyse them one"
                " by one"
            )
    return configs


def _outputs(
    options: AnalyseOptions, recordings: Sequence[Recording], configs: Mapping[str, Config]
) -> dict[str, Outputs]:
    participants = read_participants(options.participants)
    codes = {each.name: participants.codes_of(each.path.name) for each in recordings}
    _note_unknown_files("--participants", participants.files, recordings)
    for each in recordings:
        if codes[each.name] and configs[each.name].zones.seats:
            raise ConfigError(
                "--participants: codes of tracks; with [zones] seats, codes belong to seats: give"
                " them there, or leave the seats out"
            )
    folder = next((each.path for each in recordings if each.kind == "pictures"), None)
    if options.video and folder is not None:
        raise ConfigError(
            f"--video: {folder} is a folder of pictures; expected videos (affect-edge annotate"
            " --still draws pictures)"
        )
    undated = next((each.path for each in recordings if not _is_dated(each, configs)), None)
    checked = checked_outputs(
        csv=options.csv,
        interval_s=interval_of(options.interval),
        marks=options.marks,
        joins=options.joins,
        time_column=options.time_column,
        video=options.video,
        undated=undated,
    )
    if options.marks is not None:
        files = {mark.file for mark in read_marks(options.marks)} - {""}
        _note_unknown_files("--marks", files, recordings)
    return {name: replace(checked, codes=each) for name, each in codes.items()}


def _note_unknown_files(option: str, files: Set[str], recordings: Sequence[Recording]) -> None:
    """Say which names of an option's column ``file`` are those of no recording."""
    names = {each.path.name for each in recordings}
    names |= {name.strip() for name in names}
    if unknown := sorted(file for file in files if not names & {file, file.strip()}):
        shown = ", ".join(map(ascii, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
        report_line(f"{option}: {shown}: none of these recordings")


def _is_dated(recording: Recording, configs: Mapping[str, Config]) -> bool:
    """Return whether it is known when a recording was made."""
    if getattr(configs[recording.name].source, "recorded_at", None) is not None:
        return True
    return recording_of(str(recording.path)).created_unix_ns is not None


def _selection(options: AnalyseOptions) -> Selection:
    start_s = 0.0 if options.start is None else seconds_of(options.start, "--start")
    end_s = None if options.end is None else seconds_of(options.end, "--end")
    try:
        return Selection(start_s, end_s, options.every)
    except ConfigError as error:
        raise ConfigError(f"--{error}") from error


def _as_before(config: Config, present: Mapping[str, dict[str, Any] | None]) -> Config:
    """Return the configuration with the artifacts of results that are there, instead of ``auto``.

    The fastest artifact may be another one on this machine; the results would differ.
    """
    for session in present.values():
        if session is not None:
            models = {
                role: ModelReference.model_validate(model)
                for role, model in session["models"].items()
            }
            return _with_artifacts(config, models)
    return config


def _with_artifacts(config: Config, models: Mapping[str, ModelReference]) -> Config:
    """Return the configuration with the names of artifacts instead of ``auto``."""
    updates: dict[str, Any] = {}
    for role, section, prefix in (
        ("detector", "detector", ""),
        ("region_detector", "detector", "region_"),
        ("translator", "translator", ""),
        ("expression", "expression", ""),
        ("mesh", "mesh", ""),
    ):
        present = updates.get(section, getattr(config, section))
        model = models.get(role)
        is_same = model is not None and Path(getattr(present, f"{prefix}model")).name == model.name
        if model is not None and is_same and getattr(present, f"{prefix}artifact") == "auto":
            updates[section] = present.model_copy(update={f"{prefix}artifact": model.artifact})
    return config.model_copy(update=updates)
