#!/usr/bin/env python3
"""What traces cost: none configured, configured with nothing recorded, a tenth recorded, everything recorded.

    apt install python3 wrk nginx
    benches/traces.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions]

Every side serves the same public route. The collector is the origin, which answers every batch with 200 and reads
nothing of it; so what is measured is the gateway, with the thread that writes spans and sends them. See sides.py.
"""

import sys

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import setups  # noqa: E402
import sides  # noqa: E402


def side(plan, name, sample):
    """`sample` is the share that is recorded; None configures no traces."""
    port, admin = setups.free_port(), setups.free_port()
    route = {"name": "plain", "method": "GET", "gateway_path": "/", "service": "origin", "auth": "public"}
    slug = name.replace(" ", "-")
    config = setups.tollgate_config(port, admin, plan.origin_port, str(plan.log(slug)), {}, [route])
    if sample:
        endpoint = f"http://127.0.0.1:{plan.origin_port}"
        config["traces"] = {"endpoint": endpoint, "sample": sample, "queue": 100_000, "interval": "1s"}
    return sides.side(plan, name, config, port, admin)


def all_sides(plan, _processes):
    return [
        side(plan, "without", None),
        side(plan, "none-recorded", "0%"),
        side(plan, "a-tenth", "10%"),
        side(plan, "everything", "100%"),
    ]


if __name__ == "__main__":
    sides.main(
        "traces.py",
        __doc__,
        all_sides,
        [
            sides.Ratio("none-recorded", "without", 1.05),
            sides.Ratio("a-tenth", "without", None),
            sides.Ratio("everything", "without", None),
        ],
    )
