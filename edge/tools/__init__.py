"""Commands on top of ``edge.client``: tail, log, operator's requests, demo."""
