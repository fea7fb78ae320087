"""What `compare.py` compares: the binaries, and the same two jobs written for each gateway.

`plain` forwards any GET and writes an access line. `full` serves GET /users/{id} as /v1/users/{id}: `id` is a positive
integer, `expand` an enum, `limit` an integer up to 100; a key in `x-api-key` finds one of 1,000 consumers, whose limit
is counted but never reached; the key, cookies and `x-powered-by` are removed, a header is set each way. Nothing here
measures.
"""

import hashlib
import json
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from loads import Wrk

FAMILIES = ("tollgate", "bare", "nginx", "haproxy")
CONSUMERS = 1000
PLAIN_PATH = "/plain/item"
FULL_PATH = "/users/42?expand=roles&limit=50"


@dataclass
class Subject:
    """One process group to be measured: how it starts and what it is asked."""

    name: str
    command: list
    port: int
    core: int
    path: str = PLAIN_PATH
    headers: dict = field(default_factory=dict)
    script: Optional[Path] = None  # for wrk; only the full path has one
    logs: list = field(default_factory=list)
    admin_port: int = 0
    ready_path: str = "/readyz"  # on the admin port: 200 once it serves
    load: object = field(default_factory=Wrk)
    scheme: str = "http"
    answered: int = 0  # requests, in all rounds

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}{self.path}"

    @property
    def slug(self):
        return self.name.replace(" ", "-")


def build(families, profile):
    """Runs cargo once for everything needed; the paths of (tollgate, bare_pingora, handshakes)."""
    root = Path(__file__).resolve().parent.parent
    wanted = {"tollgate": ["--bin", "tollgate"], "bare": ["--example", "bare_pingora"]}
    wanted["handshakes"] = ["--example", "handshakes"]
    targets = [word for family in families for word in wanted.get(family, [])]
    if targets:
        subprocess.run(["cargo", "build", "--locked", "--profile", profile, *targets], cwd=root, check=True)
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    metadata = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout if targets else "{}"
    directory = Path(json.loads(metadata).get("target_directory", root / "target")) / profile
    return directory / "tollgate", directory / "examples" / "bare_pingora", directory / "examples" / "handshakes"


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def consumer_key(number):
    return hashlib.sha256(f"key of consumer {number}".encode()).hexdigest()[:32]


