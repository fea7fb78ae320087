#!/usr/bin/env python3
"""What knowing the caller costs: an API key among 1,000, beside tokens that were verified before.

    apt install python3 wrk nginx openssl
    benches/identity.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions]

Every side serves the same route with the same limit; each of 1,000 consumers calls in turn, with its API key, with an
RS256 token or with an HS256 token. The tokens fit into what the gateway remembers, so after the first second none is
verified again: what a verification costs by itself is `cargo bench --bench tokens`. See sides.py.
"""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import setups  # noqa: E402
import sides  # noqa: E402

SECRET = "a secret of the benches, 32 bytes and more"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(algorithm, name, sign):
    head = {"alg": algorithm, "typ": "JWT"}
    claims = {"iss": "https://id.example.com", "aud": "api", "sub": name, "exp": int(time.time()) + 86_400}
    text = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
    return f"{text}.{encoded(sign(text.encode()))}"


def rsa_key(plan):
    """A private key of 2048 bits and its public half."""
    private = plan.write("rsa.pem", "")
    run = lambda *words, **more: subprocess.run(["openssl", *words], check=True, capture_output=True, **more).stdout
    run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private)
    public = run("pkey", "-in", private, "-pubout").decode()
    return (lambda text: run("dgst", "-sha256", "-sign", private, input=text)), public


def side(plan, name, authenticator, header, values):
    """`values` has what each consumer sends in `header`."""
    port, admin = setups.free_port(), setups.free_port()
    limits = [{"rate": "1000000/second", "by": "consumer"}]
    route = {"name": name, "method": "GET", "gateway_path": "/", "service": "origin", "limits": limits}
    consumers = plan.keys if name == "key" else {}
    config = setups.tollgate_config(port, admin, plan.origin_port, str(plan.log(name)), consumers, [route])
    config["authenticators"] = {"caller": authenticator}
    config["defaults"] = {"auth": ["caller"]}
    listed = ",\n".join(f"{json.dumps(value)}" for value in values)
    script = plan.write(
        f"{name}.lua",
        f"""
        local values, requests, turn = {{ {listed} }}, {{}}, 0
        function init()
            for number, value in ipairs(values) do
                requests[number] = wrk.format("GET", "/", {{ ["{header}"] = value }})
            end
        end
        function request()
            turn = turn % #requests + 1
            return requests[turn]
        end
        """,
    )
    return sides.side(plan, name, config, port, admin, script=script)


def all_sides(plan, _processes):
    names = list(plan.keys.values())
    sign, public = rsa_key(plan)
    jwt = {"issuer": "https://id.example.com", "audience": "api", "plan": "gold"}
    mac = lambda text: hmac.digest(SECRET.encode(), text, hashlib.sha256)
    bearers = lambda algorithm, signing: [f"Bearer {token(algorithm, name, signing)}" for name in names]
    return [
        side(plan, "key", {"api_key": {"header": "x-api-key"}}, "x-api-key", list(plan.keys)),
        side(plan, "RS256", {"jwt": jwt | {"key": public}}, "authorization", bearers("RS256", sign)),
        side(plan, "HS256", {"jwt": jwt | {"secret": SECRET}}, "authorization", bearers("HS256", mac)),
    ]


if __name__ == "__main__":
    sides.main(
        "identity.py",
        __doc__,
        all_sides,
        [sides.Ratio("RS256", "key", 1.1), sides.Ratio("HS256", "key", 1.1)],
    )
