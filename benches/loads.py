"""What asks: each load generator as the command that runs it on one thread, and what its output says."""

import re
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64


class Wrk:
    """HTTP/1.1 over connections that stay open."""

    def command(self, subject, seconds):
        script = ["-s", str(subject.script)] if subject.script else []
        return ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *script, subject.url]

    def requests(self, output):
        """How many were answered; None unless every answer was 2xx."""
        found = re.search(r"(\d+) requests in", output)
        return int(found[1]) if found and "Non-2xx" not in output and "Socket errors" not in output else None


@dataclass
class H2load:
    """HTTP/2, with as many requests at once as `connections` times `streams`."""

    connections: int
    streams: int

    def command(self, subject, seconds):
        return ["h2load", "-t1", f"-c{self.connections}", f"-m{self.streams}", f"-D{seconds}", subject.url]

    def requests(self, output):
        counted = dict((name, int(count)) for count, name in re.findall(r"(\d+) (\w+)(?=[,\n])", output))
        good = counted.get("2xx", 0)
        faults = ("failed", "errored", "timeout", "3xx", "4xx", "5xx")
        return good if good and not any(counted.get(name, 1) for name in faults) else None


@dataclass
class Handshakes:
    """HTTP/1.1 with one request on each connection: `kind` is `plain`, `full` or `resumed`."""

    program: Path
    kind: str

    def command(self, subject, seconds):
        address = f"127.0.0.1:{subject.port}"
        return [self.program, self.kind, address, subject.path, str(seconds), str(CONNECTIONS)]

    def requests(self, output):
        found = re.fullmatch(r"(\d+) requests\n", output)
        return int(found[1]) if found else None
