"""A real Chromium without a window, driven over its own protocol (CDP) through a pair of pipes."""

import base64
import json
import shutil
import subprocess
import time

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")


class Browser:
    """One page of a browser; `faults` holds what it complained of."""

    def __init__(self, profile, dark=False, width=900):
        switches = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        switches += ["--remote-debugging-pipe", "--disable-dev-shm-usage", "--no-first-run"]
        # Chromium reads 3 and writes 4.
        command = ["sh", "-c", 'exec "$@" 3<&0 4>&1 >/dev/null', "sh", PROGRAM, *switches]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **pipes)
        self.number, self.session, self.faults = 0, {}, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def call(self, method, **params):
        """The result of a method."""
        self.number += 1
        sent = {"id": self.number, "method": method, "params": params, **self.session}
        self.process.stdin.write(json.dumps(sent).encode() + b"\0")
        self.process.stdin.flush()
        while True:
            said = json.loads(self._read())
            if said.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.faults.append(said["params"])
            if said.get("id") == self.number:
                assert "error" not in said, said
                return said["result"]

    def _read(self):
        message = bytearray()
        while (byte := self.process.stdout.read(1)) not in (b"\0", b""):
            message += byte
        return bytes(message)

    def value(self, expression):
        """What a piece of JavaScript comes to."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def until(self, expression, within=30):
        """Wait until a piece of JavaScript comes to something true."""
        deadline = time.monotonic() + within
        while not (found := self.value(expression)):
            assert time.monotonic() < deadline, (expression, self.faults)
            time.sleep(0.05)
        return found

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def type(self, selector, text):
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press_enter(self):
        key = {"key": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def click(self, selector):
        where = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y, width, height = self.value(
            f"(({{x, y, width, height}}) => [x, y, width, height])({where})"
        )
        at = {"x": x + width / 2, "y": y + height / 2, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def picture(self, path):
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
