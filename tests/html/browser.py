"""A headless Chromium through its own driver: the WebDriver protocol is a few HTTP calls."""

import base64
import json
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager

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

    def picture(self, path):
        """Takes a picture of the whole page."""
        shot = self._cdp("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self, path):
        """Prints on A4, as a person would: the page is told before."""
        self.script("dispatchEvent(new Event('beforeprint'))")
        sheet = self._cdp("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        path.write_bytes(base64.b64decode(sheet["data"]))

    def close(self):
        self._ask("DELETE", "")


@contextmanager
def browser(folder):
    """Starts the driver and a browser with an empty profile, and ends both."""
    driver = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        for line in driver.stdout:
            if "started successfully on port" in line:
                port = int(line.rstrip().rstrip(".").split()[-1])
                break
        session = Browser(f"http://127.0.0.1:{port}", folder / "profile")
        try:
            yield session
        finally:
            session.close()
    finally:
        driver.terminate()
        driver.wait(timeout=10)
        driver.stdout.close()
