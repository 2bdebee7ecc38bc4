#!/usr/bin/env python3
"""A Ganger worker in Python. Exit codes: 0 drained, 1 stopped at once, 3 refused by the broker, or none.

    python ganger_worker.py --broker tcp://127.0.0.1:7711 --slots 4

One thread owns the sockets, sends heartbeats and keeps the books; handlers run on a pool of others.
"""

import argparse
import os
import queue
import signal
import socket
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import zmq

from ganger_attempt import CANCELLED, FAILED, INTERRUPTED, RETURNED, SUCCEEDED, TIMED_OUT, Attempt, Stopped
from ganger_handlers import HANDLERS
from ganger_knowledge import Replica
from ganger_wire import BATCH_BYTES, BATCH_ITEMS, PROTOCOL, Link, Lost, Refused, new_id

DRAIN_SECONDS = 30.0


class Worker:
    def __init__(self, endpoint, slots, name):
        self.id, self.token, self.slots, self.name = new_id(), os.urandom(16), slots, name
        self.link = Link(endpoint, self.hello, lambda: {"revision": self.knowledge.own})
        self.knowledge, self.subscriber, self.requests = Replica(), None, 0
        self.waiting = deque()  # attempts that have not started
        self.running = {}  # lease -> attempt
        self.starts = []  # leases to report as started
        self.ends = {}  # lease -> end, to report
        self.unacknowledged = {}  # number of a report -> its ends
        self.reports = 0
        self.drain_until = None
        self.signals = 0
        self.finished = queue.SimpleQueue()
        self.wake, self.wakened = socket.socketpair()
        self.wakened.setblocking(False)
        self.pool = ThreadPoolExecutor(slots)

    def hello(self):
        held = [[*a.lease, a.began is not None] for a in (*self.running.values(), *self.waiting)]
        return {
            "protocol": PROTOCOL, "worker": self.id, "token": self.token, "name": self.name,
            "host": socket.gethostname(), "pid": os.getpid(), "kinds": list(HANDLERS),
            "slots": self.slots, "holding": held, "revision": self.knowledge.own,
            "draining": self.drain_until is not None,
        }  # fmt: skip

    def run(self):
        """Serves until it is drained. Raises Refused when the broker does not want it."""
        while True:
            try:
                self.on_welcome(self.link.connect(stopped=lambda: self.signals > 0 and not self.running))
                while not self.is_done():
                    self.turn()
                return self.link.goodbye("drained")
            except Lost as why:
                print(f"reconnecting: {why}", file=sys.stderr)

    def is_done(self):
        left = self.waiting or self.running or self.ends or self.unacknowledged
        return self.drain_until is not None and not left

    def on_welcome(self, welcome):
        # What was reported on the old connection and not acknowledged is reported again, before the
        # first heartbeat (section 7.8).
        for ends in self.unacknowledged.values():
            self.ends.update({(end[0], end[1], end[2]): end for end in ends})
        self.unacknowledged.clear()
        self.starts.clear()  # the hello has told them
        self.knowledge.on_welcome(welcome)
        if self.subscriber is None:
            self.subscriber = self.link.subscribe("k/", "beat")
        self.report()

    def turn(self):
        self.link.tick()
        self.link.wait(0.05, self.subscriber, self.wakened)
        try:
            self.wakened.recv(4096)
        except BlockingIOError:
            pass
        for kind, body in self.link.messages():
            getattr(self, f"on_{kind}", lambda body: None)(body)
        while self.subscriber.poll(0):
            self.knowledge.on_publication(*self.subscriber.recv_multipart())
        operation = self.knowledge.request()
        if operation is not None:
            self.requests += 1
            self.link.send("knowledge", {"req": self.requests, "op": operation})
        self.check_clocks()
        self.take_finished()
        self.fill_slots()
        self.report()

    def on_tasks(self, body):
        for row in body["tasks"]:
            attempt = Attempt(body["epoch"], row)
            if self.drain_until is not None or attempt.kind not in HANDLERS:
                self.end(attempt, RETURNED)
            else:
                self.waiting.append(attempt)

    def on_start(self, body):
        for lease in map(tuple, body["leases"]):
            attempt = self.running.get(lease)
            if attempt is not None and attempt.detail.pop("confirm", False):
                attempt.began = time.monotonic()
                self.pool.submit(self.handle, attempt)

    def on_recall(self, body):
        for _ in range(min(body["count"], len(self.waiting))):
            self.end(self.waiting.pop(), RETURNED)
        self.report(recall=body["recall"])

    def on_cancel(self, body):
        leases = {tuple(lease) for lease in body["leases"]}
        for attempt in [attempt for attempt in self.waiting if attempt.lease in leases]:
            self.waiting.remove(attempt)
            self.end(attempt, RETURNED)
        for lease in leases & self.running.keys():
            self.stop(self.running[lease], CANCELLED)

    def on_ack(self, body):
        for number in [number for number in self.unacknowledged if number <= body["upto"]]:
            del self.unacknowledged[number]

    def on_drain(self, body):
        deadline = body.get("deadline_ms")
        self.drain(DRAIN_SECONDS if deadline is None else deadline / 1000)

    def on_knowledge(self, body):
        self.knowledge.on_answer(body["answer"])

    def on_error(self, body):
        if body.get("req") == self.requests:
            self.knowledge.on_error(body["code"])
        else:
            print(f"refused: {body['code']}: {body['text']}", file=sys.stderr)

    def drain(self, seconds):
        if self.drain_until is None:
            self.link.send("drain", {"deadline_ms": int(seconds * 1000)})
        self.drain_until = time.monotonic() + seconds
        while self.waiting:
            self.end(self.waiting.pop(), RETURNED)

    def check_clocks(self):
        now = time.monotonic()
        if self.signals and self.drain_until is None:
            self.drain(DRAIN_SECONDS)
        for attempt in list(self.running.values()):
            limit = attempt.detail.get("run_limit_ms")
            if limit is not None and now - attempt.began > limit / 1000 and not attempt.detail.get("confirm"):
                self.stop(attempt, TIMED_OUT)
            if self.drain_until is not None and now > self.drain_until:
                self.stop(attempt, INTERRUPTED)

    def stop(self, attempt, stop_as):
        if not attempt.stop.is_set():
            attempt.stop_as = stop_as
            attempt.stop.set()
        if attempt.detail.get("confirm"):  # it never ran
            del self.running[attempt.lease]
            self.end(attempt, attempt.stop_as)

    def fill_slots(self):
        while self.waiting and len(self.running) < self.slots:
            attempt = self.waiting.popleft()
            attempt.began = time.monotonic()
            self.running[attempt.lease] = attempt
            self.starts.append(attempt.lease)
            if not attempt.detail.get("confirm"):
                self.pool.submit(self.handle, attempt)

    def handle(self, attempt):
        """Runs on the pool."""
        result, error = b"", None
        try:
            result, end = HANDLERS[attempt.kind](attempt.payload, attempt, self.knowledge), SUCCEEDED
        except Stopped:
            end = attempt.stop_as
        except Exception as failure:  # whatever a handler raises is the failure of its task
            end, error = FAILED, f"{type(failure).__name__}: {failure}"
        self.finished.put((attempt, end, result, error))
        self.wake.send(b"!")

    def take_finished(self):
        while not self.finished.empty():
            attempt, end, result, error = self.finished.get()
            del self.running[attempt.lease]
            self.end(attempt, end, result, error)

    def end(self, attempt, end, result=b"", error=None):
        ran = 0 if attempt.began is None else int((time.monotonic() - attempt.began) * 1e6)
        detail = [] if error is None else [{"error": error.encode()[:4096].decode(errors="ignore")}]
        self.ends[attempt.lease] = [*attempt.lease, end, ran, result, *detail]

    def report(self, recall=None):
        """Tells what has started and ended since the last report."""
        starts = [lease for lease in self.starts if lease in self.running]
        self.starts.clear()
        while starts or self.ends or recall is not None:
            batch, size = [], 0
            while self.ends and len(batch) < BATCH_ITEMS and size < BATCH_BYTES:
                end = self.ends.pop(next(iter(self.ends)))
                batch.append(end)
                size += len(end[5])
            number = 0
            if batch or recall is not None:
                self.reports += 1
                number = self.reports
            if batch:
                self.unacknowledged[number] = batch
            body = {"seq": number, "started": starts, "ended": batch, "waiting": len(self.waiting)}
            self.link.send("report", body if recall is None else {**body, "recall": recall})
            starts, recall = [], None


def main():
    parser = argparse.ArgumentParser(description="A Ganger worker; kinds: " + ", ".join(HANDLERS))
    parser.add_argument("--broker", default="tcp://127.0.0.1:7711", help="the workers' endpoint")
    parser.add_argument("--slots", type=int, default=2, help="tasks at a time")
    parser.add_argument("--name", default="python", help="a label for people")
    args = parser.parse_args()
    worker = Worker(args.broker, args.slots, args.name)

    def on_signal(*_):
        worker.signals += 1
        if worker.signals > 1:
            os._exit(1)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        worker.run()
    except Refused as why:
        print(f"refused: {why}", file=sys.stderr)
        os._exit(3)
    os._exit(0)  # a handler that did not stop when told must not keep the process


if __name__ == "__main__":
    main()
