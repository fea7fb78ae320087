#!/usr/bin/env python3
"""What the access log costs a gateway as a whole, its writer thread included: off, beside JSON and text in a file.

    apt install python3 wrk nginx
    benches/access_log.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions]

Every side forwards the same GET. The cost of a line on the threads that serve requests alone is
`cargo bench --bench access_log`. See sides.py.
"""

import sys

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import setups  # noqa: E402
import sides  # noqa: E402

FORMATS = ["off", "json", "text"]


def all_sides(plan, _processes):
    made = []
    for name in FORMATS:
        port, admin = setups.free_port(), setups.free_port()
        route = {"name": name, "method": "GET", "gateway_path": "/", "service": "origin", "auth": "public"}
        config = setups.tollgate_config(port, admin, plan.origin_port, str(plan.log(name)), {}, [route])
        config["access_log"] = {"path": "off"} if name == "off" else config["access_log"] | {"format": name}
        made.append(sides.side(plan, name, config, port, admin))
    return made


if __name__ == "__main__":
    ratios = [sides.Ratio("json", "off", None), sides.Ratio("text", "off", None)]
    sides.main("access_log.py", __doc__, all_sides, ratios)
