"""What a feature costs: gateways that differ in it alone take turns under the same load, with one worker each.

A bench names its sides and which two make a ratio; the rest is as in compare.py, which says how to read the columns.
The last lines are the cost of one side divided by that of another, round by round, then the median. Where other
gateways are among the sides, the first word of a side's name is its gateway; `--only tollgate,nginx` leaves out others.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

import compare
import setups

# Cost of the side `over` divided by that of the side `under`; `aim` is the most that it should be, if that was said.
Ratio = namedtuple("Ratio", "over under aim")


def side(plan, name, config, port, admin_port, path="/", script=None):
    """A gateway with this configuration, which has the access log and the ports as said."""
    file = plan.write(f"{name}.yaml", json.dumps(config, indent=1))
    log = config["access_log"]["path"]
    logs = [] if log == "off" else [Path(log)]
    command = [plan.tollgate, "run", "--threads", "1", file]
    return setups.Subject(name, command, port, plan.core, path=path, script=script, logs=logs, admin_port=admin_port)


def start(processes, one):
    group = processes.start(one.slug, one.command, one.core)
    if compare.wait_ready(group, one.admin_port, one.ready_path) is None:
        output = (processes.directory / f"{one.slug}.out").read_text(errors="replace")
        raise compare.Failed(f"{one.name} did not become ready; its output:\n{output[-2000:]}")
    compare.measure(one, group, 1, nullcontext())  # warms up, and fails unless every answer is 2xx
    return group


def median_ratio(rounds, ratio, measured):
    pairs = zip(rounds[ratio.over], rounds[ratio.under])
    return statistics.median(getattr(one, measured) / getattr(other, measured) for one, other in pairs)


def take_turns(processes, subjects, arguments):
    """The rounds of every side, by name."""
    groups = {one.name: start(processes, one) for one in subjects}
    rounds = {one.name: [] for one in subjects}
    for number in range(1, arguments.rounds + 1):
        print(f"round {number} of {arguments.rounds}", file=sys.stderr)
        for one in subjects:
            group = groups[one.name]
            counter = compare.Instructions(group) if arguments.instructions else nullcontext()
            rounds[one.name].append(compare.measure(one, group, arguments.seconds, counter))
    return rounds


def print_ratios(rounds, ratios, with_instructions):
    for ratio in ratios:
        if not {ratio.over, ratio.under} <= rounds.keys():
            continue
        cost, speed = median_ratio(rounds, ratio, "cpu_us"), median_ratio(rounds, ratio, "requests_per_second")
        aim = f", at most {ratio.aim} is the aim" if ratio.aim else ""
        print(f"{ratio.over} / {ratio.under}: {cost:.2f} of the time{aim}; {speed:.2f} of the requests/s", end="")
        counted = f"; {median_ratio(rounds, ratio, 'instructions'):.2f} of the instructions" if with_instructions else ""
        print(counted)


def parse(description, families):
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--profile", choices=["dist", "release"], default="dist", help="how cargo builds")
    parser.add_argument("--instructions", action="store_true", help="count them too, with perf")
    if len(families) > 1:
        parser.add_argument("--only", default=",".join(families), help="comma-separated, of: %(default)s")
    arguments = parser.parse_args()
    arguments.families = getattr(arguments, "only", "tollgate").split(",")
    if unknown := set(arguments.families) - families.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return arguments


def run(description, sides, ratios, alone=None, families=None, needs=("nginx", "wrk"), examples=()):
    """The whole bench. `sides` makes the sides of a plan and the processes that they need started; `alone` measures
    them in a further way at the end. `families` are the gateways that it compares, each with its program, if there are
    others than tollgate; `needs` the programs of every side, `examples` what cargo builds beside the gateway."""
    families = families or {"tollgate": None}
    arguments = parse(description, families)
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"  # where Debian puts nginx
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    programs = list(dict.fromkeys([*needs, *filter(None, map(families.get, arguments.families))]))
    if missing := [name for name in programs if not shutil.which(name)]:
        raise compare.Failed(f"not installed: {', '.join(missing)}")
    binaries = setups.build([*arguments.families, *examples], arguments.profile)
    compare.print_circumstances(arguments, programs)
    with tempfile.TemporaryDirectory() as directory, compare.Processes(Path(directory)) as processes:
        plan = setups.Plan(Path(directory), binaries, compare.GATEWAY_CORE, compare.LOAD_CORE)
        compare.start_subject(processes, plan.origin())
        subjects = sides(plan, processes)
        if len(families) > 1:
            subjects = [one for one in subjects if one.name.split()[0] in arguments.families]
        rounds = take_turns(processes, subjects, arguments)
        compare.print_table(rounds, arguments.instructions)
        print()
        print_ratios(rounds, ratios, arguments.instructions)
        if alone:
            alone(subjects, arguments)


def main(name, *arguments, **more):
    """`run` as a program."""
    try:
        run(*arguments, **more)
    except (compare.Failed, subprocess.CalledProcessError) as failure:
        sys.exit(f"{name}: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
