"""A real browser, without a window: what it makes of a page, at a phone's and a desk's width."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.support import needs
from tests.support.listener import Listener

WIDTHS = (390, 1280)

_HARNESS = """<!DOCTYPE html><link rel="icon" href="data:,"><title>harness</title>
<body><script>
const widths = WIDTHS, seen = {};
function luminance(c) {
  const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
function background(element) {
  for (; element; element = element.parentElement) {
    const c = rgb(getComputedStyle(element).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3);
  }
  return [255, 255, 255];
}
function faint(doc) {
  const found = [];
  for (const element of doc.querySelectorAll("body *:not(svg):not(svg *):not(style)")) {
    if (![...element.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;
    const a = luminance(rgb(getComputedStyle(element).color).slice(0, 3));
    const b = luminance(background(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push([element.className, element.textContent.slice(0, 30), ratio]);
  }
  return found;
}
function wide(doc, width) {
  return [...doc.querySelectorAll("body *")]
    .filter(e => e.getBoundingClientRect().right > width + 1)
    .map(e => e.tagName + "." + e.className).slice(0, 5);
}
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 900; frame.src = "/page.html";
  frame.onload = () => {
    const doc = frame.contentDocument, root = doc.documentElement;
    seen[width] = {
      title: doc.title, text: doc.body.innerText, scrolls: root.scrollWidth, wide: wide(doc, width),
      plots: [...doc.querySelectorAll("svg")].map(s => [s.clientWidth, s.clientHeight]),
      named: [...doc.querySelectorAll("svg[role=img]")].map(s => s.getAttribute("aria-label")),
      tables: doc.querySelectorAll("table").length, faint: faint(doc),
      background: getComputedStyle(doc.body).backgroundColor,
      scripts: doc.scripts.length, bold: doc.querySelectorAll("th b, td b").length,
    };
    if (Object.keys(seen).length == widths.length) document.title = JSON.stringify(seen);
  };
  document.body.append(frame);
}
</script>
"""


def look(page: Path, folder: Path, *, dark: bool = False) -> dict[int, dict[str, Any]]:
    """Return what the browser makes of a page, by width; fail if it asks anybody for anything.

    `folder` is for its own files. Skips the test where there is no Chromium.
    """
    chromium = needs.program("chromium", "chromium")
    log = folder / "net.json"
    with Listener(status=404) as server:
        server.pages["/page.html"] = page.read_bytes()
        server.pages["/"] = _HARNESS.replace("WIDTHS", json.dumps(WIDTHS)).encode()
        origin = f"http://127.0.0.1:{server.port}"
        done = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--no-proxy-server",
                *(["--blink-settings=preferredColorScheme=0"] if dark else []),
                f"--user-data-dir={folder / 'profile'}",
                f"--log-net-log={log}",
                "--virtual-time-budget=10000",
                "--window-size=1400,2000",
                "--dump-dom",
                f"{origin}/",
            ],
            capture_output=True,
            text=True,
            timeout=120,
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stderr
    assert set(server.asked) == {"/", "/page.html"}
    assert _elsewhere(log, origin) == set()
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout, re.DOTALL)
    assert title, done.stdout[-2000:] + done.stderr[-2000:]
    return {int(width): seen for width, seen in json.loads(html.unescape(title[1])).items()}


def _elsewhere(log: Path, origin: str) -> set[str]:
    """Return the URLs that our pages asked for and that are not of our server. What the browser
    asks for itself, such as its updates, has another initiator.
    """
    asked = set()
    for line in log.read_text(encoding="utf-8").splitlines():
        if f'"initiator":"{origin}"' in line and (found := re.search(r'"url":"([^"]+)"', line)):
            asked.add(found[1])
    assert f"{origin}/page.html" in asked, "the browser's log says nothing"
    return {url for url in asked if not url.startswith((f"{origin}/", "data:"))}
