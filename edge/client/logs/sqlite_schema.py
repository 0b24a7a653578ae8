"""The tables and views of a SQLite log.

``messages`` holds frames and events as received, in the order in which they were received;
``statuses`` the newest status of each minute. The views ``frames``, ``faces`` and ``events`` have
typed columns with the names and units of ``edge.client.tidy``; truth values are 0 and 1.
"""

import sqlite3
from typing import Final

from edge.client.tidy import COLUMNS, EVENT_COLUMNS
from edge.errors import ConfigError
from edge.vocabulary import EXPRESSIONS

APPLICATION_ID: Final = 0x61666665
"""In the header of the database (``PRAGMA application_id``): "affe"."""

VERSION: Final = 1
"""Of the tables (``PRAGMA user_version``)."""

_TABLES: Final = """
CREATE TABLE messages (
    stream TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,  -- frame or event
    device TEXT NOT NULL,
    unix_ns INTEGER NOT NULL,
    time_s REAL NOT NULL,  -- seconds on the time axis of the epoch
    body TEXT NOT NULL,  -- the JSON as received
    PRIMARY KEY (stream, epoch, seq)
);
CREATE TABLE statuses (
    stream TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    minute INTEGER NOT NULL,  -- of the daemon's monotonic clock
    device TEXT NOT NULL,
    unix_ns INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (stream, epoch, minute)
);
CREATE TABLE gaps (
    stream TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    first_missing INTEGER NOT NULL,
    last_missing INTEGER,  -- NULL: not known, as after a power cut
    reason TEXT,  -- such as trimmed; NULL: only the absence was noticed
    device TEXT NOT NULL,
    unix_ns INTEGER NOT NULL,  -- of the message after the gap, as are the next two
    monotonic_ns INTEGER NOT NULL,
    time_s REAL NOT NULL,
    PRIMARY KEY (stream, epoch, first_missing)
);
CREATE TABLE cursors (  -- the last message of each stream, also of earlier files
    stream TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL
);
CREATE TABLE axes (  -- where the time axes begin
    stream TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    start_ns INTEGER,
    media_ns INTEGER
);
"""

_LANDMARKS: Final = {
    f"{name}_{axis}": f"json_extract(f.value, '$.landmarks[{index}][{at}]')"
    for index, name in enumerate(("eye_left", "eye_right", "nose", "mouth_left", "mouth_right"))
    for at, axis in enumerate("xy")
}

_HEAD: Final = {
    "device": "m.device",
    "stream": "m.stream",
    "epoch": "m.epoch",
    "seq": "m.seq",
    "time_s": "m.time_s",
    "unix_ns": "m.unix_ns",
}

_FRAME: Final = _HEAD | {
    "sensor_ns": "json_extract(m.body, '$.time.sensor_ns')",
    "frame_index": "json_extract(m.body, '$.frame.index')",
    "file": "json_extract(m.body, '$.frame.file')",
    "page": "coalesce(json_extract(m.body, '$.frame.page'), -1)",
    "faces": "json_array_length(m.body, '$.faces')",
    "clock": "json_extract(m.body, '$.time.clock')",
    "exposure_us": "coalesce(json_extract(m.body, '$.time.exposure_us'), -1)",
    "published_ns": "json_extract(m.body, '$.time.published_ns')",
    "synchronized": "json_extract(m.body, '$.time.synchronized')",
    "max_error_us": "coalesce(json_extract(m.body, '$.time.max_error_us'), -1)",
    "frame_width": "json_extract(m.body, '$.frame.width')",
    "frame_height": "json_extract(m.body, '$.frame.height')",
    "frames_dropped": "json_extract(m.body, '$.frame.dropped')",
    "capture_ms": "json_extract(m.body, '$.timing_ms.capture')",
    "detect_ms": "json_extract(m.body, '$.timing_ms.detect')",
    "track_ms": "json_extract(m.body, '$.timing_ms.track')",
    "translate_ms": "coalesce(json_extract(m.body, '$.timing_ms.translate'), 0.0)",
    "classify_ms": "json_extract(m.body, '$.timing_ms.classify')",
    "mesh_ms": "coalesce(json_extract(m.body, '$.timing_ms.mesh'), 0.0)",
    "total_ms": "json_extract(m.body, '$.timing_ms.total')",
}

