"""Sides of a comparison with other gateways: each forwards GET requests over HTTP/1.1 and writes an access log."""

import setups
import sides


def tls_files(plan):
    certificate, key = plan.certificate()
    return {"certificate": str(certificate), "private_key": str(key)}


def tollgate(plan, name, listener=None, route=None, origin_port=None):
    """`listener` and `route` are added to what the configuration says of its only ones."""
    port, admin = setups.free_port(), setups.free_port()
    whole = {"name": "all", "method": "GET", "gateway_path": "/{*rest}", "service": "origin", "auth": "public"}
    log = plan.log(name.replace(" ", "-"))
    config = setups.tollgate_config(port, admin, origin_port or plan.origin_port, str(log), {}, [whole | (route or {})])
    config["listeners"][0] |= listener or {}
    return sides.side(plan, name, config, port, admin)


def nginx_tls(plan):
    certificate, key = plan.certificate()
    return f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;"


def nginx(plan, name, listen="", http="", server="", origin_port=None):
    """`listen` is said behind the address, `http` and `server` in these blocks."""
    port, admin, slug = setups.free_port(), setups.free_port(), name.replace(" ", "-")
    log = plan.log(slug)
    text = f"""
        access_log {log} combined buffer=64k flush=1s;
        upstream origin {{
            server 127.0.0.1:{origin_port or plan.origin_port};
            keepalive 512;
            keepalive_requests 1000000000;
        }}
        {http}
        server {{ listen 127.0.0.1:{admin}; return 200; }}
        server {{
            listen 127.0.0.1:{port} {listen} backlog=1024;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {server}
            location / {{ proxy_pass http://origin; }}
        }}"""
    command = plan.nginx_command(plan.write(f"{slug}.conf", setups.nginx_config(plan.directory, slug, text)))
    return setups.Subject(name, command, port, plan.core, path="/", logs=[log], admin_port=admin)
