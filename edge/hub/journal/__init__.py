"""The journal: stored messages of this stream, for consumers that were away."""

from edge.hub.journal.batch import BEFORE_ALL, Batch, MissingRange, Position
from edge.hub.journal.journal import MEMORY_ONLY_BYTES, Journal

__all__ = ["BEFORE_ALL", "MEMORY_ONLY_BYTES", "Batch", "Journal", "MissingRange", "Position"]
