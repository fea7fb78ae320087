#!/usr/bin/env python3
"""What TLS 1.3 costs: tollgate beside nginx, over connections that stay open and with a handshake for every request.

    apt install python3 wrk nginx openssl
    benches/tls.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions] [--only tollgate,nginx]

The certificate has a P-256 key. `open` is wrk over connections that stay open; in the others every request has a
connection of its own: `plain` without TLS, `full` with a whole handshake, `resumed` with a ticket of the connection
before. So `full` less `plain` is a handshake. The load of those is handshakes.rs, which fails when a connection does not
get the handshake that it should have, and verifies nothing, since then it would be slower than what it measures: look
at `busy` all the same. See sides.py.
"""

import sys

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import loads  # noqa: E402
import peers  # noqa: E402
import sides  # noqa: E402

FAMILIES = {"tollgate": None, "nginx": "nginx"}
JOBS = ("open", "plain", "full", "resumed")


def pair(plan, job):
    """Both gateways at this job."""
    if job == "plain":
        return peers.tollgate(plan, "tollgate plain"), peers.nginx(plan, "nginx plain")
    listener = {"tls": peers.tls_files(plan)}
    return (
        peers.tollgate(plan, f"tollgate {job}", listener),
        peers.nginx(plan, f"nginx {job}", listen="ssl", server=peers.nginx_tls(plan)),
    )


def all_sides(plan, _processes):
    made = []
    for job in JOBS:
        for one in pair(plan, job):
            one.scheme = "http" if job == "plain" else "https"
            if job != "open":
                one.load = loads.Handshakes(plan.handshakes, job)
            made.append(one)
    return made


if __name__ == "__main__":
    ratios = [sides.Ratio(f"tollgate {job}", f"nginx {job}", None) for job in JOBS]
    needs = ("nginx", "wrk", "openssl")
    sides.main("tls.py", __doc__, all_sides, ratios, families=FAMILIES, needs=needs, examples=["handshakes"])