class Plan:
    """Writes configurations into a directory and says how to start what reads them."""

    def __init__(self, directory, binaries, gateway_core, load_core):
        self.directory = directory
        self.tollgate, self.bare, self.handshakes = binaries
        self.core = gateway_core
        self.load_core = load_core
        self.keys = {consumer_key(number): f"consumer-{number}" for number in range(1, CONSUMERS + 1)}
        self.origin_port = free_port()
        self.script = self.write("full.lua", wrk_script(self.keys))

    def subjects(self, families):
        """The origin first: the others forward to it."""
        chosen = [self.origin()]
        if "bare" in families:
            port = free_port()
            command = [self.bare, f"127.0.0.1:{port}", f"127.0.0.1:{self.origin_port}"]
            chosen.append(Subject("bare pingora", command, port, self.core))
        makers = {"tollgate": self.tollgate_subject, "nginx": self.nginx_subject, "haproxy": self.haproxy_subject}
        for family in families:
            if family in makers:
                chosen += [makers[family]("plain"), makers[family]("full")]
        return chosen

    def fresh_tollgate(self):
        """The full configuration once more, on ports of its own."""
        return self.tollgate_subject("full")

    def many_routes(self, count):
        """A configuration of `count` typed routes, written as a user would."""
        head = tollgate_config(free_port(), free_port(), self.origin_port, "off", {}, [])
        head["consumers"] = {"one": {"plan": "gold", "api_keys": [{"sha256": "0" * 64}]}}
        text = [f"{key}: {json.dumps(value)}" for key, value in head.items() if key != "routes"]
        text.append("routes:")
        for number in range(count):
            text += [
                f"  - name: part-{number}",
                "    method: GET",
                f"    gateway_path: /area{number % 100}/things{number}/{{id}}/parts/{{part}}",
                "    service: origin",
                f"    service_path: /v1/things{number}/{{id}}/{{part}}",
                "    auth: [key]",
                "    path_params: { id: { type: integer, minimum: 1 } }",
                "    query_params:",
                "      expand: { enum: [roles, groups], optional: true }",
                "      limit: { type: integer, maximum: 100, default: 20 }",
            ]
        return self.write("many-routes.yaml", "\n".join(text) + "\n")

    def write(self, name, text):
        file = self.directory / name
        file.write_text(text)
        return file

    def log(self, name):
        return self.write(f"{name}.log", "")

    def certificate(self):
        """A self-signed certificate of `localhost` with a P-256 key, and the key."""
        certificate, key = self.directory / "localhost.pem", self.directory / "localhost.key"
        if not key.exists():
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return certificate, key

    def subject(self, family, job, port, command, log, admin_port=0):
        subject = Subject(f"{family} {job}", command, port, self.core, logs=[log], admin_port=admin_port)
        if job == "full":
            subject.path, subject.script = FULL_PATH, self.script
            subject.headers = {"x-api-key": next(iter(self.keys)), "cookie": "session=1"}
        return subject

    def origin(self):
        """100 bytes of JSON, as fast as nginx can say them."""
        body = json.dumps({"id": 42, "name": "x" * 77})
        server = f"""
            access_log off;
            default_type application/json;
            server {{
                listen 127.0.0.1:{self.origin_port} backlog=1024;
                location / {{ add_header X-Powered-By origin; return 200 '{body}'; }}
            }}"""
        file = self.write("origin.conf", nginx_config(self.directory, "origin", server))
        return Subject("origin", self.nginx_command(file), self.origin_port, self.load_core)

    def tollgate_subject(self, job):
        port, admin = free_port(), free_port()
        log = self.log(f"tollgate-{job}-{port}")
        routes = [PLAIN_ROUTE] if job == "plain" else [FULL_ROUTE]
        consumers = {} if job == "plain" else self.keys
        config = tollgate_config(port, admin, self.origin_port, str(log), consumers, routes)
        # JSON is YAML.
        file = self.write(f"tollgate-{job}-{port}.yaml", json.dumps(config, indent=1))
        return self.subject("tollgate", job, port, [self.tollgate, "run", "--threads", "1", file], log, admin)

    def nginx_subject(self, job):
        port, log = free_port(), self.log(f"nginx-{job}")
        place = NGINX_PLAIN if job == "plain" else NGINX_FULL
        maps = "" if job == "plain" else NGINX_MAPS.replace("CONSUMERS", nginx_map(self.keys))
        server = f"""
            access_log {log} combined buffer=64k flush=1s;
            {maps}
            upstream origin {{
                server 127.0.0.1:{self.origin_port};
                keepalive 512;
                keepalive_requests 1000000000;
            }}
            server {{
                listen 127.0.0.1:{port} backlog=1024;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                {place}
            }}"""
        file = self.write(f"nginx-{job}.conf", nginx_config(self.directory, f"nginx-{job}", server))
        return self.subject("nginx", job, port, self.nginx_command(file), log)

    def nginx_command(self, file):
        return ["nginx", "-p", self.directory, "-e", self.directory / "nginx.err", "-c", file]

    def haproxy_subject(self, job):
        port = free_port()
        # It logs to its standard output, which compare.py sends to this file.
        log = self.directory / f"haproxy-{job}.out"
        rules = HAPROXY_FULL if job == "full" else ""
        table = self.write("haproxy.map", "".join(f"{key} {name}\n" for key, name in self.keys.items()))
        text = HAPROXY.format(port=port, origin=self.origin_port, rules=rules.replace("TABLE", str(table)))
        file = self.write(f"haproxy-{job}.cfg", text)
        return self.subject("haproxy", job, port, ["haproxy", "-db", "-f", file], log)


def wrk_script(keys):
    """A thousand prepared requests, one of each consumer, in turn."""
    listed = ",\n".join(f'"{key}"' for key in keys)
    return f"""
        local keys = {{ {listed} }}
        local requests, turn = {{}}, 0
        function init()
            for number, key in ipairs(keys) do
                local headers = {{ ["x-api-key"] = key, cookie = "session=1" }}
                requests[number] = wrk.format("GET", "/users/" .. number .. "?expand=roles&limit=50", headers)
            end
        end
        function request()
            turn = turn % #requests + 1
            return requests[turn]
        end
    """


PLAIN_ROUTE = {
    "name": "plain",
    "method": "GET",
    "gateway_path": "/plain/{*rest}",
    "service": "origin",
    "query_params": "any",
    "auth": "public",
}

