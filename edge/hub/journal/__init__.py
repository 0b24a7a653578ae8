"""The journal: stored messages of this stream, for consumers that were away."""
