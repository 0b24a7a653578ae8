"""The streams of one device: an affect stream per place, and one of markers."""

from collections.abc import Sequence
from typing import Any, Final

from edge import __version__
from edge.errors import StreamUnavailable
from edge.lsl.channels import CHANNELS, sample
from edge.lsl.markers import marker
from edge.lsl.places import Occupation
from edge.protocol.messages import SCHEMA, Face, StatusMessage

_BUFFER: Final = 360  # hundreds of samples: twenty minutes at 30 frames a second
MARKERS: Final = "markers"
"""Name of the stream of markers, beside those of places."""


class DeviceOutlets:
    """Outlets of one device; they stay over restarts of its daemon. Not thread-safe.

    ``source_id`` is ``affect-edge/DEVICE/SLOT``: an inlet that lost this process finds the streams
    of the next one, and goes on.

    Args:
        lsl: the module pylsl.
        status: of the device, for the metadata, which is that of the beginning.
        places: names of the affect streams.
        clock: how the time stamps were made, for the metadata.

    Attributes:
        samples: pushed into each affect stream.
        markers: pushed.

    Raises:
        StreamUnavailable: liblsl makes no stream.
    """

    def __init__(self, lsl: Any, status: StatusMessage, places: Sequence[str], clock: str) -> None:
        self.samples = self.markers = 0
        self._device = status.device
        self._lsl = lsl
        self._affect = [self._open(status, place, "Affect", clock) for place in places]
        self._markers = self._open(status, MARKERS, "Markers", clock)
        self._recorded: dict[str, bool] = {}
        self._names = [*places, MARKERS]

    def push_faces(self, faces: Sequence[Face | None], seq: int, at_s: float) -> None:
        """Push a sample into each affect stream.

        Args:
            faces: in each place; None: no face.
            seq: number of the message.
            at_s: time on LSL's clock, s.
        """
        for outlet, face in zip(self._affect, faces, strict=True):
            outlet.push_sample(sample(face, seq), at_s)
        self.samples += 1

    def push_marker(self, text: str, at_s: float) -> None:
        """Push a marker."""
        self._markers.push_sample([text], at_s)
        self.markers += 1

    def push_occupation(self, occupation: Occupation, at_s: float) -> None:
        """Push a marker that says who is in a place from now on."""
        who = {"track": occupation.track, "participant": occupation.participant}
        self.push_marker(marker("place", {"place": occupation.place, **who}), at_s)

    def consumers_changed(self) -> list[tuple[str, bool]]:
        """Return the streams that got their first consumer, or lost their last one, since then."""
        outlets = zip(self._names, [*self._affect, self._markers], strict=True)
        now = {name: bool(outlet.have_consumers()) for name, outlet in outlets}
        changed = [
            (name, has) for name, has in now.items() if has != self._recorded.get(name, False)
        ]
        self._recorded = now
        return changed

    def close(self) -> None:
        """Close the streams: inlets see their end."""
        self._affect.clear()
        del self._markers

    def _open(self, status: StatusMessage, place: str, kind: str, clock: str) -> Any:
        lsl, is_markers = self._lsl, kind == "Markers"
        try:
            info = lsl.StreamInfo(
                name=f"affect-edge {status.device} {place}",
                type=kind,
                channel_count=1 if is_markers else len(CHANNELS),
                # true times, which nobody has to straighten: pictures are dropped, and come late
                nominal_srate=lsl.IRREGULAR_RATE,
                channel_format=lsl.cf_string if is_markers else lsl.cf_double64,
                source_id=f"affect-edge/{status.device}/{place}",
            )
            _describe(info.desc(), status, place, clock, is_markers=is_markers)
            return lsl.StreamOutlet(info, 0, _BUFFER)
        except (RuntimeError, OSError, ValueError) as error:
            raise StreamUnavailable(
                f"liblsl makes no stream for {status.device} {place}: {error}; are the ports 16572"
                " to 16603 in use?"
            ) from error


def _describe(
    desc: Any, status: StatusMessage, place: str, clock: str, *, is_markers: bool
) -> None:
    """Fill the metadata of a stream, in the elements that XDF knows where there are some."""
    channels = desc.append_child("channels")
    for channel in () if is_markers else CHANNELS:
        child = channels.append_child("channel")
        for name in ("label", "unit", "type"):
            child.append_child_value(name, getattr(channel, name))
    if is_markers:
        child = channels.append_child("channel")
        child.append_child_value("label", "marker")
        child.append_child_value("type", "Markers")
    acquisition = desc.append_child("acquisition")
    acquisition.append_child_value("manufacturer", "affect-edge")
    acquisition.append_child_value("model", _model(status))
    acquisition.append_child_value("precision", "double64")
    synchronization = desc.append_child("synchronization")
    synchronization.append_child_value("offset_mean", "0")
    synchronization.append_child_value("can_drop_samples", "true")
    synchronization.append_child_value("time_source", clock)
    own = desc.append_child("affect_edge")
    expected_hz = status.rates.expected_hz
    for name, value in (
        ("schema", SCHEMA),
        ("version", status.version or ""),
        ("lsl_version", __version__),
        ("device", status.device),
        ("place", place),
        ("stream", status.stream),
        ("epoch", str(status.epoch)),
        ("purpose", status.purpose or ""),
        ("expected_hz", "" if expected_hz is None else f"{expected_hz:g}"),
        ("not_read", "NaN"),
    ):
        own.append_child_value(name, value)


def _model(status: StatusMessage) -> str:
    """Return the network that predicts, such as ``expression-nir 1f0c93a2``."""
    model = (status.models or {}).get("expression")
    return "" if model is None else f"{model.name} {model.sha256[:8]}"
