#!/usr/bin/env python3
"""What a request costs: tollgate beside bare pingora, nginx and HAProxy, measured in one run.

    apt install python3 wrk nginx haproxy
    benches/compare.py [--quick] [--only tollgate,bare] [--instructions] [--assert]

Every gateway runs with one worker on the first core; wrk (64 keep-alive connections) and an nginx origin share the
last core. The rounds of all gateways take turns, so that a drift of the machine hits all alike.

How to read the table:
- `us/request` is user plus system time of the gateway's whole process group, from /proc, divided by wrk's requests:
  the median of the rounds, with the lowest and highest in brackets. The kernel's share of the network is in it.
- `x bare` is the cost divided by bare pingora's of the same round, then the median. Two runs compare by this column;
  microseconds of two machines, or of two hours of a shared one, do not.
- `instructions` (with `--instructions`, which needs perf and hardware counters) is thousands per request, kernel
  included, and again divided by bare pingora's. It hardly moves on a busy machine, so it shows a small regression; it
  says nothing of cache misses, so it does not replace the time.
- `busy` is the share of the gateway's core that it used. Below about 90 % the load generator was the limit, or other
  work took the core: the gateway then sleeps and wakes more often per request than a full one, which also costs.
- `plain` forwards and writes an access log, and (tollgate) counts metrics; bare pingora has neither. `full` is typed
  route, query contract, API key among 1,000 consumers, limit, header rewriting, access log: each gateway does as much
  of it as it can, and must refuse a missing key (401) and a bad query (422) before it is measured.
- `origin` is the service alone, without a gateway: what the far side costs, and the most that can be had.
Numbers taken while other work runs on the machine are worth little: look at the spread in the brackets.
"""

import argparse
import http.client
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import setups  # noqa: E402
from loads import CONNECTIONS  # noqa: E402

VERSION_WORDS = {"varnishd": "-V", "openssl": "version", "h2load": "--version", "envoy": "--version"}
SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE, LOAD_CORE = CORES[0], CORES[-1]

Round = namedtuple("Round", "cpu_us instructions requests_per_second busy resident")

TARGETS = (
    ("tollgate plain, x bare", 1.15),
    ("tollgate full, x bare", 1.4),
    ("tollgate full, MB resident", 40),
    ("tollgate full, ms from start to ready", 100),
    ("tollgate check of 10,000 routes, ms", 1000),
)


class Failed(Exception):
    """The comparison cannot be made; the text says why."""


