"""Logs what workers report: one line each, a warning where somebody should look."""

import logging
from collections.abc import Iterable

from edge.protocol import events
from edge.protocol.lid_events import LidEvent

log = logging.getLogger("affect_edge")


def log_networks(started: events.WorkerStarted) -> None:
    """Write one line about the networks of a worker: artifact and threads of each."""
    networks = (
        f"{role} {model.name}/{model.artifact}, threads {model.threads}"
        for role, model in started.models.items()
    )
    log.info("networks: %s", "; ".join(networks))


def log_event(detail: events.Detail) -> None:
    """Write one line about ``detail``."""
    match detail:
        case events.SourceStateChanged(state="running"):
            log.info("source running")
        case events.SourceStateChanged():
            log.warning("source %s: %s", detail.state, detail.reason)
        case events.PictureStateChanged(state="normal"):
            log.info("picture normal")
        case events.PictureStateChanged():
            log.warning("picture %s", detail.reason)
        case events.CameraOpened():
            log.info("camera opened: %s", ", ".join(f"{name} {value}" for name, value in detail))
        case events.FolderOpened():
            left_out = [f"{count} {kind}" for kind, count in detail.left_out.items()]
            rest = f"; left out: {', '.join(left_out)}" if left_out else ""
            log.info("folder opened: %d picture files%s", detail.files, rest)
        case events.MediaRepeated():
            log.debug("the file begins again, for the %d. time", detail.repeat)
        case events.FileOpened():
            log.info("file opened: %s, recording time: %s", detail.file, detail.recorded_by)
        case events.FileHashed():
            level = logging.WARNING if detail.sha256 is None else logging.INFO
            log.log(level, "sha256 of %s: %s", detail.file, detail.sha256 or detail.reason)
        case events.RateLimited() | events.ScheduleChanged():
            _log_limit(detail)
        case LidEvent():
            pass  # of a person, and many times a minute
        case _:
            log.warning("%s: %s", detail.event, getattr(detail, "reason", ""))


def _log_limit(detail: events.RateLimited | events.ScheduleChanged) -> None:
    match detail:
        case events.RateLimited(divisor=1):
            log.info("the frame rate is not limited any more")
        case events.RateLimited():
            degrees = "" if detail.soc_celsius is None else f", {detail.soc_celsius:.1f} degrees"
            log.warning(
                "one frame of %d is processed: %s%s", detail.divisor, detail.reason, degrees
            )
        case events.ScheduleChanged(bound_by=[]):
            log.info("faces are read, and full looks come, as configured again")
        case _:
            faces = detail.faces_per_frame or "all"
            looks = (
                ""
                if detail.full_every_s is None
                else f", full looks every {detail.full_every_s:g} s"
            )
            mesh = {0: ", the mesh is off", 1: "", None: ""}.get(
                detail.mesh_every, f", the mesh measures in one frame of {detail.mesh_every}"
            )
            bound_by = ", ".join(detail.bound_by)
            log.warning(
                "%s faces are read in a frame%s%s: bound by %s", faces, looks, mesh, bound_by
            )


def log_swap(areas: Iterable[str], lock_error: str) -> None:
    """Warn that pictures may be swapped to ``areas``; ``lock_error``: why memory is not locked."""
    log.warning(
        "swap is on (%s) and the worker's memory is not locked, so pictures may be written there:"
        " %s",
        ", ".join(areas),
        lock_error,
    )
