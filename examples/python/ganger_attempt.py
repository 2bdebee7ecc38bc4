"""One attempt of a task, as the worker keeps it and as a handler sees it."""

import threading

# How an attempt ends, by the codes of section 7.3 of docs/protocol.md.
SUCCEEDED, FAILED, CANCELLED, TIMED_OUT, INTERRUPTED, RETURNED = range(6)


class Stopped(Exception):
    """Raised in a handler that has seen that its attempt is to stop."""


class Attempt:
    def __init__(self, epoch, row):
        self.task, self.number, self.kind, self.payload = row[:4]
        self.detail = (row[4] if len(row) > 4 else None) or {}
        self.lease = (self.task, epoch, self.number)
        self.began = None  # when it started, by the monotonic clock
        self.stop = threading.Event()
        self.stop_as = CANCELLED  # what to report if the handler obeys

    def check(self):
        """For handlers that take long: call it now and then."""
        if self.stop.is_set():
            raise Stopped
