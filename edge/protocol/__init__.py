"""The wire: messages, events and requests, validated by pydantic; no sockets, no arrays."""
