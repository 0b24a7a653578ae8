"""Commands on top of ``edge.client``: tail, log, the operator's requests, demo."""
