"""What Schemathesis must know of this API that no schema can say."""

import base64
import json
import os
import re
import uuid

import schemathesis


def own_id():
    """Who the token is for."""
    claims = os.environ["DOGWATCH_TOKEN"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]


OWN_ID = own_id()


def is_id(value):
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value)


def put_on_call(body):
    """Names the one user there surely is wherever a schedule names users: others are refused (422)."""
    layers = body.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        users = layer.get("users") if isinstance(layer, dict) else None
        if isinstance(users, list) and users and all(map(is_id, users)):
            layer["users"] = [OWN_ID]
    overrides = body.get("overrides")
    for override in [body] + (overrides if isinstance(overrides, list) else []):
        if isinstance(override, dict) and is_id(override.get("user")):
            override["user"] = OWN_ID


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each request an idempotency key of its own: one key for two requests is refused by contract (422).

    Makes If-Match name the version that the body names: they must agree (422).
    Turns changes of the own account to another, which nobody has: once it is disabled, every answer is 401.
    Gives webhooks a host that no name server knows: the checks post to nobody.
    """
    key = (case.headers or {}).get("Idempotency-Key")
    if key is not None and re.fullmatch(r"[\x21-\x7e]{1,255}", str(key)):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    expected, version = (case.headers or {}).get("If-Match"), isinstance(case.body, dict) and case.body.get("version")
    is_version = type(version) in (int, float) and version > 0 and version % 1 == 0
    if is_version and re.fullmatch(r'(W/)?"[1-9][0-9]{0,17}"', str(expected)):
        case.headers["If-Match"] = f'"{int(version)}"'
    if case.operation.path.startswith("/api/v1/schedules") and isinstance(case.body, dict):
        put_on_call(case.body)
    url = case.body.get("url") if isinstance(case.body, dict) else None
    if case.operation.path.startswith("/api/v1/webhooks") and isinstance(url, str) and len(url) <= 2000:
        case.body["url"] = re.sub(r"^(https?://)[^/?#]*", r"\1hooks.invalid", url)[:2000]
    if case.operation.path == "/api/v1/users/{id}" and case.method in ("PATCH", "DELETE"):
        if str(case.path_parameters.get("id")).lower() == OWN_ID:
            case.path_parameters["id"] = str(uuid.uuid4())
