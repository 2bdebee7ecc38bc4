"""A replica of the knowledge map (sections 9 and 14 of docs/protocol.md). It does no I/O."""

import zlib

from ganger_wire import unpack


class Replica:
    def __init__(self):
        self.entries = {}  # (topic, key) -> (revision, value); read by handlers, replaced or changed here
        self.own = 0  # the last revision that was applied
        self.newest = 0  # the highest that was heard of
        self.epoch = None
        self.asking = False
        self.fresh = None  # a snapshot that is being read
        self.after = None  # its last entry so far
        self.first = 0  # the revision of its first page

    def on_welcome(self, welcome):
        began_anew = welcome["durability"] == "memory" or welcome["revision"] < self.own
        if self.epoch not in (None, welcome["epoch"]) and began_anew:
            self.own, self.entries = 0, {}
        self.epoch, self.newest = welcome["epoch"], welcome["revision"]
        self.asking, self.fresh = False, None

    def on_newest(self, revision):
        self.newest = max(self.newest, revision)

    def on_publication(self, topic, header, body):
        header = unpack(header)
        if header[0] != self.epoch:
            return
        if not topic.startswith(b"k/"):
            return self.on_newest(header[1])
        _, revision, _, op, key, checksum = header[:6]
        self.on_newest(revision)
        is_next = revision == self.own + 1 and not self.asking and op != "fetch"
        if is_next and zlib.crc32(body) == checksum:
            self._apply(revision, topic[2:].decode(), key, body if op == "put" else None)

    def request(self):
        """The next operation to ask the broker for, if there is one. Ask for one at a time."""
        if self.asking or (self.newest <= self.own and self.fresh is None):
            return None
        self.asking = True
        if self.fresh is None and self.own > 0:
            return {"since": {"revision": self.own}}
        self.fresh = {} if self.fresh is None else self.fresh
        return {"list": {"after": self.after} if self.fresh else {}}

    def on_answer(self, answer):
        self.asking = False
        if "changes" in answer:
            for revision, topic, key, *value in answer["changes"]["items"]:
                self._apply(revision, topic, key, value[0] if value else None)
            self.newest = answer["changes"]["revision"]
        elif "entries" in answer:
            self._take_page(answer["entries"])

    def on_error(self, code):
        self.asking, self.fresh = False, None
        if code == "history_gone":
            self.own = 0  # read a snapshot; what is there stays until it is complete

    def _take_page(self, page):
        if not self.fresh:
            self.first = page["revision"]
        for topic, key, revision, value in page["items"]:
            self.fresh[topic, key] = (revision, value)
            self.after = [topic, key]
        if not page["more"]:
            self.entries, self.fresh = self.fresh, None
            self.own, self.newest = self.first, max(page["revision"], self.first)

    def _apply(self, revision, topic, key, value):
        if self.entries.get((topic, key), (0,))[0] < revision:
            if value is None:
                self.entries.pop((topic, key), None)
            else:
                self.entries[topic, key] = (revision, value)
        self.own = revision
