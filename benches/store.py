#!/usr/bin/env python3
"""What limits cost where many gateways count them together: in the process, in Redis exactly, and with leases.

    apt install python3 wrk nginx redis-server
    benches/store.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions]

Three gateways with one worker each serve the same route with the same limits of one consumer, which are never reached:
`local` counts itself, `exact` asks Redis for every request, `batched` takes leases of 100. The CPU time is that of the
gateway alone; Redis runs beside the load, on its core. Then each answers one connection alone, for the added latency: the
median and the 99th hundredth of wrk, which counts the way to the gateway and to the service too. See sides.py.
"""

import re
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import compare  # noqa: E402
import setups  # noqa: E402
import sides  # noqa: E402

PLAN = {"total": ["100000000/hour", "1000000000/day"], "each_route": "90000000/hour"}
SHARINGS = {"local": None, "exact": "exact", "batched": "batched"}


def side(plan, name, redis_port):
    port, admin = setups.free_port(), setups.free_port()
    route = {"name": "limited", "method": "GET", "gateway_path": "/", "service": "origin", "auth": ["key"]}
    log = plan.log(name)
    config = setups.tollgate_config(port, admin, plan.origin_port, str(log), {"bench-key": "bench"}, [route])
    config["plans"]["gold"] = PLAN
    if SHARINGS[name]:
        store = {"redis": f"redis://127.0.0.1:{redis_port}", "timeout": "1s", "prefix": name}
        config["store"] = store | {"rate_sharing": SHARINGS[name], "on_store_failure": "deny"}
    script = plan.write(f"{name}.lua", "wrk.headers['x-api-key'] = 'bench-key'\n")
    return sides.side(plan, name, config, port, admin, script=script)


def all_sides(plan, processes):
    port = setups.free_port()
    redis = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    processes.start("redis", redis, compare.LOAD_CORE)
    return [side(plan, name, port) for name in SHARINGS]


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


def print_latencies(subjects, arguments):
    alone = {one.name: [] for one in subjects}
    for _ in range(arguments.rounds):
        for one in subjects:
            alone[one.name].append(latency(one, arguments.seconds))
    print("\none connection alone, microseconds (median of the rounds)\n")
    base = [statistics.median(column) for column in zip(*alone["local"])]
    for name, measured in alone.items():
        median, high = (statistics.median(column) for column in zip(*measured))
        print(f"{name:8}  p50 {median:7.0f}  p99 {high:7.0f}  added {median - base[0]:+7.0f} {high - base[1]:+7.0f}")


if __name__ == "__main__":
    ratios = [sides.Ratio("exact", "local", None), sides.Ratio("batched", "local", None)]
    sides.main("store.py", __doc__, all_sides, ratios, print_latencies)
