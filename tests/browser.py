"""A page in a headless browser."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

_WATCH = (
    "<script>addEventListener('error', (e) => { document.body.dataset.wrong = e.message; });"
    "addEventListener('unhandledrejection', (e) => {"
    " document.body.dataset.wrong = e.reason.message; });</script>"
)


def drawn(text: str, folder: Path) -> str:
    """What a page has become when its script is done, which has to be without an error."""
    page = folder / "page.html"
    page.write_text(text.replace("<body>", f"<body>{_WATCH}", 1), "utf-8")
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
    options = ["--virtual-time-budget=20000", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*browser, *options, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    body = re.search(r"<body[^>]*>", done.stdout)
    assert body is not None
    assert "data-wrong" not in body[0], body[0]
    assert 'data-drawn="yes"' in body[0]
    return done.stdout
