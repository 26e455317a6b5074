"""The pages in a headless Chromium, through its own driver.

The WebDriver protocol is a few HTTP calls, so no package is needed beside the browser.
"""

import base64
import json
import re
import shutil
import subprocess
import urllib.request

import pytest

from rlprompt.core.files import write_json
from rlprompt.html.report import write_report

CHROMIUM = next(
    (path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage"
)


class Browser:
    """One session."""

    def __init__(self, url, profile):
        self._url = url
        options = {
            "binary": CHROMIUM,
            "args": [*ARGUMENTS.split(), f"--user-data-dir={profile}"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        found = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/session/{found['sessionId']}"

    def _ask(self, method, path, value=None):
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if method == "GET" else json.dumps(value or {}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.loads(answer.read())["value"]

    def _cdp(self, command, **values):
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": values})

    def open(self, path, width=1200, height=900, *, dark=False):
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("POST", "/url", {"url": path.resolve().as_uri()})

    def script(self, code):
        return self._ask("POST", "/execute/sync", {"script": code, "args": []})

    def messages(self):
        """What the page wrote to the console since the last time, errors of loading included."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def printed(self):
        """Returns the page as PDF."""
        sheet = self._cdp("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(sheet["data"])

    def close(self):
        self._ask("DELETE", "")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser with an empty profile."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver")
    driver = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        line = next(each for each in driver.stdout if "started successfully on port" in each)
        port = re.search(r"port (\d+)", line)[1]
        browser = Browser(f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("profile"))
        yield browser
        browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=10)
        driver.stdout.close()


@pytest.fixture
def pages(explained, moved, comparison, tmp_path):
    """A report of a run with everything in it, and one of a comparison."""
    write_json(explained / "transfer" / "transfer.json", moved)
    found = []
    for name, folder in (("run", explained), ("comparison", comparison)):
        found.append(tmp_path / f"{name}.html")
        write_report(folder, found[-1])
    return found


SCROLLS = """
const page = document.scrollingElement;
const wide = [...document.querySelectorAll("main *")].filter((each) =>
  !each.closest(".scroll, svg, pre") && each.getBoundingClientRect().right > innerWidth + 1);
return [page.scrollWidth <= page.clientWidth, page.clientWidth, wide.map((each) => each.outerHTML)];
"""
SORTS = """
const table = document.querySelector("#archive table.sortable");
const column = 2;
const value = (row) => Number(row.cells[column].dataset.value);
const values = () => [...table.tBodies[0].rows].map(value);
const button = table.tHead.rows[0].cells[column].querySelector("button");
button.click();
const down = values();
button.click();
return [down, values(), table.tHead.rows[0].cells[column].getAttribute("aria-sort")];
"""
CONTRAST = """
const light = (text) => {
  const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((c) => {
    const s = c / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (each) => {
  for (; each; each = each.parentElement) {
    const color = getComputedStyle(each).backgroundColor;
    if (color !== "rgba(0, 0, 0, 0)" && !/, 0\\.\\d+\\)/.test(color)) return color;
  }
};
const faint = [];
for (const each of document.querySelectorAll("main *, header *, footer *")) {
  const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || each.closest("svg, script, style")) continue;
  const [one, other] = [light(getComputedStyle(each).color), light(behind(each))];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (ratio < 4.5) faint.push([ratio, each.outerHTML]);
}
return faint;
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1200])
def test_no_error_no_page_scroll_and_enough_contrast(chromium, pages, width, dark):
    for page in pages:
        chromium.open(page, width, dark=dark)
        fits, seen, wide = chromium.script(SCROLLS)
        assert (fits, wide) == (True, [])
        assert width - 20 <= seen <= width
        assert chromium.script(CONTRAST) == []
        assert chromium.messages() == []


def test_a_click_sorts_a_table(chromium, pages):
    chromium.open(pages[0])
    down, up, told = chromium.script(SORTS)
    assert len(set(down)) > 1
    assert (down, up) == (sorted(down, reverse=True), sorted(down))
    assert told == "ascending"
    assert chromium.messages() == []


def test_it_prints(chromium, pages):
    for page in pages:
        chromium.open(page)
        assert chromium.printed().startswith(b"%PDF")
        assert chromium.messages() == []
