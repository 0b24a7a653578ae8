"""Who may connect: CURVE keys of the sockets; TLS and token of the metrics."""
