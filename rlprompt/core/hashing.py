"""Content hashes: equal content, equal hash, on any machine."""

import hashlib
import json
from typing import Any


def content_hash(value: Any, length: int = 16) -> str:
    """Returns the first ``length`` hex digits of the SHA-256 of ``value`` as canonical JSON.

    >>> content_hash({"b": 1, "a": [1, 2]}) == content_hash({"a": [1, 2], "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
