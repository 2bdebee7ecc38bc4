"""What ganger_worker.py can do. A handler gets the payload, its attempt and the knowledge replica, and
returns the result as bytes. Whatever it raises becomes the failure of its task.
"""

from ganger_attempt import Stopped
from ganger_wire import pack, unpack


def echo(payload, attempt, knowledge):
    return payload


def upper(payload, attempt, knowledge):
    return payload.upper()


def total(payload, attempt, knowledge):
    return pack(sum(unpack(payload)))


def sleep(payload, attempt, knowledge):
    """Sleeps for as many milliseconds as the payload says."""
    if attempt.stop.wait(int(payload) / 1000):
        raise Stopped
    return payload


def know(payload, attempt, knowledge):
    """The knowledge under the topic and key that the payload names, as `topic/key`."""
    topic, key = payload.decode().split("/", 1)
    return knowledge.entries[topic, key][1]


HANDLERS = {"echo": echo, "py.upper": upper, "py.sum": total, "py.sleep": sleep, "py.know": know}
