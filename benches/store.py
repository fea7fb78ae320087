#!/usr/bin/env python3
"""What limits cost where many gateways count them together: in the process, in Redis exactly, and with leases.

    apt install python3 wrk nginx redis-server
    benches/store.py [--rounds 5] [--seconds 5] [--profile dist]

Three gateways with one worker each serve the same route with the same limits of one consumer, which are never reached:
`local` counts itself, `exact` asks Redis for every request, `batched` takes leases of 100. They take turns; the rest is as
in compare.py, which says how to read the columns: the CPU time is that of the gateway alone. Redis runs beside the load,
on its core. Then each answers one connection alone, for the added latency: the median and the 99th hundredth of wrk,
which counts the way to the gateway and to the service too.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import compare  # noqa: E402
import setups  # noqa: E402
from json_body import start  # noqa: E402

PLAN = {"total": ["100000000/hour", "1000000000/day"], "each_route": "90000000/hour"}
SHARINGS = {"local": None, "exact": "exact", "batched": "batched"}


def subject(plan, name, redis_port):
    port, admin = setups.free_port(), setups.free_port()
    log = plan.log(f"store-{name}")
    route = {"name": "limited", "method": "GET", "gateway_path": "/", "service": "origin", "auth": ["key"]}
    config = setups.tollgate_config(port, admin, plan.origin_port, str(log), {"bench-key": "bench"}, [route])
    config["plans"]["gold"] = PLAN
    if SHARINGS[name]:
        store = {"redis": f"redis://127.0.0.1:{redis_port}", "timeout": "1s", "prefix": name}
        config["store"] = store | {"rate_sharing": SHARINGS[name], "on_store_failure": "deny"}
    file = plan.write(f"store-{name}.yaml", json.dumps(config, indent=1))
    command = [plan.tollgate, "run", "--threads", "1", file]
    script = plan.write(f"store-{name}.lua", "wrk.headers['x-api-key'] = 'bench-key'\n")
    return setups.Subject(name, command, port, plan.core, path="/", script=script, logs=[log], admin_port=admin)


def latency(one, seconds):
    """Microseconds of one connection: median and 99th hundredth."""
    command = ["taskset", "-c", str(compare.LOAD_CORE), "wrk", "-t1", "-c1", f"-d{seconds}s", "--latency"]
    command += ["-s", str(one.script)]
    output = subprocess.run([*command, f"http://127.0.0.1:{one.port}/"], stdout=subprocess.PIPE, text=True, check=True)
    if "Non-2xx" in output.stdout:
        raise compare.Failed(f"{one.name} did not answer 2xx:\n{output.stdout}")
    scale = {"us": 1, "ms": 1000, "s": 1_000_000}
    found = [re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", output.stdout) for share in (50, 99)]
    return [float(each.group(1)) * scale[each.group(2)] for each in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--profile", choices=["dist", "release"], default="dist", help="how cargo builds")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"  # where Debian puts nginx
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binaries = setups.build(["tollgate"], arguments.profile)
    compare.print_circumstances(arguments)
    with tempfile.TemporaryDirectory() as directory, compare.Processes(Path(directory)) as processes:
        plan = setups.Plan(Path(directory), binaries, compare.GATEWAY_CORE, compare.LOAD_CORE)
        compare.start_subject(processes, plan.origin())
        redis_port = setups.free_port()
        redis = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        processes.start("redis", redis, compare.LOAD_CORE)
        subjects = [subject(plan, name, redis_port) for name in SHARINGS]
        groups = {one.name: start(processes, one) for one in subjects}
        rounds = {one.name: [] for one in subjects}
        alone = {one.name: [] for one in subjects}
        for number in range(1, arguments.rounds + 1):
            print(f"round {number} of {arguments.rounds}", file=sys.stderr)
            for one in subjects:
                rounds[one.name].append(compare.measure(one, groups[one.name], arguments.seconds, nullcontext()))
                alone[one.name].append(latency(one, arguments.seconds))
        compare.print_table(rounds, False)
        print("\none connection alone, microseconds (median of the rounds)\n")
        base = [statistics.median(column) for column in zip(*alone["local"])]
        for name, measured in alone.items():
            median, high = (statistics.median(column) for column in zip(*measured))
            print(f"{name:8}  p50 {median:7.0f}  p99 {high:7.0f}  added {median - base[0]:+7.0f} {high - base[1]:+7.0f}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except compare.Failed as failure:
        sys.exit(f"store.py: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
