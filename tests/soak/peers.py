"""Peers that no broker wants, for measuring what honest ones notice. Standard library only.

    peers.py churn  PORT SECONDS    connections come, shake hands and go, 100 a second
    peers.py storm  PORT SECONDS    connections as fast as this machine makes them
    peers.py silent PORT SECONDS    a thousand that say nothing, renewed when they are closed
    peers.py half   PORT SECONDS    handshakes that begin and do not go on, as many as there may be
    peers.py large  PORT SECONDS    messages that announce too much, or never end
    peers.py deaf   PORT SECONDS    subscribers and peers that never read
"""

import random
import socket
import struct
import sys
import time

MODE, PORT, SECONDS = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
UNTIL = time.monotonic() + SECONDS


def greeting(mechanism=b"NULL"):
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def frame(flags, body):
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body


def ready(kind):
    name = b"Socket-Type"
    return frame(4, b"\x05READY" + bytes([len(name)]) + name + struct.pack(">I", len(kind)) + kind)


def connect():
    peer = socket.socket()
    peer.settimeout(1)
    try:
        peer.connect(("127.0.0.1", PORT))
    except OSError:
        peer.close()
        return None
    return peer


def say(peer, what):
    try:
        peer.sendall(what)
        return True
    except OSError:
        return False


def churn():
    made, open_ones, due = 0, [], time.monotonic()
    while time.monotonic() < UNTIL:
        due += 0.01
        time.sleep(max(0.0, due - time.monotonic()))
        peer = connect()
        if peer is None:
            continue
        made += 1
        how = random.random()
        if how < 0.8:
            say(peer, greeting() + ready(b"DEALER"))
        elif how < 0.9:
            say(peer, greeting()[: random.randrange(64)])
        if how < 0.4:
            say(peer, frame(0, b"not a message of the protocol"))
        open_ones.append((time.monotonic() + random.random() * 0.5, peer))
        while open_ones and open_ones[0][0] < time.monotonic():
            open_ones.pop(0)[1].close()
    return made


def storm():
    made = 0
    while time.monotonic() < UNTIL:
        peer = connect()
        if peer is not None:
            made += 1
            peer.close()
    return made


def hold(count, first):
    made, held = 0, []
    while time.monotonic() < UNTIL:
        if len(held) < count:
            peer = connect()
            if peer is not None:
                say(peer, first)
                peer.setblocking(False)
                held.append(peer)
                made += 1
                continue
        time.sleep(0.05)
        still = []
        for peer in held:
            try:
                gone = peer.recv(64) == b""
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                peer.close()
            else:
                still.append(peer)
        held = still
    return made


def large():
    made = 0
    while time.monotonic() < UNTIL:
        peer = connect()
        if peer is None:
            continue
        made += 1
        say(peer, greeting() + ready(b"DEALER"))
        how = made % 3
        if how == 0:
            say(peer, b"\x02" + struct.pack(">Q", 1 << 62))
        elif how == 1:
            say(peer, frame(1, b"") * 100_000)
        else:
            say(peer, b"\x02" + struct.pack(">Q", 16 << 20) + bytes(1 << 20))
            time.sleep(0.02)
        peer.close()
    return made


def deaf():
    return hold(100, greeting() + ready(b"DEALER") + frame(0, b"tell me something") * 100)


MODES = {
    "churn": churn,
    "storm": storm,
    "silent": lambda: hold(1_000, b""),
    "half": lambda: hold(10_000, greeting()[:32]),
    "large": large,
    "deaf": deaf,
}
print(MODE, MODES[MODE](), "connections")
