"""The journal: stored messages of this stream, for consumers that were away."""

from edge.hub.journal.batch import Batch, MissingRange, Position
from edge.hub.journal.journal import Journal

__all__ = ["Batch", "Journal", "MissingRange", "Position"]
