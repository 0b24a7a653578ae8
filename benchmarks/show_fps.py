"""Tables of ``benchmarks fps``, and the lines on conditions and validity below every table."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.board import busy_reasons

_PERCENTILES = ("p50", "p95", "p99", "max")


def show_fps(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``fps``."""
    if result["mode"] == "compare":
        _show_comparison(result, console)
        return
    table = Table("figure", "value", title=result["command"], title_justify="left")
    table.columns[1].justify = "right"
    table.add_row("frames a second", f"{result['fps']:.1f}")
    table.add_row("frames", str(result["frames"]))
    for name, value in result["latency_ms"].items():
        table.add_row(f"latency {name}", _ms(value))
    for name, field, form in (
        ("inference alone", "inference_ms", "{:.2f} ms"),
        ("a frame relative to its own inference", "overhead", "{:.3f}"),
        ("the same in processor time", "overhead_cpu", "{:.3f}"),
        ("processor time outside inference", "outside_cpu_ms", "{:.2f} ms"),
        ("processor", "cpu_percent", "{:.0f} %"),
        ("resident memory", "rss_mb", "{:.0f} MiB"),
        ("networks open to first result", "first_result_ms", "{:.0f} ms"),
        ("start to first result", "start_to_first_result_ms", "{:.0f} ms"),
        ("resident memory of the hub", "hub_rss_mb", "{:.0f} MiB"),
        ("dropped frames", "dropped", "{}"),
        ("latency p99 / median", "latency_p99_to_median", "{:.2f}"),
        ("slowest thread", "slowest_thread", "{}"),
        ("frames a second at its pace", "limit_fps", "{:.1f}"),
        ("efficiency: frames a second / that", "efficiency", "{:.3f}"),
        ("processor time of a frame", "frame_cpu_ms", "{:.2f} ms"),
        ("frames a second with all cores busy", "cores_limit_fps", "{:.1f}"),
    ):
        if field in result:
            value = result[field]
            table.add_row(name, "-" if value is None else form.format(value))
    if "ratio" in result:
        table.add_row("baseline", f"{result['baseline_fps']:.2f} frames/s")
        table.add_row("ratio", f"{result['ratio']:.1f}")
        table.add_row("ratio at the same size", f"{result['same_size_ratio']:.2f}")
        table.add_row("ratio of medians", f"{result['ratio_of_medians']:.1f}")
        table.add_row("ratio in processor time", f"{result['ratio_cpu']:.1f}")
    console.print(table)
    if result.get("steady"):
        _show_steady_and_worst(result, console)
    _show_stages(result, console)
    if "faces" in result:
        _show_faces(result["faces"], console)
    if "ratio" in result:
        console.print(f"Note: {result['baseline_note']}.")
    show_conditions(result, console)
    show_load(result, console)


def _show_comparison(result: dict[str, Any], console: Console) -> None:
    table = Table(
        "milliseconds a frame", "this checkout", result["revision"], "ratio", "95 %",
        title=result["command"], title_justify="left",
    )  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    sides = [result[name] for name in ("this", "other")]
    medians, means = result["ratio_of_medians"], result["ratio_of_means"]
    for name, values, found in (
        ("median, passed", [each["wall_ms"]["p50"] for each in sides], medians["wall"]),
        ("median, processor", [each["cpu_ms"]["p50"] for each in sides], medians["cpu"]),
        ("  not networks", [each["outside_cpu_ms"] for each in sides],
         medians["outside_cpu"]),
        ("mean, passed", None, means["wall"]),
        ("mean, processor", None, means["cpu"]),
    ):  # fmt: skip
        shown = ["", ""] if values is None else [_number(value) for value in values]
        interval = f"{found['low']:.3f} .. {found['high']:.3f}"
        table.add_row(name, *shown, f"{found['value']:.3f}", interval)
    table.add_section()
    for stage in dict.fromkeys(name for side in sides for name in side["stage_cpu_ms"]):
        table.add_row(f"  {stage}", *(_number(side["stage_cpu_ms"].get(stage)) for side in sides))
    for name, field in (
        ("faces a frame", "faces_per_frame"),
        ("predicted a frame", "predicted_per_frame"),
        ("full looks in 1,000", "full_looks_per_1000"),
    ):
        table.add_row(name, *(f"{side[field]:.4g}" for side in sides))
    console.print(table)
    width, height = result["size"]
    console.print(
        f"ratio: {result['revision']} relative to this checkout, above 1 where this one is faster;"
        f" {result['frames']} frames of {width}x{height} each, {result['distinct_frames']} of them"
        " distinct; stages: medians of the processor time",
        highlight=False,
    )
    for name, side in (("this checkout", sides[0]), (result["revision"], sides[1])):
        models = ", ".join(f"{model}/{artifact}" for model, artifact in side["models"].items())
        chosen = " (chosen by itself)" if side["chose_artifacts"] else ""
        console.print(f"{name}: {models}{chosen}", highlight=False)
    if sides[0]["models"] != sides[1]["models"]:
        console.print(
            "The sides run different networks: the ratio is not one of code alone.",
            style="yellow", highlight=False,
        )  # fmt: skip
    show_conditions(result, console)
    show_load(result, console)


