#!/usr/bin/env python3
"""What checking a JSON body costs: 1 KiB with eight declared members, beside the same request streamed unread.

    apt install python3 wrk nginx
    benches/json_body.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions]

Two gateways with one worker each take turns; the rest is as in compare.py, which says how to read the columns. The
last line is the cost of `checked` divided by that of `streamed`, round by round, then the median: at most 1.3 is the
aim. The whole gateway counts, the network included.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import compare  # noqa: E402
import setups  # noqa: E402

AIM = 1.3
MEMBERS = {
    "name": {"type": "string", "maxLength": 80},
    "email": {"type": "string", "format": "email"},
    "age": {"type": "integer", "minimum": 0, "maximum": 150},
    "score": {"type": "number"},
    "active": {"type": "boolean"},
    "role": {"enum": ["user", "admin"]},
    "tags": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 20},
    "address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "text": {}}},
}


def body():
    """Exactly 1 KiB."""
    value = {
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "age": 36,
        "score": 99.5,
        "active": True,
        "role": "admin",
        "tags": [f"tag-{number}" for number in range(20)],
        "address": {"city": "London", "text": ""},
    }
    value["address"]["text"] = "x" * (1024 - len(json.dumps(value)))
    return json.dumps(value)


def subject(plan, job, contract):
    port, admin = setups.free_port(), setups.free_port()
    log = plan.log(f"json-{job}")
    route = {"name": job, "methods": ["POST", "GET"], "gateway_path": "/", "service": "origin", "auth": "public"}
    config = setups.tollgate_config(port, admin, plan.origin_port, str(log), {}, [route | contract])
    file = plan.write(f"json-{job}.yaml", json.dumps(config, indent=1))
    script = plan.write(
        f"json-{job}.lua",
        f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [[{body()}]]\n",
    )
    command = [plan.tollgate, "run", "--threads", "1", file]
    return setups.Subject(job, command, port, plan.core, path="/", script=script, logs=[log], admin_port=admin)


def start(processes, one):
    group = processes.start(one.slug, one.command, one.core)
    if compare.wait_ready(group, one.admin_port, "/readyz") is None:
        output = (processes.directory / f"{one.slug}.out").read_text(errors="replace")
        raise compare.Failed(f"{one.name} did not become ready; its output:\n{output[-2000:]}")
    compare.measure(one, group, 1, nullcontext())  # warms up, and fails unless every answer is 2xx
    return group


def ratio(rounds, measured):
    pairs = zip(rounds["checked"], rounds["streamed"])
    return statistics.median(getattr(one, measured) / getattr(other, measured) for one, other in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--profile", choices=["dist", "release"], default="dist", help="how cargo builds")
    parser.add_argument("--instructions", action="store_true", help="count them too, with perf")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"  # where Debian puts nginx
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binaries = setups.build(["tollgate"], arguments.profile)
    compare.print_circumstances(arguments)
    with tempfile.TemporaryDirectory() as directory, compare.Processes(Path(directory)) as processes:
        plan = setups.Plan(Path(directory), binaries, compare.GATEWAY_CORE, compare.LOAD_CORE)
        origin = plan.origin()
        compare.start_subject(processes, origin)
        subjects = [subject(plan, "streamed", {"body": "any"}), subject(plan, "checked", {"body_params": MEMBERS})]
        groups = {one.name: start(processes, one) for one in subjects}
        rounds = {one.name: [] for one in subjects}
        for number in range(1, arguments.rounds + 1):
            print(f"round {number} of {arguments.rounds}", file=sys.stderr)
            for one in subjects:
                group = groups[one.name]
                counter = compare.Instructions(group) if arguments.instructions else nullcontext()
                rounds[one.name].append(compare.measure(one, group, arguments.seconds, counter))
        compare.print_table(rounds, arguments.instructions)
        cost = ratio(rounds, "cpu_us")
        print(f"\nchecked / streamed: {cost:.2f} of the time, at most {AIM} is the aim", end="")
        print(f"; {ratio(rounds, 'instructions'):.2f} of the instructions" if arguments.instructions else "")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except compare.Failed as failure:
        sys.exit(f"json_body.py: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
