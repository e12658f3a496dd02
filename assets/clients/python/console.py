"""A small console for Pilothouse, to start from: it prints what an agent tells over the console link.

    pip install websockets
    PILOTHOUSE_CONSOLE_TOKEN=… python console.py ws://127.0.0.1:7600 [TYPE ...]

It follows shared/PROTOCOL.md: hello, a subscription, then frames. TYPEs are events to watch, such as MESSAGE_CREATE;
without one it watches all. SECONDS in the environment ends it after so long; DO is a command line to be planned and, as
nobody is asked, applied at once.
"""

import collections
import json
import os
import random
import sys
import time

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PROTOCOL = 2
URL = (sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:7600") + "/v1/console"
TYPES = sys.argv[2:]
HEADERS = {"Authorization": "Bearer " + os.environ["PILOTHOUSE_CONSOLE_TOKEN"]}
END = time.monotonic() + float(os.environ.get("SECONDS", "inf"))
# The totals come once a second: so long a silence means that the agent is gone.
SILENCE = 15
STATES = {"a": "active", "h": "held", "r": "resuming", "i": "identifying", "q": "queued", "c": "connecting",
          "b": "backoff", "s": "stopped", "f": "fatal", "?": "unknown"}


class Refused(Exception):
    """The agent does not want this client; trying again cannot help."""


class Console:
    """What one connection has told."""

    def __init__(self, socket):
        self.socket = socket
        self.map = []  # a letter for each shard
        self.rows = {}  # of the page, by id
        self.order = ""
        self.matched = self.shown = 0

    def send(self, **frame):
        self.socket.send(json.dumps(frame))

    def run(self):
        self.send(type="hello", protocol=PROTOCOL, client="console.py 1")
        page = {"sort": "rate", "descending": True, "count": 3}
        self.send(type="subscribe", overview=True, map=True, page=page, tail={"types": TYPES}, logs="info")
        self.send(type="command", id=1, line="status")
        if "DO" in os.environ:
            self.send(type="command", id=2, line=os.environ["DO"])
        while time.monotonic() < END:
            frame = json.loads(self.socket.recv(timeout=SILENCE))
            # A client ignores frames that it does not know.
            getattr(self, "on_" + frame["type"], lambda frame: None)(frame)

    def on_hello(self, frame):
        say("hello", f"{frame['agent']} of {frame['fleet']}, protocol {frame['protocol']}, role {frame['role']}")

    def on_bye(self, frame):
        if not frame["retry"]:
            raise Refused(frame["reason"])
        say("bye", frame["reason"])

    def on_overview(self, frame):
        say("overview", f"{frame['in_per_s']} events/s in, {frame['out_per_s']} out, {frame['lost']} lost")
        for finding in frame["findings"]:
            say("finding", f"{finding['severity']}: {finding['text']}")

    def on_map(self, frame):
        if frame["full"]:
            self.map = ["?"] * frame["total"]
        for first, letters in frame["states"]:
            self.map[first:first + len(letters)] = letters
        counts = collections.Counter(STATES.get(letter, "unknown") for letter in self.map)
        say("map", ", ".join(f"{count} {state}" for state, count in counts.most_common()))

    def on_page(self, frame):
        self.order = frame.get("order", self.order)
        for row in frame["rows"]:
            self.rows.setdefault(row["id"], {}).update(row)
        if frame["follow"] == 0:
            busiest = [shard for part in self.order.split(",")[:3] for shard in shards(part)][:3]
            say("busiest", ", ".join(f"shard {id} {self.rows[id]['events_per_s']}/s" for id in busiest))

    def on_tail(self, frame):
        self.matched += frame["matched"]
        self.shown += len(frame["events"])
        for event in frame["events"]:
            guild = event["guild"] or "-"
            say("event", f"{event['type']} shard {event['shard']} guild {guild} {event['size']} bytes")
        say("tail", f"{self.shown} of {self.matched} shown")

    def on_logs(self, frame):
        for line in frame["lines"]:
            say("log", f"{line['level']} {line['text']}")

    def on_plan(self, frame):
        plan = frame["plan"]
        for step in plan["steps"]:
            say("plan", f"{step['line']}: {step['effect']}; {step['shards']} shards, {step['identifies']} identifies")
        for warning in plan["warnings"]:
            say("warning", warning)
        self.send(type="apply", id=frame["id"] + 1, plan=plan["id"], reason="console.py was told to")

    def on_progress(self, frame):
        say("progress", f"{frame['done']} of {frame['of']}")

    def on_result(self, frame):
        say("done" if frame["ok"] else "refused", frame["text"].replace("\n", " | "))


def shards(part):
    """The ids of one part of an order: "7", "3-9" or, counting down, "9-3"."""
    first, _, last = part.partition("-")
    if not first:
        return []
    first, last = int(first), int(last or first)
    return list(range(first, last + 1)) if first <= last else list(range(first, last - 1, -1))


def say(what, text):
    print(f"{what}: {text}", flush=True)


def main():
    attempt = 0
    while time.monotonic() < END:
        try:
            with connect(URL, additional_headers=HEADERS, max_size=None) as socket:
                attempt = 0
                Console(socket).run()
        except Refused as refused:
            sys.exit(f"refused: {refused}")
        except InvalidStatus as refused:
            sys.exit(f"refused: the agent answered {refused.response.status_code}")
        except (ConnectionClosed, OSError, TimeoutError) as error:
            attempt += 1
            wait = random.uniform(0.25, min(30, 2 ** attempt))
            say("away", f"{error or 'no frame came'}; next attempt in {wait:.1f} s")
            time.sleep(wait)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
