"""Run a command in a network of its own and print each packet that asks for another machine.

Run as ``unshare --net [--map-root-user] python packet_trap.py COMMAND...``. The network has a
loopback interface, and one more that leads nowhere: with a default route, so that an attempt to
reach any address leaves a packet there, and the attempt itself just times out.

Prints one line for each attempt, ``PROTOCOL ADDRESS:PORT``, on standard output; what COMMAND prints
goes to standard error. Returns COMMAND's exit status.
"""

import ipaddress
import selectors
import socket
import struct
import subprocess
import sys

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
TCP, UDP = 6, 17
DNS = 53

SET_UP = """
ip link set lo up
ip link add trap type veth peer name sink
ip link set sink up
ip link set trap up
ip address add 198.51.100.2/24 dev trap
ip route add default via 198.51.100.1
ip neighbour add 198.51.100.1 lladdr 02:00:00:00:00:01 nud permanent dev trap
ip -6 address add 2001:db8::2/64 dev trap nodad
ip -6 route add default via 2001:db8::1
ip -6 neighbour add 2001:db8::1 lladdr 02:00:00:00:00:01 nud permanent dev trap
"""
"""Addresses from the blocks for documentation: no machine has them."""


def attempt(interface: str, packet: bytes) -> str:
    """Return what the packet asks for; empty if it stays on this machine.

    On the loopback interface only a question to a local name server counts: it would forward it.
    """
    kind = struct.unpack_from("!H", packet, 12)[0]
    header = packet[14:]
    if kind == ETH_P_IP:
        protocol, to, start = header[9], header[16:20], 4 * (header[0] & 15)
    elif kind == ETH_P_IPV6:
        protocol, to, start = header[6], header[24:40], 40
    else:
        return ""
    if protocol not in (TCP, UDP):
        return ""  # the kernel's own, such as neighbour discovery
    port = struct.unpack_from("!H", header, start + 2)[0]
    if interface == "lo" and not (port == DNS and protocol == UDP):
        return ""
    return f"{'TCP' if protocol == TCP else 'UDP'} {ipaddress.ip_address(to)}:{port}"


def main(command: list[str]) -> int:
    """Run ``command`` and print its attempts."""
    for line in SET_UP.strip().splitlines():
        subprocess.run(line.split(), check=True)
    attempts: dict[str, None] = {}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as trap:
        trap.setblocking(False)
        process = subprocess.Popen(command, stdout=sys.stderr)
        selector = selectors.DefaultSelector()
        selector.register(trap, selectors.EVENT_READ)
        ended = False
        while not ended:
            ended = process.poll() is not None  # then what came before is read once more
            selector.select(0.1)
            try:
                while True:
                    packet, (interface, *_) = trap.recvfrom(65536)
                    if asked := attempt(interface, packet):
                        attempts[asked] = None
            except BlockingIOError:
                pass
    for asked in attempts:
        print(asked)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
