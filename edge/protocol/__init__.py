"""The wire: messages and requests, checked by pydantic; no sockets, no arrays."""
