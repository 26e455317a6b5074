"""A page that says what the service offers; it loads nothing from anywhere."""

import html
from collections.abc import Mapping
from typing import Any

#: The page's own style is all that a browser may take.
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto }}
pre {{ background: #f2f2f2; color: #222; padding: .8rem; overflow-x: auto }}
td, th {{ text-align: left; vertical-align: top; padding: .1rem 1rem .1rem 0 }}
</style></head><body><h1>{title}</h1><p>{description}</p>
{endpoints}
<h2>Example</h2><pre>curl -s {address}/classify -H 'Content-Type: application/json' \\
  -d '{{"task": "{task}", "texts": ["I laughed twice."]}}'</pre>
<p>The whole description, for client generators: <a href="/openapi.json">openapi.json</a>.</p>
</body></html>
"""
_ENDPOINT = """<h2><code>{method} {path}</code></h2><p>{text}</p>
<table><tr><th>status</th><th>meaning</th></tr>{rows}</table>"""


def page(api: Mapping[str, Any], task: str, address: str) -> str:
    """Returns HTML of an OpenAPI description.

    Args:
        api: the description.
        task: name of a task, for the example.
        address: where the service is, for the example.
    """
    endpoints = [
        _ENDPOINT.format(
            method=method.upper(),
            path=html.escape(path),
            text=html.escape(told.get("description", told.get("summary", ""))),
            rows="".join(
                f"<tr><td>{status}</td><td>{html.escape(each['description'])}</td></tr>"
                for status, each in told["responses"].items()
            ),
        )
        for path, methods in api["paths"].items()
        for method, told in methods.items()
    ]
    return _PAGE.format(
        title=html.escape(api["info"]["title"]),
        description=html.escape(api["info"]["description"]),
        endpoints="\n".join(endpoints),
        task=html.escape(task),
        address=html.escape(address),
    )