FULL_ROUTE = {
    "name": "get-user",
    "method": "GET",
    "gateway_path": "/users/{id}",
    "service": "origin",
    "service_path": "/v1/users/{id}",
    "auth": ["key"],
    "path_params": {"id": {"type": "integer", "minimum": 1}},
    "query_params": {
        "expand": {"enum": ["roles", "groups"], "optional": True},
        "limit": {"type": "integer", "maximum": 100, "default": 20},
    },
    "request_headers": {"remove": ["cookie"], "set": {"x-gateway": "bench"}},
    "response_headers": {"remove": ["x-powered-by"], "set": {"x-api": "v1"}},
}


def tollgate_config(port, admin_port, origin_port, log, consumers, routes):
    plans = {"gold": {"each_route": "1000000/second", "total": ["1000000/second"]}}
    return {
        "version": 1,
        "listeners": [{"address": f"127.0.0.1:{port}"}],
        "admin": {"address": f"127.0.0.1:{admin_port}"},
        "access_log": {"path": log},
        "services": {"origin": {"url": f"http://127.0.0.1:{origin_port}"}},
        "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
        "plans": plans,
        "consumers": {
            name: {"plan": "gold", "api_keys": [{"sha256": hashlib.sha256(key.encode()).hexdigest()}]}
            for key, name in consumers.items()
        },
        "routes": routes,
    }


def nginx_config(directory, name, http):
    return f"""
        daemon off;
        worker_processes 1;
        pcre_jit on;
        pid {directory}/{name}.pid;
        events {{ worker_connections 4096; }}
        http {{
            keepalive_requests 1000000000;
            client_body_temp_path {directory}/{name}-body;
            proxy_temp_path {directory}/{name}-proxy;
            fastcgi_temp_path {directory}/{name}-fastcgi;
            uwsgi_temp_path {directory}/{name}-uwsgi;
            scgi_temp_path {directory}/{name}-scgi;
            {http}
        }}
    """


def nginx_map(keys):
    return "\n".join(f'"{key}" "{name}";' for key, name in keys.items())


NGINX_PLAIN = "location / { proxy_pass http://origin; }"

NGINX_MAPS = r"""
    map_hash_max_size 8192;
    map_hash_bucket_size 128;
    map $http_x_api_key $consumer { default ""; CONSUMERS }
    map $arg_limit $bad_limit { default 1; "" ""; ~^([0-9]|[1-9][0-9]|100)$ ""; }
    map $arg_expand $bad_expand { default 1; "" ""; roles ""; groups ""; }
    limit_req_zone $consumer zone=consumers:10m rate=1000000r/s;
"""

NGINX_FULL = r"""
    location ~ ^/users/(?<id>[1-9][0-9]*)$ {
        if ($consumer = "") { return 401; }
        if ($bad_limit) { return 422; }
        if ($bad_expand) { return 422; }
        limit_req zone=consumers burst=100000 nodelay;
        proxy_set_header Connection "";
        proxy_set_header X-Api-Key "";
        proxy_set_header Cookie "";
        proxy_set_header X-Gateway bench;
        proxy_set_header X-Consumer $consumer;
        proxy_hide_header X-Powered-By;
        add_header X-Api v1;
        proxy_pass http://origin/v1/users/$id?expand=$arg_expand&limit=$arg_limit;
    }
"""

HAPROXY = """
global
    nbthread 1
    maxconn 4096
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 1s
    timeout client 75s
    timeout server 30s
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    {rules}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin} pool-max-conn 512
backend consumers
    stick-table type string len 32 size 100k expire 60s store http_req_rate(1s)
"""

HAPROXY_FULL = r"""
    http-request deny deny_status 404 unless METH_GET { path_reg ^/users/[1-9][0-9]*$ }
    http-request set-var(txn.consumer) req.hdr(x-api-key),map_str(TABLE)
    http-request deny deny_status 401 unless { var(txn.consumer) -m found }
    acl has_limit url_param(limit) -m found
    acl good_limit url_param(limit) -m reg ^([0-9]|[1-9][0-9]|100)$
    acl has_expand url_param(expand) -m found
    acl good_expand url_param(expand) -m str roles groups
    http-request deny deny_status 422 if has_limit !good_limit
    http-request deny deny_status 422 if has_expand !good_expand
    http-request track-sc0 var(txn.consumer) table consumers
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000 }
    http-request set-uri /v1%[path]?expand=%[url_param(expand)]&limit=%[url_param(limit)]
    http-request del-header x-api-key
    http-request del-header cookie
    http-request set-header x-gateway bench
    http-request set-header x-consumer %[var(txn.consumer)]
    http-response del-header x-powered-by
    http-response set-header x-api v1
"""
