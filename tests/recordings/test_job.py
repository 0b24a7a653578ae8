"""One job of an analysis: its progress, what it counts, and whose fault its errors are."""

import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.config import Config
from edge.errors import ConfigError, LogFileError
from edge.protocol.events import ModelReference
from edge.recordings.analysis import job as job_module
from edge.recordings.analysis.derived import Outputs
from edge.recordings.analysis.identity import sha256_of
from edge.recordings.analysis.job import Job, Progress, run_job
from edge.recordings.settings import Selection, Settings
from edge.vision.golden import open_verified
from edge.vision.pipeline import Pipeline
from edge.vision.record import model_references
from tests.support.analyses import make_pictures
from tests.support.source_media import encode

EVERY_PICTURE = Selection()


@pytest.fixture(scope="module")
def networks() -> Pipeline:
    return open_verified(Settings(purpose="safety").of_picture())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=40)


def run(
    networks: Pipeline,
    recording: Path,
    out: Path,
    selection: Selection = EVERY_PICTURE,
    progress: list[Progress] | None = None,
    **fields: Any,
) -> tuple[dict[str, Any], list[Progress]]:
    """Run a job of ``recording`` in this process; return its session and progress."""
    out.mkdir(exist_ok=True)
    settings = Settings(purpose="safety")
    kind = "pictures" if recording.is_dir() else "video"
    of: Config = (
        settings.of_folder(recording) if kind == "pictures" else settings.of_video(recording)
    )
    models = {role: ModelReference(**each) for role, each in model_references(of, networks).items()}
    job = Job(
        path=str(recording),
        kind=kind,
        name="r",
        out=str(out),
        config=of.model_dump_json(),
        models=models,
        selection=selection,
        outputs=Outputs(),
    )
    progress = [] if progress is None else progress
    return run_job(replace(job, **fields), networks, progress.append), progress


def test_pictures_before_the_start_are_progress(
    networks: Pipeline, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of them are decoded before the first result; a silent process is ended."""
    monkeypatch.setattr(job_module, "_REPORT_MS", 0.0)
    session, progress = run(networks, clip, tmp_path / "out", Selection(start_s=1.4))

    assert session["frames"]["first_s"] == 1.4
    shares = [each.share for each in progress if each.doing == "analyse"]
    assert len(shares) == 40
    assert shares == sorted(shares)
    assert shares[34] == pytest.approx(1.36 / 1.6)


def test_tables_and_figures_are_progress_step_by_step(
    networks: Pipeline, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take minutes for hours of a recording; a silent process is ended."""
    monkeypatch.setattr(job_module, "_REPORT_MS", 0.0)
    sensor = tmp_path / "chamber.csv"
    sensor.write_text("time_s,bar\n0,1\n1,2\n")
    outputs = Outputs(joins=[str(sensor)], sha256={str(sensor): ""})
    session, progress = run(networks, clip, tmp_path / "out", outputs=outputs)

    with (tmp_path / "out/r/summary.csv").open() as file:
        rows = len(file.readlines()) - 1
    figures = len(list((tmp_path / "out/r/plots").glob("*.png")))
    assert figures == 3
    steps = [each for each in progress if each.doing == "results"]
    assert len(steps) >= rows + figures + session["frames"]["analysed"]


def test_what_is_needed_at_the_end_is_looked_for_at_the_beginning(
    networks: Pipeline, clip: Path, tmp_path: Path
) -> None:
    """A file of marks that another machine lacks cost the whole analysis."""
    out, marks = tmp_path / "out", tmp_path / "marks.csv"
    progress: list[Progress] = []
    with pytest.raises(ConfigError, match=r"--marks .*marks.csv: cannot be read: No such file"):
        run(networks, clip, out, progress=progress, outputs=Outputs(marks=str(marks)))
    assert not [each for each in progress if each.doing == "analyse"]


@pytest.mark.parametrize("every", [1, 2])
def test_pictures_that_are_lost_at_the_end_are_counted(
    networks: Pipeline, tmp_path: Path, every: int
) -> None:
    folder = make_pictures(tmp_path / "faces")
    for name in ("face-11.png", "face-12.png"):
        (folder / name).write_bytes(b"not a picture")

    session, _ = run(networks, folder, tmp_path / "out", Selection(every=every))

    assert session["frames"]["analysed"] == (3 if every == 1 else 2)
    assert session["frames"]["pictures_lost"] == 2
    assert session["recording"]["damage"] == ["2 pictures could not be decoded"]
    assert '"dropped":2' in (tmp_path / "out/r/events.csv").read_text().replace('""', '"')


@pytest.mark.parametrize("name", ["frames.parquet", "events.parquet", "tracks.csv"])
@pytest.mark.parametrize("content", [None, b"damaged"])
def test_earlier_results_that_cannot_be_read_are_named_so(
    networks: Pipeline, clip: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    out = tmp_path / "out"
    run(networks, clip, out, Selection(end_s=0.2))
    (out / "r" / name).unlink()
    if content is not None:
        (out / "r" / name).write_bytes(content)

    with pytest.raises(ConfigError) as raised:
        run(networks, clip, out, Selection(end_s=0.2), reuse=True)

    assert str(raised.value).startswith(f"{out}/r/{name}: cannot be read: ")
    assert str(raised.value).endswith("; add --again to analyse the recording anew")


def test_a_full_disk_is_named_by_the_folder_of_results(
    networks: Pipeline, clip: Path, tmp_path: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(LogFileError) as raised:
            run(networks, clip, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert str(raised.value) == (
        f"{tmp_path}/out/r: cannot be written: File too large; make room, or check the disk"
    )
    assert not list((tmp_path / "out").iterdir())


def test_a_recording_that_is_gone_is_no_fault_of_the_results(
    networks: Pipeline, clip: Path, tmp_path: Path
) -> None:
    gone = clip.with_name("gone.mp4")

    with pytest.raises(ConfigError, match=r"gone\.mp4: No such file or directory on "):
        run(networks, gone, tmp_path / "out")


def test_a_link_to_nothing_among_pictures_is_left_out(networks: Pipeline, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "faces")
    (folder / "face-3.png").symlink_to("nothing.png")

    session, _ = run(networks, folder, tmp_path / "out")

    assert session["frames"]["analysed"] == 3
    assert session["recording"]["damage"] == ["1 picture could not be decoded"]
    before = session["recording"]["sha256"]
    (folder / "nothing.png").write_bytes(b"something")
    assert sha256_of(folder, "pictures") != before
