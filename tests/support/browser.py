"""Headless Chromium for the tests of pages."""

import base64
import json
import os
import shutil
import subprocess

# Elements wider than the page, except in boxes that scroll: a call with the boxes' selector gives their beginnings.
OVERFLOW = """((boxes) => {
  const width = document.documentElement.clientWidth;
  const found = document.documentElement.scrollWidth > width ? ["the page"] : [];
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest(boxes) || element.getClientRects().length === 0) continue;
    if (element.getBoundingClientRect().right > width + 1) found.push(element.outerHTML.slice(0, 80));
  }
  return found;
})"""


class Browser:
    """Chromium, controlled over two pipes with its DevTools protocol. Screenshots go into the folder `pictures`."""

    def __init__(self, program, profile, pictures=None):
        self.pictures = pictures
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()

        def connect():
            os.dup2(there_in, 3)
            os.dup2(there_out, 4)

        for end in (there_in, there_out):
            os.set_inheritable(end, True)
        words = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
                 "--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(words, preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(there_in)
        os.close(there_out)
        self.reader, self.writer = here_in, here_out
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.buffer:
            got = os.read(self.reader, 1 << 20)
            if not got:
                raise EOFError("Chromium has ended")
            self.buffer += got
        line, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(line)

    def call(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.writer, json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") != self.number:
                self.events.append(message)
            elif "error" in message:
                raise RuntimeError(f"{method}: {message['error']}")
            else:
                return message["result"]

    def open(self, address, width, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def complaints(self, home="file:"):
        """Errors of the console, of scripts and of the policy, and requests for anything that is not at `home`."""
        self.value("0")
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"]["text"])
            if method == "Runtime.consoleAPICalled":
                found.append(f"console: {parameters['args']}")
            if method == "Log.entryAdded":
                found.append(parameters["entry"]["text"])
            if method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith((home, "data:")):
                found.append(f"asks for {parameters['request']['url']}")
        return found

    def picture(self, name, whole=True):
        result = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        if self.pictures:
            (self.pictures / f"{name}.png").write_bytes(base64.b64decode(result["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait()
        os.close(self.reader)
        os.close(self.writer)

def chromium():
    """The program, or nothing."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
