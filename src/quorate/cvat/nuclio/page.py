"""The page at /: which functions there are, how fast they answer, what went wrong and why.

It is plain HTML, light or dark as the browser likes, without any script; whatever names and
messages hold is shown as text.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from quorate._version import __version__
from quorate.cvat.nuclio.served import Served
from quorate.cvat.nuclio.upstream import Upstream
from quorate.report.markup import count, counted, duration, name, table, text

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#dfe3df, #2d3735);
  --soft: light-dark(#5a6664, #9daba8); --alarm: light-dark(#a33b00, #ffb27a);
  font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem; color: light-dark(#16201f, #e8eeec);
  background: light-dark(#fbfbf9, #101514); }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; font-size: 1.25rem; }
p, dd { color: var(--soft); } bdi { overflow-wrap: anywhere; }
.alarm { color: var(--alarm); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; }
"""


def page(functions: Mapping[str, Served], upstream: Upstream | None) -> str:
    """The page as it is now."""
    rows = [_row(served) for served in functions.values()]
    head = ["function", "state", "frames", "asked again", "shapes", "half within", "95 % within",
            "failures"]  # fmt: skip
    parts = [table(head, rows), *map(_about, functions.values())]
    if upstream is not None:
        notes = "".join(f'<li class="alarm">{text(note)}</li>' for note in upstream.notes)
        parts.append(
            f"<h2>Behind</h2><p>What is not ours is passed on to {name(upstream.url)}.</p>"
            f"<ul>{notes}</ul>"
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>Quorate for CVAT</title><style>{_STYLE}</style>'
        "</head><body><main><h1>Quorate for CVAT</h1>"
        f"<p>Quorate {text(__version__)} serves {counted(len(functions), 'function')} to CVAT's "
        "automatic annotation. Load this page again to see what is new.</p>"
        f"{''.join(parts)}</main></body></html>"
    )


def _row(served: Served) -> list[str]:
    record = served.record
    state = '<span class="alarm">not ready</span>' if served.said else "ready"
    half, most = (
        map(duration, np.percentile([*record.seconds], [50, 95])) if record.seconds else "––"
    )
    cells = map(count, (record.calls, record.repeated, record.shapes))
    return [name(served.name), state, *cells, half, most, count(record.failed)]


def _about(served: Served) -> str:
    function, record = served.function, served.record
    ensemble = function.ensemble
    parts = [
        f"<h2>{name(served.name)}</h2>",
        f"<p>{text(ensemble.fusion.method)} of "
        f"{', '.join(name(one.name) for one in ensemble.detectors)}; at least {ensemble.needed} "
        f"must answer. Labels: {', '.join(map(name, function.labels))}. Attributes: "
        f"{', '.join(map(name, function.attributes)) or 'none'}.</p>",
    ]
    if served.said:
        parts.append(f'<p class="alarm">Not ready: {text(served.said)}</p>')
    if not record.failures:
        return "".join([*parts, "<p>Nothing went wrong.</p>"])
    rows = [
        [
            f"<time>{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(one.when))}</time>",
            *map(text, (one.picture, one.what, one.reason)),
        ]
        for one in reversed(record.failures)
    ]
    shown = f"the last {len(rows)} of " if len(rows) < record.failed else ""
    parts.append(f"<h3>Failures ({shown}{count(record.failed)})</h3>")
    return "".join([*parts, table(["time (UTC)", "picture", "answered", "reason"], rows)])
