"""What Schemathesis must know of this API that no schema can say."""

import re
import uuid

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each request an idempotency key of its own: one key for two requests is refused by contract (422)."""
    key = (case.headers or {}).get("Idempotency-Key")
    if key is not None and re.fullmatch(r"[\x21-\x7e]{1,255}", str(key)):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
