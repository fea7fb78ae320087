#!/usr/bin/env python3
"""What an answer from the cache costs: tollgate beside nginx's proxy_cache and Varnish, objects of 1 KiB and 64 KiB.

    apt install python3 wrk nginx varnish
    benches/cache.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions] [--only tollgate,nginx]

The service says `Cache-Control: max-age=3600`; every gateway keeps 200 objects and is asked for them in turn, so that
all but the first answers are hits. The service logs what it is asked, and the bench fails when that is more than each
object twice. nginx keeps objects in files, here in the page cache and held open; the other two keep them in memory.
Varnish writes its log to shared memory, where nobody reads it. See sides.py.
"""

import sys
from collections import Counter
from functools import partial

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import compare  # noqa: E402
import peers  # noqa: E402
import setups  # noqa: E402
import sides  # noqa: E402

FAMILIES = {"tollgate": None, "nginx": "nginx", "varnish": "varnishd"}
SIZES = {"1KiB": 1024, "64KiB": 65536}
OBJECTS = 200
CACHE = {"respect": True}


class Service:
    """Serves /GATEWAY/SIZE/NUMBER from a file of that size, and logs it, which tells who asked for what."""

    def start(self, plan, processes):
        self.port, self.log = setups.free_port(), plan.log("service")
        objects = plan.directory / "objects"
        objects.mkdir()
        for name, size in SIZES.items():
            (objects / name).write_bytes(b"x" * size)
        http = f"""
            log_format asked '$request_uri';
            access_log {self.log} asked;
            types {{ }}
            default_type application/octet-stream;
            server {{
                listen 127.0.0.1:{self.port};
                root {objects};
                add_header Cache-Control max-age=3600;
                rewrite ^/[a-z]+/(\w+)/ /$1 break;
            }}"""
        file = plan.write("service.conf", setups.nginx_config(plan.directory, "service", http))
        processes.start("service", plan.nginx_command(file), plan.load_core)

    def asked(self):
        """How often, of each /GATEWAY/SIZE."""
        return Counter(line.rpartition("/")[0] for line in self.log.read_text().splitlines())


def wrk_script(prefix):
    return f"""
        local requests, turn = {{}}, 0
        function init()
            for number = 1, {OBJECTS} do
                requests[number] = wrk.format("GET", "{prefix}/" .. number)
            end
        end
        function request()
            turn = turn % #requests + 1
            return requests[turn]
        end
    """


def tollgate(plan, name, origin_port):
    return peers.tollgate(plan, name, route={"cache": CACHE}, origin_port=origin_port)


def nginx(plan, name, origin_port):
    keep = f"{plan.directory}/{name.replace(' ', '-')}-objects levels=1:2 keys_zone=objects:10m inactive=1h"
    http = f"""
        sendfile on;
        tcp_nopush on;
        open_file_cache max=1000;
        proxy_cache_path {keep} use_temp_path=off;
        """
    server = "proxy_cache objects; proxy_cache_lock on; proxy_cache_revalidate on;"
    return peers.nginx(plan, name, http=http, server=server, origin_port=origin_port)


def varnish(plan, name, origin_port):
    port, slug = setups.free_port(), name.replace(" ", "-")
    text = f'vcl 4.1;\nbackend origin {{ .host = "127.0.0.1"; .port = "{origin_port}"; }}\n'
    command = ["varnishd", "-F", "-j", "none", "-n", plan.directory / slug, "-f", plan.write(f"{slug}.vcl", text)]
    command += ["-s", "malloc,1G", "-p", "thread_pools=1", "-a", f"127.0.0.1:{port}"]
    # It has no listener for probes: the first object says that it serves.
    return setups.Subject(name, command, port, plan.core, admin_port=port, ready_path=f"/varnish/{name.split()[1]}/1")


def all_sides(service, plan, processes):
    plan.directory.chmod(0o711)  # the workers of nginx run as another user
    service.start(plan, processes)
    made = []
    for size in SIZES:
        for family, side in ("tollgate", tollgate), ("nginx", nginx), ("varnish", varnish):
            one = side(plan, f"{family} {size}", service.port)
            one.path = f"/{family}/{size}"
            one.script = plan.write(f"{one.slug}.lua", wrk_script(one.path))
            made.append(one)
    return made


def print_hits(service, subjects, _arguments):
    asked = service.asked()
    print()
    for one in subjects:
        print(f"{one.name}: {one.answered:,} requests, {asked[one.path]} of them asked of the service")
        if asked[one.path] > 2 * OBJECTS:
            raise compare.Failed(f"{one.name} does not answer from its cache")


def main():
    service = Service()
    pairs = [(f"tollgate {size}", f"{peer} {size}") for size in SIZES for peer in ("nginx", "varnish")]
    ratios = [sides.Ratio(*pair, None) for pair in pairs]
    makes, reports = partial(all_sides, service), partial(print_hits, service)
    sides.main("cache.py", __doc__, makes, ratios, reports, families=FAMILIES)


if __name__ == "__main__":
    main()
