"""Sends what must be refused, from a client that sends all of it before it listens, and prints what it is told:
abuse.py ADDRESS BYTES [TOKEN]

One line a request: what it was, the status, the code.
"""

import http.client
import json
import sys

PIECE = b"x" * (1 << 20)


def pieces():
    for _ in range(size // len(PIECE)):
        yield PIECE


def ask(what, body, headers, chunked=False, token=None):
    connection = http.client.HTTPConnection(address, timeout=60)
    headers = {"Content-Type": "application/json", **headers}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("POST", "/v1/tasks", body, headers, encode_chunked=chunked)
    response = connection.getresponse()
    answer = json.loads(response.read())
    print(what, response.status, answer["code"])
    connection.close()


address, size = sys.argv[1], int(sys.argv[2])
token = sys.argv[3] if len(sys.argv) > 3 else None
ask("announced", pieces(), {"Content-Length": str(size)}, token=token)
ask("streamed", pieces(), {"Transfer-Encoding": "chunked"}, chunked=True, token=token)
ask("bad-json", b"{nonsense", {}, token=token)
ask("unknown-field", b'{"kind": "a", "knid": "b"}', {}, token=token)
if token:
    ask("no-token", b'{"kind": "a"}', {})
    ask("no-token-streamed", pieces(), {"Transfer-Encoding": "chunked"}, chunked=True)
