#!/usr/bin/env python3
"""What checking a JSON body costs: 1 KiB with eight declared members, beside the same request streamed unread.

    apt install python3 wrk nginx
    benches/json_body.py [--rounds 7] [--seconds 5] [--profile dist] [--instructions]

The whole gateway counts, the network included; see sides.py.
"""

import json
import sys

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import setups  # noqa: E402
import sides  # noqa: E402

MEMBERS = {
    "name": {"type": "string", "maxLength": 80},
    "email": {"type": "string", "format": "email"},
    "age": {"type": "integer", "minimum": 0, "maximum": 150},
    "score": {"type": "number"},
    "active": {"type": "boolean"},
    "role": {"enum": ["user", "admin"]},
    "tags": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 20},
    "address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "text": {}}},
}


def body():
    """Exactly 1 KiB."""
    value = {
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "age": 36,
        "score": 99.5,
        "active": True,
        "role": "admin",
        "tags": [f"tag-{number}" for number in range(20)],
        "address": {"city": "London", "text": ""},
    }
    value["address"]["text"] = "x" * (1024 - len(json.dumps(value)))
    return json.dumps(value)


def side(plan, name, contract):
    port, admin = setups.free_port(), setups.free_port()
    route = {"name": name, "methods": ["POST", "GET"], "gateway_path": "/", "service": "origin", "auth": "public"}
    log = plan.log(name)
    config = setups.tollgate_config(port, admin, plan.origin_port, str(log), {}, [route | contract])
    script = plan.write(
        f"{name}.lua",
        f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [[{body()}]]\n",
    )
    return sides.side(plan, name, config, port, admin, script=script)


def both(plan, _processes):
    return [side(plan, "streamed", {"body": "any"}), side(plan, "checked", {"body_params": MEMBERS})]


if __name__ == "__main__":
    sides.main("json_body.py", __doc__, both, [sides.Ratio("checked", "streamed", 1.3)])
