"""One HTML file out of data and the files in ``assets/``: style, script and data are inside it."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

_ASSETS = Path(__file__).parent / "assets"
# In this order: each uses only what those before it define.
_SCRIPTS = (
    "synthesis.js",
    "drums.js",
    "instruments.js",
    "sound.js",
    "player.js",
    "roll.js",
    "strip.js",
    "similarity.js",
    "page.js",
)
# What ends a script element or a line of JavaScript, or begins a comment, is written as an escape of JSON.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def html_document(data: dict[str, Any]) -> bytes:
    """The page, UTF-8. Names and texts in ``data`` are not trusted: they cannot become markup or script.

    The page's own policy lets only the script and the style that are written here run, and forbids every request.
    """
    style = _asset("page.css")
    script = '"use strict";\n' + "\n".join(_asset(name) for name in _SCRIPTS)
    page = _asset("page.html")
    for name, content in (
        ("policy", _policy(script, style)),
        ("style", style),
        ("script", script),
        ("data", _json(data)),  # last: its texts may look like a gap
    ):
        before, after = page.split(f"@{name}@")
        page = before + content + after
    return page.encode("utf-8", "replace")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def _policy(script: str, style: str) -> str:
    """A Content-Security-Policy: nothing but the script and the style with these hashes."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style))
    script_hash, style_hash = digests
    return f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'"
