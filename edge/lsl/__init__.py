"""``affect-edge lsl``: offers a daemon's results as streams of the Lab Streaming Layer (LSL).

A process of its own, which subscribes to daemons: the native library liblsl never shares a process
with the hub. liblsl listens on every interface and asks nobody for a key, so an interface has to be
named, and every socket of liblsl is confined to it.
"""
