"""Runs the program, with faults injected if wanted."""

import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass

WARM_COMMANDS = {"train", "evaluate", "sample", "ema", "import", "export", "data"}
PATIENCE = 600  # seconds for a process to end, since the machine may be busy


@dataclass
class Outcome:
    """What a process left: exit status, or minus the signal that ended it; seconds of processor time; memory in MiB."""

    status: int
    out: str
    err: str
    seconds: float
    processor: float
    memory: float
    timed_out: bool = False

    @property
    def last_words(self):
        return self.err.strip().splitlines()[-1][-600:] if self.err.strip() else "(nothing on stderr)"


class Running:
    """A running process; `wait` waits for its end."""

    def __init__(self, wait, process, is_running):
        self.wait = wait
        self.process = process
        self.is_running = is_running

    def kill(self, number=signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, number)


class WarmProgram:
    """A process of the program that has loaded LibTorch and forks one for each run; see warm.cpp."""

    def __init__(self, command, environment):
        self.socket, theirs = socket.socketpair()
        environment = dict(environment, CASDM_WARM=str(theirs.fileno()))
        self.process = subprocess.Popen([command, "train", "-"], env=environment, pass_fds=[theirs.fileno()],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        theirs.close()
        self.buffer = b""
        if self.line(PATIENCE) != "ready":
            raise RuntimeError(f"{command} does not start under the preloaded library")

    def line(self, timeout):
        """The next line of an answer; None when time is up; "" at the end."""
        end = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            got = self.socket.recv(4096)
            if not got:
                return ""
            self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def request(self, fields):
        payload = b"".join(os.fsencode(field) + b"\0" for field in fields)
        self.socket.sendall(struct.pack("=I", len(payload)) + payload)
        return int(self.line(PATIENCE))

    def close(self):
        self.socket.close()
        self.process.wait()


class Program:
    """`casdm` of a build folder, every process of it with the library of faults preloaded."""

    def __init__(self, build, library, scratch, is_warm=True):
        self.command = str(build / "bin/casdm")
        self.scratch = scratch
        self.is_warm = is_warm
        self.idle = []
        self.count = 0
        self.outputs = scratch / "outputs"
        self.outputs.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CASDM_")},
            "LD_PRELOAD": str(library),
            "XDG_STATE_HOME": str(scratch / "state"),
            "XDG_DATA_HOME": str(scratch / "data"),
            # In the folder of a trial, so that files stored there can go wrong, too.
            "XDG_CACHE_HOME": str(scratch / "trial" / "work" / "cache"),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
        }

    def start(self, arguments, folder, plan="", variables=None, limit=PATIENCE, stdout=None):
        """Starts `casdm ARGUMENTS` in `folder`; its end is awaited by .wait(). stdout: a device to write to."""
        self.count += 1
        out, err = stdout or self.outputs / f"{self.count}.out", self.outputs / f"{self.count}.err"
        variables = variables or {}
        is_warm = self.is_warm and arguments[0] in WARM_COMMANDS
        starter = self.start_warm if is_warm else self.start_cold
        return starter(arguments, folder, plan, variables, limit, out, err)

    def run(self, arguments, folder, plan="", variables=None, limit=PATIENCE, kill_after=None, stdout=None):
        running = self.start(arguments, folder, plan, variables, limit, stdout)
        return running.wait(kill_after)

    def start_warm(self, arguments, folder, plan, variables, limit, out, err):
        server = self.idle.pop() if self.idle else WarmProgram(self.command, self.environment)
        lines = "".join(f"{name}={value}\n" for name, value in variables.items())
        begun = time.monotonic()
        process = server.request([folder, out, err, plan, lines, *arguments])

        def wait(kill_after=None):
            answer = server.line(limit if kill_after is None else kill_after)
            is_late = answer is None
            if is_late:
                with contextlib.suppress(ProcessLookupError):  # it may have ended since the last check
                    os.kill(process, signal.SIGKILL)
                answer = server.line(PATIENCE)
            status, memory, processor = answer.split()
            self.idle.append(server)
            return self.outcome(int(status), int(memory), float(processor), begun, out, err,
                                is_late and kill_after is None)

        return Running(wait, process, lambda: not select.select([server.socket], [], [], 0)[0])

    def start_cold(self, arguments, folder, plan, variables, limit, out, err):
        environment = {**self.environment, "CASDM_FAULTS": plan, **variables}
        begun = time.monotonic()
        with open(out, "wb") as out_file, open(err, "wb") as err_file:
            process = subprocess.Popen([self.command, *arguments], cwd=folder, env=environment,
                                       stdin=subprocess.DEVNULL, stdout=out_file, stderr=err_file)

        def wait(kill_after=None):
            end = begun + (limit if kill_after is None else kill_after)
            is_late = False
            while True:
                done, status, usage = os.wait4(process.pid, os.WNOHANG)
                if done:
                    break
                if time.monotonic() > end and not is_late:
                    is_late = True
                    process.kill()
                time.sleep(0.002)
            process.returncode = os.waitstatus_to_exitcode(status)
            return self.outcome(status, usage.ru_maxrss, usage.ru_utime + usage.ru_stime, begun, out, err,
                                is_late and kill_after is None)

        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return Running(wait, process.pid, lambda: os.waitid(os.P_PID, process.pid, flags) is None)

    def outcome(self, status, memory, processor, begun, out, err, timed_out):
        texts = []
        for path in (out, err):
            is_ours = isinstance(path, pathlib.Path) and path.exists()  # nobody reads a device
            texts.append(path.read_bytes().decode(errors="surrogateescape") if is_ours else "")
            if is_ours:
                path.unlink()
        return Outcome(os.waitstatus_to_exitcode(status), *texts, time.monotonic() - begun, processor, memory / 1024,
                       timed_out)

    def close(self):
        for server in self.idle:
            server.close()
        self.idle = []


def copy(source, target):
    shutil.copytree(source, target, symlinks=True)


CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")


def control_characters(text):
    """Characters that a terminal would interpret, apart from the progress line's own \\r and erase."""
    return CONTROL.findall(text.replace("\r", "").replace("\x1b[K", ""))
