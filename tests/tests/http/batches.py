"""Hands batches of tasks in over HTTP, and prints the answers: batches.py ADDRESS KIND BATCHES SIZE"""

import base64
import http.client
import json
import sys
from concurrent.futures import ThreadPoolExecutor

THREADS = 4


def hand_in(batches):
    connection = http.client.HTTPConnection(address, timeout=60)
    answers = []
    for batch in batches:
        payloads = (base64.b64encode(f"0\n{batch}.{place}".encode()).decode() for place in range(size))
        body = json.dumps([{"kind": kind, "payload_base64": payload} for payload in payloads])
        connection.request("POST", "/v1/tasks", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answers.append(response.read().decode())
        assert response.status == 202, answers[-1]
    return answers


address, kind = sys.argv[1:3]
count, size = map(int, sys.argv[3:5])
with ThreadPoolExecutor(THREADS) as threads:
    for answers in threads.map(hand_in, [range(first, count, THREADS) for first in range(THREADS)]):
        print("\n".join(answers))
