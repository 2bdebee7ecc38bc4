"""What a worker and a client in Python share: one connection to a Ganger broker.

Written from docs/protocol.md alone; the section numbers below are that page's.
"""

import os
import random
import time
import uuid

import msgpack
import zmq
import zmq.auth

PROTOCOL = [1, 0]
CONNECT_TIMEOUT = 2.0  # seconds until a hello must be answered
PAUSE_FIRST, PAUSE_MAX = 0.05, 2.0  # between two tries to connect (section 5.6)
BATCH_ITEMS, BATCH_BYTES = 4096, 4 << 20  # of one message (section 17)
HEARTBEAT_BYTES = 4 << 20  # a heartbeat after every so many bytes received (section 5.4)

RETRYABLE = {
    "hello_first", "too_many_sessions", "busy", "storage_full", "draining", "slow_reader", "silent",
}  # fmt: skip


class Lost(Exception):
    """The connection is gone: make a new one."""


class Refused(Exception):
    """The broker will not have us: trying again is pointless."""


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def unpack(data):
    return msgpack.unpackb(data, raw=False)


def new_id():
    """A UUID of version 7: 48 bits of time, then random bits, so that ids sort by time."""
    bits = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    return bits.to_bytes(16, "big")


def show_id(raw):
    return str(uuid.UUID(bytes=raw))


def secure(socket):
    """Encrypts a socket, if there are keys: CURVE, with our key and that of the one broker that we trust.

    They come from where the programs in Rust take them: GANGER_SECRET_KEY names the file that
    `ganger keygen` made, GANGER_BROKER_KEY is the broker's public key.
    """
    path, broker = os.environ.get("GANGER_SECRET_KEY"), os.environ.get("GANGER_BROKER_KEY")
    if not path or not broker:
        return
    if os.stat(path).st_mode & 0o077:
        raise Refused(f"others can read the secret key in {path}; run: chmod 600 {path}")
    public, secret = zmq.auth.load_certificate(path)
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.curve_serverkey = broker.encode()
    # A broker with keys has a door, which answers the heartbeats of ZeroMQ itself.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)


class Link:
    """A connection with its session: hello, heartbeats, marks, silence.

    `hello` makes the body of each hello, `beat` the body of each heartbeat (the mark is added here).
    All methods belong to one thread; no handler of tasks may run on it.
    """

    def __init__(self, endpoint, hello, beat=dict):
        self.endpoint, self.hello, self.beat = endpoint, hello, beat
        self.context = zmq.Context.instance()
        self.socket = self.monitor = None
        self.welcome = {}
        self.connections = 0

    def connect(self, give_up_at=None, stopped=lambda: False):
        """Connects, says hello and waits for the welcome; tries again until that works."""
        pause = PAUSE_FIRST
        while True:
            try:
                return self._connect_once()
            except Lost as why:
                now = time.monotonic()
                if give_up_at is not None and now + pause > give_up_at:
                    raise Refused(f"no broker at {self.endpoint}: {why}") from why
                if stopped():
                    raise Refused("stopped while there was no broker") from why
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, PAUSE_MAX)

    def _connect_once(self):
        self.close()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDTIMEO, 1000)  # a broken connection must not block us for ever
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)  # a new connection begins with a new hello
        secure(self.socket)
        broken = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
        self.monitor = self.socket.get_monitor_socket(broken)
        self.socket.connect(self.endpoint)
        self.mark = self.unread = 0
        self.interval, self.silence = 1.0, CONNECT_TIMEOUT
        self.heard = time.monotonic()
        self.beat_at = self.heard + CONNECT_TIMEOUT * 2
        self.send("hello", self.hello())
        while True:
            self.wait(0.1)
            for kind, body in self.messages():
                if kind == "welcome":
                    self._begin(body)
                    return body
                if kind == "error" and body.get("req") is None:
                    raise (Lost if body["code"] in RETRYABLE else Refused)(body["text"])
            self.tick()

    def _begin(self, welcome):
        self.welcome = welcome
        self.connections += 1
        self.interval = welcome["heartbeat_ms"] / 1000
        self.silence = self.interval * welcome["liveness"]
        self.heard = time.monotonic()
        self.beat_at = self.heard + self.interval

    def send(self, kind, body):
        try:
            self.socket.send(pack([kind, body]))
        except zmq.Again:
            raise Lost("the broker takes nothing") from None

    def tick(self):
        """Sends a heartbeat when it is due. Raises Lost when the broker has been silent for too long."""
        now = time.monotonic()
        if now - self.heard > self.silence:
            raise Lost("the broker is silent")
        if now >= self.beat_at or self.unread >= HEARTBEAT_BYTES:
            self.send("heartbeat", {**self.beat(), "mark": self.mark})
            self.beat_at, self.unread = now + self.interval, 0

    def wait(self, timeout, *others):
        """Sleeps until something can be read here or from the others, or a heartbeat is due."""
        poller = zmq.Poller()
        for source in (self.socket, self.monitor, *others):
            poller.register(source, zmq.POLLIN)
        due = max(0.0, min(timeout, self.beat_at - time.monotonic()))
        poller.poll(due * 1000)

    def messages(self):
        """Every message that is there, but for heartbeats. Raises Lost when the connection is gone."""
        while True:
            try:
                data = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            self.heard = time.monotonic()
            self.unread += len(data)
            kind, body = unpack(data)[:2]
            if kind == "heartbeat":
                self.mark = body["mark"]
            if kind == "goodbye":
                code, text = body.get("code"), body.get("text", "")
                raise (Lost if code in RETRYABLE else Refused)(text)
            if kind == "error" and body["code"] == "hello_first":
                raise Lost("the broker does not know this connection")
            yield kind, body
        if self.monitor.poll(0):
            raise Lost("the connection broke")

    def subscribe(self, *prefixes):
        """A subscriber to the broker's publications. It reconnects by itself: gaps are seen and repaired."""
        subscriber = self.context.socket(zmq.SUB)
        subscriber.setsockopt(zmq.LINGER, 0)
        secure(subscriber)
        for prefix in prefixes:
            subscriber.subscribe(prefix)
        if self.welcome["knowledge_port"]:
            host = self.endpoint.rsplit(":", 1)[0]
            subscriber.connect(f"{host}:{self.welcome['knowledge_port']}")
        return subscriber

    def goodbye(self, text):
        """Ends the session. Waits a little for the broker to close the connection: then it was read."""
        self.send("goodbye", {"text": text})
        self.monitor.poll(500)
        self.close()

    def close(self):
        if self.socket is not None:
            self.socket.disable_monitor()
            self.monitor.close(linger=0)
            self.socket.close(linger=0)
            self.socket = self.monitor = None
