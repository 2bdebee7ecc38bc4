"""Hands in batches of tasks over a broker's WebSocket, and waits until each has its outcome.

    pip install websockets
    python ganger_websocket.py --url ws://127.0.0.1:7713/v1/ws --kind echo --batches 10 --size 100

Written from docs/http.md alone.
"""

import argparse
import asyncio
import base64
import collections
import json

from websockets.asyncio.client import connect


async def hand_in(socket, arguments, room):
    """Says what is to be done, and goes on before it is."""
    for batch in range(arguments.batches):
        await room.acquire()
        payloads = (arguments.payload.format(batch=batch, place=place) for place in range(arguments.size))
        tasks = [
            {"kind": arguments.kind, "payload_base64": base64.b64encode(payload.encode()).decode()}
            for payload in payloads
        ]
        await socket.send(json.dumps({"req": batch, "do": "submit", "tasks": tasks}))


async def hear(socket, arguments, room):
    """Hears how each task ends."""
    outcomes, ids, open_batches = collections.Counter(), set(), arguments.batches
    while open_batches:
        said = json.loads(await socket.recv())
        match said["type"]:
            case "accepted":
                if said.get("refused"):
                    raise SystemExit(f"refused: {said['refused'][0]}")
            case "ended":
                outcomes[said["outcome"]] += 1
                ids.add(said["id"])
            case "done":
                open_batches -= 1
                room.release()
            case "error":
                raise SystemExit(f"error: {said}")
    return outcomes, ids


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="ws://127.0.0.1:7713/v1/ws")
    parser.add_argument("--kind", default="echo")
    parser.add_argument("--payload", default="{batch}.{place}", help="the payload, with {batch} and {place}")
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--size", type=int, default=100, help="tasks in a batch")
    parser.add_argument("--ahead", type=int, default=32, help="batches under way at a time")
    arguments = parser.parse_args()
    room = asyncio.Semaphore(arguments.ahead)
    async with connect(arguments.url) as socket:
        handing_in = asyncio.create_task(hand_in(socket, arguments, room))
        outcomes, ids = await hear(socket, arguments, room)
        await handing_in
    print(json.dumps({"outcomes": outcomes, "ids": sorted(ids)}))


if __name__ == "__main__":
    asyncio.run(main())