def _show_steady_and_worst(result: dict[str, Any], console: Console) -> None:
    """Print the steady state and the worst case, in time that passed and in processor time."""
    worst = result["worst"]
    table = Table("milliseconds a frame", *_PERCENTILES)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in (("steady state", result["steady"]), ("full looks", worst["full_look"])):
        for kind, field in (("passed", "wall_ms"), ("processor", "cpu_ms")):
            if row is not None:
                table.add_row(
                    f"{name}, {kind}", *(_number(row[field][each]) for each in _PERCENTILES)
                )
    console.print(table)
    console.print(
        f"full looks in 1,000 frames: {result['full_looks_per_1000']:.0f}; worst second:"
        f" {_ms(worst['second_ms'])} a frame, {_ms(worst['second_cpu_ms'])} of the processor;"
        f" worst frame: {_ms(worst['frame_ms'])}, {_ms(worst['frame_cpu_ms'])} of the processor",
        highlight=False,
    )


def _show_faces(faces: dict[str, Any], console: Console) -> None:
    shown = {
        name: "-" if faces[name] is None else f"{faces[name]:.3f}"
        for name in ("recall", "mean_iou", "predicted_share", "read_share", "reading_age_max_s")
    }
    console.print(
        f"{faces['faces']} faces of {faces['face_height_px']:.0f} pixels, motion"
        f" {faces['motion']}: recall {shown['recall']}, mean IoU {shown['mean_iou']},"
        f" {faces['false_faces']} false faces, {faces['identity_switches']} identity switches,"
        f" {shown['predicted_share']} with a reading, {shown['read_share']} read in the frame,"
        f" oldest reading {shown['reading_age_max_s']} s",
        highlight=False,
    )


def _show_stages(result: dict[str, Any], console: Console) -> None:
    cpu, mean = result.get("stage_cpu_ms", {}), result.get("stage_cpu_mean_ms", {})
    table = Table("stage, milliseconds", "passed", "processor", "processor, mean")
    for column in table.columns[1:]:
        column.justify = "right"
    for stage, value in result["stage_ms"].items():
        table.add_row(stage, _number(value), _number(cpu.get(stage)), _number(mean.get(stage)))
    console.print(table)
    console.print("passed, processor: medians", highlight=False)


def show_load(result: dict[str, Any], console: Console) -> None:
    """Print the load, and what makes the result invalid."""
    others = result["other_cpu_percent"]
    console.print(
        f"load before {result['load_1m']:.2f}; other processes used {others:.0f} % of a core",
        highlight=False,
    )
    mhz = result.get("mhz")
    if mhz is not None:
        console.print(
            f"clock {mhz['min']:.0f} to {mhz['max']:.0f} of {mhz['of']:.0f} MHz during the run;"
            f" hottest {result['soc_celsius_max']} degrees Celsius",
            highlight=False,
        )
    reasons = result.get("invalid")
    for reason in busy_reasons(others) if reasons is None else reasons:
        console.print(
            f"INVALID: {reason}. Do not quote these figures.", style="red", highlight=False,
            soft_wrap=True,
        )  # fmt: skip


def show_conditions(result: dict[str, Any], console: Console) -> None:
    """Print board, threads, versions, and the artifacts with their hashes."""
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items() if value)
    console.print(
        f"{result['board']}, {result['cores']} cores, governor {result['governor']},"
        f" throttled {result['throttled']}, threads {json.dumps(result['threads'])}",
        highlight=False,
    )
    console.print(f"{versions}; commit {result['commit']}; {result['date']}", highlight=False)
    for name, artifacts in result["models"].items():
        for file, digest in artifacts.items():
            console.print(f"{name}/{file} sha256 {digest[:16]}", highlight=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"
