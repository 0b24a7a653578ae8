"""Messages on their way to storage, and the compressed groups in which they are stored.

A group holds consecutive messages of one epoch: their JSON joined by line feeds, compressed with
zlib. A preset dictionary spares each group the field names, which are most of a single message.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge.hub.journal.batch import Position

GROUP_MESSAGES: Final = 256
GROUP_BYTES: Final = 256 << 10
"""Limits of one group, uncompressed: a reader decompresses whole groups."""

_LEVEL: Final = 6
_ENDED: Final = b'"event":"epoch_ended"'  # a text in a message would have its quotes escaped

DICTIONARY: Final = (
    b'"event":"mark","detail":{"text":""}}"event":"participant_track_ended","detail":{"track":1,'
    b'"participant":"P0"}}"kind":"event","device":"edge","stream":""faces":[]}'
    b'"participant":"P01","too_small","blurred","too_dark","too_bright","saturated","turned_away",'
    b'"outside_frame","usable":false,"reasons":["expression":null,"affect":null}'
    b'"max_error_us":350},"synchronized":true,"clock":"boottime""clock":"media""exposure_us":8000'
    b'"label":"sad""label":"surprise""label":"fear""label":"disgust""label":"anger"'
    b'"label":"contempt""relative":{"valence":-0.,"arousal":-0.},"baseline":"ready"}}'
    b'{"schema":"affect.v1","kind":"frame","device":"edge","stream":"","epoch":1,"seq":1,'
    b'"frame":{"index":1,"width":1280,"height":720,"dropped":0,"file":null,"page":null},'
    b'"time":{"sensor_ns":1,"clock":"monotonic","exposure_us":null,"unix_ns":179,'
    b'"published_ns":1,"synchronized":false,"max_error_us":null},"timing_ms":{"capture":1.,'
    b'"detect":9.,"track":0.1,"translate":0.0,"classify":1.,"mesh":0.0,"total":1.},"faces":[{"track":1,'
    b'"participant":null,"box":[1.0,1.0,1.0,1.0],"landmarks":[[1.0,1.0],[1.0,1.0],[1.0,1.0],'
    b'[1.0,1.0],[1.0,1.0]],"score":0.9,"age_s":1.0,"quality":{"usable":true,"reasons":[],'
    b'"size_px":1.0,"sharpness":0.0,"brightness":0.6,"saturated":0.0,"yaw":-1.0},"expression":'
    b'{"label":"happy","probabilities":{"neutral":0.0,"happy":0.0,"sad":0.0,"surprise":0.0,'
    b'"fear":0.0,"disgust":0.0,"anger":0.0,"contempt":0.0},"stable_label":"neutral","age_s":0.0,"head":"features"},'
    b'"affect":{"valence":0.0,"arousal":-0.0,"smoothed":{"valence":0.0,"arousal":-0.0},'
    b'"relative":null,"baseline":"none"},"mesh":null}]}\n'
)
"""What messages have in common. Stored in each file, so that it may change between versions."""


class Entry(NamedTuple):
    """A message to store: its position, wall time (ns since 1970) and JSON without the topic."""

    epoch: int
    seq: int
    unix_ns: int
    body: bytes

    @property
    def position(self) -> Position:
        """The position of the message."""
        return Position(self.epoch, self.seq)

    @property
    def is_last(self) -> bool:
        """Whether this is the event ``epoch_ended``, after which the epoch has no message."""
        return _ENDED in self.body


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive messages of one epoch as they are stored.

    Attributes:
        epoch: of the messages.
        first_seq: number of the first one.
        last_seq: number of the last one.
        unix_ns: wall time of the first one.
        size: bytes of ``lines``.
        data: ``lines``, compressed.
    """

    epoch: int
    first_seq: int
    last_seq: int
    unix_ns: int
    size: int
    data: bytes

    @property
    def last_position(self) -> Position:
        """The position of the last message."""
        return Position(self.epoch, self.last_seq)

    def lines(self, dictionary: bytes) -> bytes:
        """Return the messages joined by line feeds.

        Raises:
            ValueError: the data is damaged.
        """
        try:
            lines = zlib.decompressobj(zdict=dictionary).decompress(self.data, self.size + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if len(lines) != self.size:
            raise ValueError(f"expected {self.size} bytes, decompressed {len(lines)}")
        if (count := lines.count(b"\n") + 1) != self.last_seq + 1 - self.first_seq:
            raise ValueError(f"{count} messages from {self.first_seq} to {self.last_seq}")
        return lines


def pack(epoch: int, first_seq: int, unix_ns: int, lines: bytes, dictionary: bytes) -> Group:
    """Return the group of the messages ``lines``, joined by line feeds."""
    compressor = zlib.compressobj(_LEVEL, zdict=dictionary)
    data = compressor.compress(lines) + compressor.flush()
    last_seq = first_seq + lines.count(b"\n")
    return Group(epoch, first_seq, last_seq, unix_ns, len(lines), data)


def into_groups(entries: Iterable[Entry], dictionary: bytes) -> Iterator[Group]:
    """Yield groups of entries that are in order; a group ends at a gap, an epoch or its limit."""
    run: list[Entry] = []
    size = 0
    for entry in entries:
        follows = run and (entry.epoch, entry.seq) == (run[-1].epoch, run[-1].seq + 1)
        if run and (not follows or len(run) >= GROUP_MESSAGES or size > GROUP_BYTES):
            yield _group(run, dictionary)
            run, size = [], 0
        run.append(entry)
        size += len(entry.body) + 1
    if run:
        yield _group(run, dictionary)


def _group(run: Sequence[Entry], dictionary: bytes) -> Group:
    lines = b"\n".join(entry.body for entry in run)
    return pack(run[0].epoch, run[0].seq, run[0].unix_ns, lines, dictionary)
