#!/usr/bin/env python3
"""A Ganger client in Python: hands in tasks, waits for every outcome, prints a JSON summary.

    python ganger_client.py echo "from python"
    python ganger_client.py py.upper --tasks 1000 --broker tcp://127.0.0.1:7710
    python ganger_client.py py.know --tasks 10 --put app/colour=green

Exit codes: 0 every task succeeded, 1 some did not, 2 bad arguments, 3 no broker, or it refused.
"""

import argparse
import collections
import heapq
import itertools
import json
import os
import sys
import time

from ganger_wire import (
    BATCH_BYTES, BATCH_ITEMS, PROTOCOL, RETRYABLE, Link, Lost, Refused, new_id, pack, show_id, unpack,
)  # fmt: skip

OUTCOMES = ["succeeded", "failed", "cancelled", "expired", "dead"]


class Client:
    def __init__(self, endpoint, give_up_at):
        self.id, self.token, self.give_up_at = new_id(), os.urandom(16), give_up_at
        self.link = Link(endpoint, self.hello)
        self.numbers = itertools.count(1)
        self.open = {}  # id -> task: handed in, or about to be, and not settled
        self.to_submit = collections.deque()  # ids
        self.submitted = set()  # ids that were sent at least once: the next time it is `again`
        self.batches = {}  # number of a submit -> its ids, until it is answered
        self.later = []  # (when, id) of tasks that were refused for now
        self.settled = collections.Counter()
        self.outcomes = {}  # id -> (outcome, result, error)
        self.resubmitted = 0

    def hello(self):
        return {"protocol": PROTOCOL, "client": self.id, "token": self.token, "name": "python"}

    def connect(self):
        self.link.connect(self.give_up_at)
        # Whatever was not settled is handed in again: the same id is the same task (section 6.5).
        self.batches.clear()
        self.later.clear()
        self.to_submit = collections.deque(self.open)

    def with_connection(self, work):
        """Repeats `work` on a new connection for as long as the old one breaks."""
        while True:
            try:
                if self.link.socket is None:
                    self.connect()
                return work()
            except Lost as why:
                print(f"reconnecting: {why}", file=sys.stderr)
                self.link.close()

    def ask(self, operation):
        """One operation on the knowledge map. Returns its answer, or raises KeyError with the code."""

        def work():
            number = next(self.numbers)
            self.link.send("knowledge", {"req": number, "op": operation})
            while True:
                for kind, body in self.turn():
                    if body.get("req") == number and kind == "knowledge":
                        return body["answer"]
                    if body.get("req") == number and kind == "error":
                        raise KeyError(body["code"], body["text"])

        return self.with_connection(work)

    def run(self, tasks, window):
        """Hands in every task and waits until all have settled. At most `window` are open at a time."""

        def work():
            more = True
            while more or self.open:
                while more and len(self.open) < window:
                    task = next(tasks, None)
                    more = task is not None
                    if more:
                        self.open[task[0]] = task
                        self.to_submit.append(task[0])
                self.submit()
                for kind, body in self.turn():
                    if kind == "accepted":
                        self.on_accepted(body)
                    elif kind == "outcomes":
                        self.on_outcomes(body)

        self.with_connection(work)

    def turn(self):
        if time.monotonic() > self.give_up_at:
            raise Refused(f"time is up, {len(self.open)} tasks have not settled")
        self.link.tick()
        self.link.wait(0.05)
        yield from self.link.messages()

    def submit(self):
        while self.later and self.later[0][0] <= time.monotonic():
            self.to_submit.append(heapq.heappop(self.later)[1])
        while self.to_submit:
            # A message says for all its tasks whether they were handed in before.
            again = self.to_submit[0] in self.submitted
            ids, size = [], 0
            while self.to_submit and len(ids) < BATCH_ITEMS and size < BATCH_BYTES:
                if (self.to_submit[0] in self.submitted) != again:
                    break
                ids.append(self.to_submit.popleft())
                size += len(self.open[ids[-1]][2])
            self.resubmitted += len(ids) if again else 0
            self.submitted.update(ids)
            number = next(self.numbers)
            self.batches[number] = ids
            self.link.send("submit", {"seq": number, "again": again, "tasks": [self.open[i] for i in ids]})

    def on_accepted(self, body):
        ids = self.batches.pop(body["seq"], [])
        for index, code, text, *delay in body.get("refused", []):
            if code in RETRYABLE:
                wait = (delay[0] if delay and delay[0] is not None else 1000) / 1000
                heapq.heappush(self.later, (time.monotonic() + wait, ids[index]))
            else:
                self.settle(ids[index], "refused", b"", f"{code}: {text}")

    def on_outcomes(self, body):
        for task, outcome, _attempt, result, *detail in body["items"]:
            error = ((detail[0] if detail else None) or {}).get("error")
            self.settle(task, OUTCOMES[outcome], result, error)
        self.link.send("ack", {"upto": body["upto"]})

    def settle(self, task, outcome, result, error):
        if self.open.pop(task, None) is not None:  # an outcome may come twice
            self.submitted.discard(task)
            self.settled[outcome] += 1
            self.outcomes[task] = (outcome, result, error)