_FACE: Final = {
    "track": "coalesce(json_extract(f.value, '$.track'), -1)",
    "participant": "json_extract(f.value, '$.participant')",
    "seat": "json_extract(f.value, '$.seat')",
    "box_x": "json_extract(f.value, '$.box[0]')",
    "box_y": "json_extract(f.value, '$.box[1]')",
    "box_width": "json_extract(f.value, '$.box[2]')",
    "box_height": "json_extract(f.value, '$.box[3]')",
    **_LANDMARKS,
    "detection_score": "json_extract(f.value, '$.score')",
    # logs of earlier versions have faces of full frames alone
    "found": "iif(f.value IS NULL, NULL, coalesce(json_extract(f.value, '$.found'), 'full'))",
    "track_age_s": "json_extract(f.value, '$.age_s')",
    "quality_usable": "coalesce(json_extract(f.value, '$.quality.usable'), 0)",
    "quality_size_px": "json_extract(f.value, '$.quality.size_px')",
    "quality_sharpness": "json_extract(f.value, '$.quality.sharpness')",
    "quality_brightness": "json_extract(f.value, '$.quality.brightness')",
    "quality_saturated": "json_extract(f.value, '$.quality.saturated')",
    "quality_yaw": "json_extract(f.value, '$.quality.yaw')",
    "reasons": "(SELECT group_concat(value, '|') FROM json_each(f.value, '$.quality.reasons'))",
    "label": "json_extract(f.value, '$.expression.label')",
    "stable_label": "json_extract(f.value, '$.expression.stable_label')",
    # logs of earlier versions have readings of their own picture alone
    "reading_age_s": "iif(json_extract(f.value, '$.expression.label') IS NULL, NULL,"
    " coalesce(json_extract(f.value, '$.expression.age_s'), 0.0))",
    # logs of earlier versions have expressions of the network alone
    "expression_head": "iif(json_extract(f.value, '$.expression.label') IS NULL, NULL,"
    " coalesce(json_extract(f.value, '$.expression.head'), 'network'))",
    **{
        f"p_{name}": f"json_extract(f.value, '$.expression.probabilities.{name}')"
        for name in EXPRESSIONS
    },
    "valence": "json_extract(f.value, '$.affect.valence')",
    "arousal": "json_extract(f.value, '$.affect.arousal')",
    "valence_smoothed": "json_extract(f.value, '$.affect.smoothed.valence')",
    "arousal_smoothed": "json_extract(f.value, '$.affect.smoothed.arousal')",
    "valence_relative": "json_extract(f.value, '$.affect.relative.valence')",
    "arousal_relative": "json_extract(f.value, '$.affect.relative.arousal')",
    "baseline": "json_extract(f.value, '$.affect.baseline')",
    # logs of earlier versions have values of the network alone
    "affect_source": "iif(json_extract(f.value, '$.affect.valence') IS NULL, NULL,"
    " coalesce(json_extract(f.value, '$.affect.source'), 'network'))",
    "mesh_yaw": "json_extract(f.value, '$.mesh.pose.yaw')",
    "mesh_pitch": "json_extract(f.value, '$.mesh.pose.pitch')",
    "mesh_roll": "json_extract(f.value, '$.mesh.pose.roll')",
    "mesh_left_eye": "json_extract(f.value, '$.mesh.eyes.left')",
    "mesh_right_eye": "json_extract(f.value, '$.mesh.eyes.right')",
    "mesh_mouth": "json_extract(f.value, '$.mesh.mouth')",
    "perclos": "json_extract(f.value, '$.mesh.lids.perclos')",
    "perclos_reason": "nullif(json_extract(f.value, '$.mesh.lids.perclos_reason'), '')",
    "blinks_per_min": "json_extract(f.value, '$.mesh.lids.blinks_per_min')",
    "blinks_reason": "nullif(json_extract(f.value, '$.mesh.lids.blinks_reason'), '')",
}

_EVENT: Final = _HEAD | {
    "monotonic_ns": "json_extract(m.body, '$.time.monotonic_ns')",
    "event": "json_extract(m.body, '$.event')",
    "detail": "json_extract(m.body, '$.detail')",
    "first_missing": "-1",
    "last_missing": "-1",
}


def _view(name: str, columns: list[str], by_column: dict[str, str], source: str) -> str:
    cells = ",\n    ".join(f"{by_column[column]} AS {column}" for column in columns)
    return f"CREATE VIEW {name} AS SELECT\n    {cells}\nFROM {source};\n"


def check_identity(database: sqlite3.Connection, name: str) -> None:
    """Check that a database is a log of this version.

    Args:
        database: which may be read.
        name: begins the error message, such as ``log session.sqlite``.

    Raises:
        ConfigError: it is none.
        sqlite3.Error: it cannot be read.
    """
    identity, version = (
        database.execute(f"PRAGMA {pragma}").fetchone()[0]
        for pragma in ("application_id", "user_version")
    )
    if identity != APPLICATION_ID:
        raise ConfigError(
            f"{name}: is a database of another program; expected a log (.sqlite) that affect-edge"
            " log wrote: name another file"
        )
    if version != VERSION:
        raise ConfigError(
            f"{name}: has the tables of another version ({version}, expected {VERSION}); move it"
            " away, or name another file"
        )


def schema() -> str:
    """Return the SQL that makes the tables and views in an empty database."""
    frames = "messages m WHERE m.kind = 'frame'"
    faces = "messages m LEFT JOIN json_each(m.body, '$.faces') f WHERE m.kind = 'frame'"
    return "".join(
        [
            _TABLES,
            _view("frames", [name for name in COLUMNS if name in _FRAME], _FRAME, frames),
            _view("faces", list(COLUMNS), _FRAME | _FACE, faces),
            _view("events", list(EVENT_COLUMNS), _EVENT, "messages m WHERE m.kind = 'event'"),
        ]
    )
