"""benchmarks/gpu.sh as far as it needs no GPU, and the peers that it measures, on the CPU.

usage: gpu_script_test.py BUILD Script|Peers

Peers ends with status 77 if no Python has them: that of CASDM_PEERS_PYTHON, else of the benchmarks, else python3.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GPU = ROOT / "benchmarks" / "gpu"
BUILD = Path()
SKIPPED = 77

SMALL = """include = ["{configs}/quickstart.toml"]
data.workers = 1
metrics = []
[train]
batch_size = 2
total_images = 4
[log]
every_images = 2
sample_count = 0
sample_every_images = 0
[checkpoint]
every_images = 4
"""


def run(*command, status=0):
    """The output of the command, which must end with this status."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    if done.returncode != status:
        raise AssertionError(f"{command}: status {done.returncode} instead of {status}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def casdm(*arguments):
    return run(BUILD / "bin/casdm", *arguments)


def has_driver():
    return any(Path(path).exists() for path in ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"))


def peers_python():
    cache = os.environ.get("CASDM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "casdm"
    for python in (os.environ.get("CASDM_PEERS_PYTHON"), Path(cache) / "peers/bin/python", "python3"):
        try:
            if python and subprocess.run([python, "-c", "import torch, diffusers"], capture_output=True).returncode == 0:
                return python
        except OSError:
            pass
    return None


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Script(Case):
    def test_help_and_unknown_arguments(self):
        script = ROOT / "benchmarks/gpu.sh"
        self.assertIn("--carry DIR", run("bash", script, "--help"))
        self.assertIn("unknown argument '--fast'", run("bash", script, "--fast", status=2))

    def test_a_carried_build_holds_what_it_needs_and_says_that_there_is_no_device(self):
        carried = self.folder / "carried"
        run("bash", ROOT / "benchmarks/gpu.sh", "--build", BUILD, "--carry", carried)
        for path in ("build/bin/casdm", "build/tests/cuda_test", "build/lib/libcasdm_cuda.so",
                     "source/configs/base/cifar10.toml", "source/tests/parity/references/inception.safetensors",
                     "source/benchmarks/cpu/peer.py", "source/benchmarks/peers.sh"):
            self.assertTrue((carried / path).exists(), path)
        if has_driver():
            return
        script = carried / "source/benchmarks/gpu.sh"
        said = run("bash", script, "--run", carried, "--out", self.folder / "out", status=SKIPPED)
        self.assertIn("skipped: run.device = \"cuda\"", said)

    def test_the_experiments_that_are_timed_have_valid_settings(self):
        script = ["bash", ROOT / "benchmarks/gpu.sh", "--build", BUILD, "--check", "--out", self.folder]
        run(*script)
        self.assertGreaterEqual(len(list(self.folder.glob("cifar10_*.txt"))), 18)

    def test_experiments_make_steps_and_losses_that_are_not_finite_are_reported(self):
        steps = [sys.executable, GPU / "experiment_steps.py", BUILD / "bin/casdm", self.folder]
        options = ["--device", "cpu", "--batch", 2, "--steps", 4]
        said = run(*steps, ROOT / "configs/quickstart.toml", *options)
        self.assertRegex(said, r"^quickstart +\d+ images/s, [\d.]+ ms a step over 2 steps")
        wild = self.folder / "wild.toml"
        wild.write_text(f'include = ["{ROOT}/configs/quickstart.toml"]\noptimizer.learning_rate = 1e30\n')
        self.assertIn("FAILED", run(*steps, wild, *options, status=1))


class Peers(Case):
    def test_a_peer_trains_the_exported_networks(self):
        config = self.folder / "small.toml"
        config.write_text(SMALL.format(configs=ROOT / "configs"))
        casdm("train", config, "--set", f"run.directory={self.folder}", "--set", "run.name=small", "--set",
              "run.device=cpu")
        for module in ("theta", "phi"):
            casdm("export", self.folder / "small", "--module", module, "--layout", "diffusers", "--out",
                  self.folder / "networks" / module)
        out = run(peers_python(), ROOT / "benchmarks/cpu/peer.py", "train", self.folder / "networks", "--head", "casdm",
                  "--bf16", "--dropout", "0.1", "--batch", 2, "--seconds", "0.1")
        result = json.loads([line for line in out.splitlines() if line.startswith("{")][-1])
        self.assertGreaterEqual(len(result["rates"]), 3)
        self.assertGreater(min(result["rates"]), 0)
        self.assertEqual(result["batch"], 2)
        (self.folder / "peer.txt").write_text(out)
        row = run(sys.executable, GPU / "rate.py", self.folder / "peer.txt")
        self.assertRegex(row, r"^\d+ images/s, [\d.]+ ms a step$")


if __name__ == "__main__":
    BUILD = Path(sys.argv[1])
    if sys.argv[2] == "Peers" and peers_python() is None:
        print("skipped: no Python has torch and diffusers (benchmarks/peers.sh installs them)")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], sys.argv[2]], verbosity=2)