class Processes:
    """Everything started here, each in a process group of its own; leaving the block kills them all."""

    def __init__(self, directory):
        self.directory = directory
        self.groups = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for group in self.groups:
            self.stop(group)

    def start(self, name, command, core):
        with open(self.directory / f"{name}.out", "ab") as output:
            group = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        self.groups.append(group)
        return group

    @staticmethod
    def stop(group):
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(group.pid, sent)
                group.wait(timeout=0.5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


def members(group):
    """The id, and the fields of /proc/PID/stat from the third on, of every process in the group."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[2]) == group.pid:
            yield stat.parent.name, fields


def cpu_seconds(group):
    return sum(int(fields[11]) + int(fields[12]) for _, fields in members(group)) * SECONDS_PER_TICK


def resident_bytes(group):
    return sum(int(fields[21]) for _, fields in members(group)) * os.sysconf("SC_PAGE_SIZE")


class Instructions:
    """Counts what a group executes inside the block."""

    def __init__(self, group):
        self.count = None
        processes = ",".join(number for number, _ in members(group))
        command = ["perf", "stat", "-x,", "-e", "instructions", "-p", processes]
        self.perf = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        time.sleep(0.2)  # until it has attached
        return self

    def __exit__(self, *_):
        self.perf.send_signal(signal.SIGINT)
        said = self.perf.communicate()[1]
        if not (found := re.match(r"(\d+),", said)):
            raise Failed(f"perf does not count instructions here:\n{said}")
        self.count = int(found[1])


def ask(port, path, headers=None):
    """Status and headers of one GET, or None while nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    except (ConnectionError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_ready(group, port, path, headers=None):
    """Seconds until the answer is 200; None when the process ended or 10 s passed."""
    begin = time.monotonic()
    while time.monotonic() - begin < 10 and group.poll() is None:
        answer = ask(port, path, headers)
        if answer and answer[0] == 200:
            return time.monotonic() - begin
        time.sleep(0.001)
    return None


def start_subject(processes, subject):
    group = processes.start(subject.slug, subject.command, subject.core)
    if wait_ready(group, subject.port, subject.path, subject.headers) is None:
        output = (processes.directory / f"{subject.slug}.out").read_text(errors="replace")
        answer = ask(subject.port, subject.path, subject.headers)
        raise Failed(f"{subject.name} did not answer 200 but {answer}; its output:\n{output[-2000:]}")
    return group


def check_enforced(subject):
    """The full path is worth measuring only if it refuses what it must."""
    good, key = subject.path, subject.headers["x-api-key"]
    cases = [
        (good, {}, 401),
        (good, {"x-api-key": "wrong" + key}, 401),
        (good.replace("limit=50", "limit=101"), subject.headers, 422),
        (good.replace("expand=roles", "expand=secrets"), subject.headers, 422),
        (good, subject.headers, 200),
    ]
    for path, headers, expected in cases:
        answer = ask(subject.port, path, headers)
        if not answer or answer[0] != expected:
            raise Failed(f"{subject.name}: {path} with {sorted(headers)} gave {answer}, expected {expected}")
    if answer[1].get("x-api") != "v1" or "x-powered-by" in answer[1]:
        raise Failed(f"{subject.name} did not rewrite the response headers: {answer[1]}")


def load(subject, seconds):
    """Starts the load generator on the load core; `finish` reads what it says."""
    return subprocess.Popen(
        subject.load.command(subject, seconds),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),
    )


def finish(subject, generator):
    try:
        output = generator.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        raise Failed(f"{subject.name}: {generator.args[0]} does not end") from None
    if generator.returncode or not (requests := subject.load.requests(output)):
        raise Failed(f"{subject.name}: not every answer was 2xx:\n{output}")
    subject.answered += requests
    return requests


def measure(subject, group, seconds, counter):
    """One round. `counter` counts instructions, or is a context that does nothing."""
    with counter:
        begin, cpu = time.monotonic(), cpu_seconds(group)
        generator = load(subject, seconds)
        try:
            time.sleep(seconds / 2)
            resident = resident_bytes(group)
            requests = finish(subject, generator)
        finally:
            generator.kill()
        cpu, elapsed = cpu_seconds(group) - cpu, time.monotonic() - begin
    for log in subject.logs:
        os.truncate(log, 0)  # they would fill the disk in a long run
    instructions = counter.count / requests if isinstance(counter, Instructions) else None
    return Round(cpu / requests * 1e6, instructions, requests / elapsed, cpu / elapsed, resident)


def compare(processes, subjects, arguments):
    """The rounds of every subject, by name."""
    groups = {}
    for subject in subjects:
        groups[subject.name] = start_subject(processes, subject)
        if subject.script:
            check_enforced(subject)
        measure(subject, groups[subject.name], 1, nullcontext())  # warms up pools, allocators and caches
    rounds = {subject.name: [] for subject in subjects}
    for number in range(1, arguments.rounds + 1):
        print(f"round {number} of {arguments.rounds}", file=sys.stderr)
        for subject in subjects:
            group = groups[subject.name]
            counter = Instructions(group) if arguments.instructions else nullcontext()
            rounds[subject.name].append(measure(subject, group, arguments.seconds, counter))
    return rounds


def ratio(rounds, name, measured="cpu_us"):
    """The cost relative to bare pingora, round by round; None without it."""
    if "bare pingora" not in rounds:
        return None
    pairs = zip(rounds[name], rounds["bare pingora"])
    return statistics.median(getattr(one, measured) / getattr(bare, measured) for one, bare in pairs)


def print_table(rounds, with_instructions):
    counted = f"{'instructions':>14}{'x bare':>8}" if with_instructions else ""
    print(f"{'':16}{'us/request':>24}{'x bare':>8}{counted}{'requests/s':>12}{'busy':>7}{'MB':>7}")
    for name, taken in rounds.items():
        costs = [one.cpu_us for one in taken]
        cost = f"{statistics.median(costs):.1f} ({min(costs):.1f}-{max(costs):.1f})"
        counted = ""
        if with_instructions:
            thousands = statistics.median(one.instructions for one in taken) / 1000
            counted = f"{thousands:>13.1f}k{decimals(ratio(rounds, name, 'instructions')):>8}"
        speed = statistics.median(one.requests_per_second for one in taken)
        busy = statistics.median(one.busy for one in taken)
        resident = max(one.resident for one in taken) / 1e6
        relative = decimals(ratio(rounds, name))
        print(f"{name:16}{cost:>24}{relative:>8}{counted}{speed:>12,.0f}{busy:>7.0%}{resident:>7.1f}")


def decimals(number):
    return "-" if number is None else f"{number:.2f}"


def milliseconds_to_ready(processes, setup):
    """From spawn to the first 200 of /readyz, the median of five starts with 1,000 consumers."""
    times = []
    for _ in range(5):
        group = processes.start("tollgate-start", setup.command, GATEWAY_CORE)
        seconds = wait_ready(group, setup.admin_port, "/readyz")
        processes.stop(group)
        if seconds is None:
            raise Failed("tollgate did not become ready: see the output of `tollgate run`")
        times.append(seconds * 1000)
    return statistics.median(times)


def milliseconds_to_check(tollgate, file):
    """The whole `tollgate check` of a file, the median of three."""
    times = []
    for _ in range(3):
        begin = time.monotonic()
        done = subprocess.run([tollgate, "check", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        times.append((time.monotonic() - begin) * 1000)
        if done.returncode:
            raise Failed(f"tollgate check refused {file}:\n{done.stdout[-2000:]}")
    return statistics.median(times)


def figures(processes, rounds, plan):
    """The numbers that have a target, those that could be measured."""
    measured = {}
    if "tollgate full" not in rounds:
        return measured
    for name in ("tollgate plain", "tollgate full"):
        if relative := ratio(rounds, name):
            measured[f"{name}, x bare"] = relative
    resident = max(one.resident for one in rounds["tollgate full"])
    measured["tollgate full, MB resident"] = resident / 1e6
    measured["tollgate full, ms from start to ready"] = milliseconds_to_ready(processes, plan.fresh_tollgate())
    measured["tollgate check of 10,000 routes, ms"] = milliseconds_to_check(plan.tollgate, plan.many_routes(10_000))
    return measured


def print_figures(measured):
    """Whether every target was met."""
    met = True
    for name, target in TARGETS:
        if name not in measured:
            continue
        verdict = "met" if measured[name] <= target else "MISSED"
        met = met and measured[name] <= target
        print(f"{name:40}{measured[name]:>10.2f}  at most {target:<6} {verdict}")
    return met


def print_circumstances(arguments, programs=("nginx", "haproxy", "wrk")):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"machine: {model[1] if model else platform.machine()}, {len(CORES)} cores, Linux {platform.release()}")
    for program in filter(shutil.which, programs):
        command = [program, VERSION_WORDS.get(program, "-v")]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(f"versions: {done.stdout.strip().splitlines()[0]}")
    length = f"{arguments.rounds} of {arguments.seconds} s"
    print(f"rounds: {length}; wrk with {CONNECTIONS} connections; profile {arguments.profile}")
    print(f"load before: {os.getloadavg()[0]:.1f}\n")
    if len(CORES) == 1:
        print("only one core: gateway, wrk and origin share it. The CPU times hold, requests/s and busy do not.\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(setups.FAMILIES), help="comma-separated, of: %(default)s")
    parser.add_argument("--rounds", type=int, help="default: 7")
    parser.add_argument("--seconds", type=int, help="length of a round, default: 5")
    parser.add_argument("--quick", action="store_true", help="unless said otherwise, five rounds of one second")
    parser.add_argument("--instructions", action="store_true", help="count them too, with perf")
    parser.add_argument("--profile", choices=["dist", "release"], default="dist", help="how cargo builds")
    parser.add_argument("--assert", action="store_true", dest="strict", help="exit with 1 when a target is missed")
    arguments = parser.parse_args()
    arguments.families = arguments.only.split(",")
    if unknown := set(arguments.families) - set(setups.FAMILIES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if arguments.strict and not {"tollgate", "bare"} <= set(arguments.families):
        parser.error("--assert needs tollgate and bare")
    arguments.rounds = arguments.rounds or (5 if arguments.quick else 7)
    arguments.seconds = arguments.seconds or (1 if arguments.quick else 5)
    return arguments


def main():
    arguments = parse_arguments()
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"  # where Debian puts nginx and haproxy
    needed = {"wrk", "nginx", "haproxy"} & {"wrk", "nginx", *arguments.families}  # the origin is nginx
    if arguments.instructions:
        needed.add("perf")
    if missing := [name for name in sorted(needed) if not shutil.which(name)]:
        raise Failed(f"not installed: {', '.join(missing)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binaries = setups.build(arguments.families, arguments.profile)
    print_circumstances(arguments)
    with tempfile.TemporaryDirectory() as directory, Processes(Path(directory)) as processes:
        plan = setups.Plan(Path(directory), binaries, GATEWAY_CORE, LOAD_CORE)
        subjects = plan.subjects(arguments.families)
        rounds = compare(processes, subjects, arguments)
        print_table(rounds, arguments.instructions)
        print()
        met = print_figures(figures(processes, rounds, plan))
    return 1 if arguments.strict and not met else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, subprocess.CalledProcessError) as failure:
        sys.exit(f"compare.py: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
