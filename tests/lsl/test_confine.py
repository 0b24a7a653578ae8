"""Sockets of a process are confined to an interface; those of others in it are left alone."""

import json
import subprocess
import sys

import pytest

from tests.support.daemons import ROOT
from tests.support.namespaces import Network

SCRIPT = """
import json, socket, sys
from edge.lsl.confine import confine, open_ports, ports_in_words
from edge.lsl.interface import Interface

def listening(kind):
    opened = socket.socket(socket.AF_INET, kind)
    opened.bind(("0.0.0.0", 0))
    if kind == socket.SOCK_STREAM:
        opened.listen()
    return opened, opened.getsockname()[1]

tcp, number = listening(socket.SOCK_STREAM)
udp, other = listening(socket.SOCK_DGRAM)
outside = socket.create_connection(("127.0.0.2", number))
accepted_outside, _ = tcp.accept()
inside = socket.create_connection(("127.0.0.1", number))
accepted_inside, _ = tcp.accept()
before = open_ports()
ports = confine(Interface("lo", "127.0.0.1"))
again = confine(Interface("lo", "127.0.0.1"))
accepted_inside.sendall(b"x")
outside.settimeout(5)
print(json.dumps({
    "before": sorted({port.device for port in before}),
    "ports": [[port.protocol, port.number in (number, other), port.device] for port in ports],
    "words": ports_in_words(ports) == f"TCP {number}, UDP {other}",
    "again": ports == again,
    "inside": inside.recv(1).decode(),
    "outside": outside.recv(1).decode(),
    "client": inside.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).decode(),
}))
"""

REFUSED = """
import socket
from edge.errors import ConfigError
from edge.lsl.confine import confine
from edge.lsl.interface import Interface
with socket.create_server(("0.0.0.0", 0)):
    try:
        confine(Interface("gone0", "10.0.0.1"))
    except ConfigError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def network():
    with Network() as network:
        yield network


def output_of(network, script):
    command = [*network.prefix, sys.executable, "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_listening_sockets_are_confined_and_early_connections_cut(network):
    assert json.loads(output_of(network, SCRIPT)) == {
        "before": [""],
        "ports": [["TCP", True, "lo"], ["UDP", True, "lo"]],
        "words": True,
        "again": True,
        "inside": "x",
        "outside": "",
        "client": "",
    }


def test_an_interface_that_has_gone_is_one_line(network):
    text = output_of(network, REFUSED)
    assert text == "--interface gone0: No such device; is the interface still there?\n"