def payload_for(args, number):
    """The payload of a task of a kind of ganger_worker.py, and the result to expect (or None)."""
    if args.payload:
        return args.payload[number % len(args.payload)].encode(), None
    if args.kind == "py.sum":
        return pack(list(range(number))), pack(sum(range(number)))
    if args.kind == "py.sleep":
        return b"10", b"10"
    if args.kind == "py.know" and args.put:
        place, value = args.put.split("=", 1)
        return place.encode(), value.encode()
    return f"task {number}".encode(), f"TASK {number}".encode() if args.kind == "py.upper" else None


def main():
    parser = argparse.ArgumentParser(description="Hands in tasks and waits for their outcomes.")
    parser.add_argument("kind", nargs="?", default="py.upper", help="which handler")
    parser.add_argument("payload", nargs="*", help="one for each task; without any: what suits the kind")
    parser.add_argument("--broker", default="tcp://127.0.0.1:7710", help="the clients' endpoint")
    parser.add_argument("--tasks", type=int, help="how many; default: one for each payload, else 100")
    parser.add_argument("--window", type=int, default=10_000, help="most tasks that are open at a time")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for everything")
    parser.add_argument("--put", metavar="TOPIC/KEY=VALUE", help="first put this; the tasks wait for it")
    parser.add_argument("--get", metavar="TOPIC/KEY", help="print this at the end")
    args = parser.parse_args()
    count = args.tasks if args.tasks is not None else len(args.payload) or 100
    for text, needs in [(args.put, "/="), (args.get, "/")]:
        if text is not None and not all(mark in text for mark in needs):
            parser.error(f"{text!r}: say TOPIC/KEY=VALUE to --put and TOPIC/KEY to --get")

    began = time.monotonic()
    client = Client(args.broker, began + args.timeout)
    summary, expected, options = {}, {}, {}
    try:
        if args.put:
            place, value = args.put.split("=", 1)
            topic, key = place.split("/", 1)
            put = {"topic": topic, "key": key, "value": value.encode()}
            summary["revision"] = client.ask({"put": put})["written"]["revision"]
            options["knowledge"] = summary["revision"]

        def tasks():
            for number in range(count):
                task = new_id()
                payload, expected[task] = payload_for(args, number)
                yield [task, args.kind, payload, *([options] if options else [])]

        client.run(tasks(), args.window)
        if args.get:
            topic, key = args.get.split("/", 1)
            entry = client.ask({"get": {"topic": topic, "key": key}})["entry"]
            summary["value"] = entry[3].decode(errors="replace")
        client.link.goodbye("done")
    except Refused as why:
        print(f"refused: {why}", file=sys.stderr)
        return 3
    except KeyError as why:
        print(f"refused: {': '.join(map(str, why.args))}", file=sys.stderr)
        return 3

    wrong = [
        task for task, want in expected.items()
        if client.outcomes[task][0] == "succeeded" and want not in (None, client.outcomes[task][1])
    ]  # fmt: skip
    errors = [
        {"task": show_id(task), "outcome": outcome, "error": error}
        for task, (outcome, _, error) in client.outcomes.items() if outcome != "succeeded"
    ]  # fmt: skip
    summary.update(
        tasks=count, **client.settled, wrong=len(wrong), resubmitted=client.resubmitted,
        connections=client.link.connections, seconds=round(time.monotonic() - began, 3), errors=errors[:10],
    )  # fmt: skip
    if args.payload:
        summary["results"] = [client.outcomes[task][1].decode(errors="replace") for task in expected]
    print(json.dumps(summary))
    return 0 if client.settled["succeeded"] == count and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
