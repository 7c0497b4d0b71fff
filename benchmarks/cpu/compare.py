#!/usr/bin/env python3
"""Measures casdm and its peers on the CPU, alternating within one run; writes results.json.

    compare.py --casdm PROGRAM --peers PYTHON --out DIR [--cases PART,...] [--rounds 3] [--seconds 10] [--threads 2]
               [--guided-diffusion CHECKOUT] [--continue]

Each contender of a case runs `rounds` times, in turn, so that a machine that becomes slower does so for all. A rate is
the median over a process's intervals after a warm-up: starting, importing and compiling are not counted. The ratio is
taken within a round, to the peer with the best median, or to casdm without what is measured. Real-time priority is used if it is allowed. With --continue,
cases that DIR/results.json holds are not measured again.
"""

import argparse
import ctypes
import functools
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZES = {  # image size, channels, multipliers, blocks, attention, batch, images per interval
    "small": (16, 32, [1, 2, 2], 1, [4], 16, 320),
    "middle": (32, 64, [1, 2, 2, 2], 2, [16], 16, 32),
    "large": (32, 128, [1, 2, 2, 2], 3, [16, 8], 8, 8),
}
HEADS = {"ddpm": "DDPM", "casdm": "Cas-DM", "casdm_st_lpips": "Cas-DM + ST-LPIPS"}
PEER_VARIANTS = ("eager", "channels-last", "compiled")
LOADING = {  # data set of casdm, size of the result
    "JPEG, 256 px to 64": ("folder", 64),
    "PNG, 64 px": ("folder", 64),
    "CIFAR-10": ("cifar10", 32),
}


def real_time():
    command = ["chrt", "-f", "10"]
    works = shutil.which("chrt") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else []


def end_with_parent():
    """For a new process: it is killed when this one ends, however it ends; at real-time priority it would starve all."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def experiment(size, head, folder):
    pixels, channels, multipliers, blocks, attention, batch, interval = SIZES[size]
    network = f"""type = "unet"
channels = {channels}
channel_mult = {multipliers}
num_res_blocks = {blocks}
attention_resolutions = {attention}
use_scale_shift_norm = false
"""
    phi = "" if head == "ddpm" else f"[head.phi]\n{network}"
    metric = '[[metrics]]\ntype = "st_lpips"\n' if head.endswith("st_lpips") else ""
    text = f"""[run]
name = "{size}-{head}"
directory = "{folder}/runs"
[data]
type = "shapes"
image_size = {pixels}
[noise]
type = "linear"
[head]
type = "{'single' if head == 'ddpm' else 'cascade'}"
[head.theta]
{network}{phi}{metric}[sampler]
type = "ddim"
[train]
batch_size = {batch}
total_images = "100M"
[log]
every_images = {interval}
sample_count = 0
[checkpoint]
every_images = "100M"
"""
    path = Path(folder) / f"{size}-{head}.toml"
    path.write_text(text, encoding="utf-8")
    return path


class Runner:
    def __init__(self, o):
        self.o = o
        self.prefix = real_time()
        self.environment = dict(os.environ, OMP_NUM_THREADS=str(o.threads), PYTHONWARNINGS="ignore")
        self.folder = Path(tempfile.mkdtemp(prefix="casdm-benchmark-"))

    def benchmark(self, name):
        return Path(self.o.casdm).parents[1] / "benchmarks" / name

    def start(self, command, environment=None):
        log = self.folder / "log"
        return subprocess.Popen(self.prefix + [str(c) for c in command], cwd=self.folder,
                                env=self.environment | (environment or {}), preexec_fn=end_with_parent, stdout=subprocess.PIPE, stderr=log.open("w"), text=True)

    def finish(self, process):
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return out, usage.ru_maxrss / 1024

    def fail(self, command):
        end = (self.folder / "log").read_text(encoding="utf-8")[-600:]
        raise RuntimeError(f"{' '.join(str(c) for c in command)}:\n{end}")

    def run(self, command, **environment):
        process = self.start(command, environment)
        out, memory = self.finish(process)
        if process.returncode != 0:
            self.fail(command)
        return out, memory

    def peer(self, *arguments):
        out, memory = self.run([self.o.peers, HERE / "peer.py", *arguments, "--seconds", self.o.seconds,
                                "--threads", self.o.threads])
        return json.loads(out.splitlines()[-1])["rates"], memory

    def casdm(self, *arguments):
        return self.run([self.o.casdm, *arguments])

    def train(self, size, head, *settings):
        """The rates of the intervals of a training that is stopped when its time is up."""
        config = experiment(size, head, self.folder)
        command = [self.o.casdm, "train", config, "--overwrite"]
        for setting in (f"run.threads={self.o.threads}", *settings):
            command += ["--set", setting]
        process = self.start(command)
        log = self.folder / "runs" / f"{size}-{head}" / "metrics.jsonl"
        warm, end, lines = None, None, []
        while process.poll() is None and (end is None or time.monotonic() < end or len(lines) < warm + 4):
            time.sleep(0.1)
            lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
            if end is None and len(lines) >= 2:
                warm, end = len(lines), time.monotonic() + self.o.seconds
        process.send_signal(signal.SIGTERM)
        _, memory = self.finish(process)
        if end is None:
            self.fail(command)
        points = [json.loads(line) for line in lines[warm - 1:]]
        points = [(p["images"], p["seconds"]) for p in points if "seconds" in p]
        rates = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in zip(points, points[1:])]
        return rates, memory

    @functools.cache
    def trained(self, size, head):
        """A run of one step, to get its networks."""
        config = experiment(size, head, self.folder)
        batch = SIZES[size][5]
        self.casdm("train", config, "--overwrite", "--set", f"train.total_images={batch}", "--set",
                   f"log.every_images={batch}", "--set", f"run.name=first-{size}-{head}")
        return self.folder / "runs" / f"first-{size}-{head}"

    @functools.cache
    def exported(self, size, head):
        run, to = self.trained(size, head), self.folder / f"{size}-{head}"
        for module in ["theta"] if head == "ddpm" else ["theta", "phi"]:
            self.casdm("export", run, "--module", module, "--out", to / module, "--layout", "diffusers", "--overwrite")
        return to

    @functools.cache
    def random_weights(self):
        """Weights of LPIPS and DISTS whose trunk is random, which costs as much time as the trained one."""
        folder = self.folder / "weights"
        folder.mkdir()
        self.run([self.o.peers, HERE / "peer.py", "make", "vgg16", "--to", folder / "vgg16.pth"])
        converter = HERE.parents[1] / "tools" / "convert_weights.py"
        trunk = ["--trunk", folder / "vgg16.pth", "--download", "--out", folder]
        self.run([self.o.peers, converter, "lpips", "--net", "vgg16", *trunk])
        self.run([self.o.peers, converter, "dists", *trunk])
        return folder

    @functools.cache
    def images(self, name):
        """A data set of smooth images with some noise, about as hard to decode as photographs."""
        folder = self.folder / name.split(",")[0]
        self.run([self.o.peers, HERE / "peer.py", "make", name, "--to", folder])
        return folder

    def first_step(self):
        """Milliseconds from the command until the log holds the first step."""
        config = HERE.parents[1] / "configs" / "quickstart.toml"
        log = self.folder / "first-step" / "metrics.jsonl"
        times = []
        if self.prefix:  # else this process would get the processor only when a step does not need both
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
        for _ in range(3):
            shutil.rmtree(log.parent, ignore_errors=True)
            start = time.perf_counter()
            process = self.start([self.o.casdm, "train", config, "--set", f"run.directory={self.folder}", "--set",
                                  "run.name=first-step", "--set", "log.every_images=1"])
            while process.poll() is None and not (log.exists() and log.stat().st_size > 0):
                time.sleep(0.002)
            times.append(1000 * (time.perf_counter() - start))
            process.send_signal(signal.SIGTERM)
            _, memory = self.finish(process)
            if process.returncode not in (0, 128 + signal.SIGTERM):
                self.fail(["casdm", "train", config])
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return times, memory

    def parts(self):
        """Milliseconds of each repetition of parts_benchmark's cases, by part and contender."""
        out, _ = self.run([self.benchmark("parts_benchmark"), "--benchmark_format=json", "--benchmark_min_time=0.2",
                           f"--benchmark_repetitions={max(3, self.o.rounds)}",
                           "--benchmark_enable_random_interleaving=true"])
        times = {}
        for entry in json.loads(out)["benchmarks"]:
            if entry["run_type"] == "iteration":
                part, contender = entry["run_name"].removesuffix("/real_time").rsplit("/", 1)
                times.setdefault(part, {}).setdefault(contender, []).append(entry["real_time"])
        return times

    def sample(self, run, batches, *settings, steps=50, images=64):
        """Images per second of `batches` batches, as the difference of two runs, so that the time for starting cancels."""
        more = [word for setting in settings for word in ("--set", setting)]
        seconds = []
        for count in (images, (1 + batches) * images):
            start = time.monotonic()
            _, memory = self.casdm("sample", run, "--num", count, "--batch", images, "--steps", steps, "--no-png",
                                   "--out", self.folder / "samples", "--overwrite", *more)
            seconds.append(time.monotonic() - start)
        return [batches * images / (seconds[1] - seconds[0])], memory


def training_cases(r):
    for size, (pixels, channels, *_, batch, _interval) in SIZES.items():
        for head, words in HEADS.items():
            contenders = {"casdm": lambda s=size, h=head: r.train(s, h)}
            if size == "large":
                contenders["casdm, bf16"] = lambda s=size, h=head: r.train(s, h, "run.precision=bf16")
            for variant in PEER_VARIANTS:
                contenders[f"diffusers, {variant}"] = lambda s=size, h=head, v=variant, b=batch: r.peer(
                    "train", r.exported(s, h), "--head", h, "--variant", v, "--batch", b)
            if head == "ddpm" and r.o.guided_diffusion:
                contenders["guided-diffusion"] = lambda s=size, b=batch: r.peer(
                    "train", r.exported(s, "ddpm"), "--guided-diffusion", r.o.guided_diffusion, "--batch", b)
            yield f"training, {words}, {pixels} px, {channels} channels, batch {batch}", "images/s", contenders


def sampling_cases(r):
    for size, batches in (("small", 6), ("middle", 1)):
        contenders = {"casdm": lambda s=size, b=batches: r.sample(r.trained(s, "ddpm"), b)}
        for variant in PEER_VARIANTS:
            contenders[f"diffusers, {variant}"] = lambda s=size, v=variant: r.peer(
                "sample", r.exported(s, "ddpm"), "--variant", v)
        pixels, channels, *_ = SIZES[size]
        yield f"DDIM, 50 steps, 64 images, {pixels} px, {channels} channels", "images/s", contenders


def metric_cases(r):
    program = r.benchmark("metric_benchmark")
    for name, size, peer in (("lpips", 64, "lpips"), ("st_lpips", 32, "stlpips-pytorch"),
                             ("st_lpips", 64, "stlpips-pytorch"), ("dists", 64, "piq"), ("ssim", 64, "piq")):
        def ours(n=name, s=size):
            environment = {"CASDM_WEIGHTS_PATH": str(r.random_weights())} if n in ("lpips", "dists") else {}
            out, memory = r.run([program, n, s, 16, r.o.seconds, r.o.threads], **environment)
            return json.loads(out.splitlines()[-1])["rates"], memory
        yield f"{name}, forward and backward, {size} px, batch 16", "images/s", {
            "casdm": ours, peer: lambda n=name, s=size: r.peer("metric", n, "--size", s)}


def loading_cases(r):
    program = r.benchmark("loading_benchmark")
    for name, (dataset, size) in LOADING.items():
        def ours(d=dataset, n=name, s=size):
            out, memory = r.run([program, d, r.images(n), s, 64, r.o.seconds, r.o.threads])
            return json.loads(out.splitlines()[-1])["rates"], memory
        yield f"loading {name}", "images/s", {
            "casdm": ours,
            "torchvision": lambda d=dataset, n=name, s=size: r.peer("load", r.images(n), "--size", s, "--batch", 64,
                                                                    "--dataset", d)}


def gain_cases(r):
    """What changes of casdm that can be turned off have gained."""
    without = "casdm without it"
    direct = "head.theta.convolution=direct"
    for size, (pixels, channels, *_, batch, _interval) in SIZES.items():
        yield f"Winograd's convolutions, training, DDPM, {pixels} px, {channels} channels, batch {batch}", "images/s", {
            "casdm": lambda s=size: r.train(s, "ddpm"), without: lambda s=size: r.train(s, "ddpm", direct)}
    pixels, channels, *_ = SIZES["small"]
    yield f"Winograd's convolutions, DDIM, 50 steps, {pixels} px, {channels} channels", "images/s", {
        "casdm": lambda: r.sample(r.trained("small", "ddpm"), 6),
        without: lambda: r.sample(r.trained("small", "ddpm"), 6, direct)}


def start_cases(r):
    """Milliseconds of whole processes; no peer starts a program like this one."""
    config = experiment("small", "casdm", r.folder)
    for words, arguments in (("casdm --help", ["--help"]), ("casdm plugins list", ["plugins", "list"]),
                             ("casdm config check", ["config", "check", config])):
        def ours(a=arguments):
            times = []
            for _ in range(10):
                start = time.perf_counter()
                _, memory = r.casdm(*a)
                times.append(1000 * (time.perf_counter() - start))
            return times, memory
        yield words, "ms", {"casdm": ours}
    yield "first step of configs/quickstart.toml", "ms", {"casdm": r.first_step}


CASES = {"start": start_cases, "metrics": metric_cases, "loading": loading_cases, "sampling": sampling_cases,
         "training": training_cases, "gains": gain_cases}
PARTS = "parts"


def measured(name, unit, contenders, rounds):
    rates, memory = {c: [] for c in contenders}, {}
    failed = {}
    for turn in range(rounds):
        for contender, measure in contenders.items():
            if contender in failed:
                continue
            try:
                values, peak = measure()
            except (RuntimeError, subprocess.SubprocessError, OSError) as problem:
                failed[contender] = str(problem).splitlines()[-1]
                print(f"  {contender}: FAILED: {problem}", file=sys.stderr)
                continue
            rates[contender].append(statistics.median(values))
            memory[contender] = max(peak, memory.get(contender, 0))
            print(f"  {turn + 1}/{rounds} {contender}: {rates[contender][-1]:.4g} {unit}, {peak:.0f} MiB", flush=True)
    rows = {c: {"rates": v, "median": statistics.median(v), "peak_mib": memory[c]} for c, v in rates.items() if v}
    result = {"case": name, "unit": unit, "contenders": rows, "failed": failed}
    peers = [c for c in rows if not c.startswith("casdm")] or [c for c in rows if c.startswith("casdm without")]
    if peers and "casdm" in rows:
        best = max(peers, key=lambda c: rows[c]["median"])
        ours = max((c for c in rows if c.startswith("casdm") and c != best), key=lambda c: rows[c]["median"])
        ratios = [a / b for a, b in zip(rows[ours]["rates"], rows[best]["rates"])]
        result.update(best=best, ours=ours, ratio=statistics.median(ratios), ratio_range=[min(ratios), max(ratios)],
                      memory_ratio=rows[ours]["peak_mib"] / rows[best]["peak_mib"])
    return result


def machine(o):
    """What all rates depend on: the speed of matrix products and the memory bandwidth, in this run."""
    code = """
import json, time, torch
torch.set_num_threads(THREADS)
def best(f, n=5):
    f(); times = []
    for _ in range(n):
        start = time.perf_counter(); f(); times.append(time.perf_counter() - start)
    return min(times)
a = torch.rand(2048, 2048); b = a.bfloat16(); big = torch.rand(2**26); to = torch.empty_like(big)
print(json.dumps({"sgemm_gflops": 2 * 2048**3 / best(lambda: a @ a) / 1e9,
                  "bf16_gemm_gflops": 2 * 2048**3 / best(lambda: b @ b) / 1e9,
                  "copy_gb_per_s": 2 * big.nbytes / best(lambda: to.copy_(big)) / 1e9, "torch": torch.__version__}))
"""
    out = subprocess.run(real_time() + [o.peers, "-c", code.replace("THREADS", str(o.threads))], capture_output=True,
                         text=True, check=True).stdout
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[1].splitlines()[0].split()
    return {**json.loads(out), "processor": names[0], "cores": len(names), "python": platform.python_version(),
            "instructions": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
            "real_time": bool(real_time()), "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--casdm", required=True)
    parser.add_argument("--peers", required=True, help="a Python that has benchmarks/requirements.txt")
    parser.add_argument("--out", required=True)
    parser.add_argument("--cases", default=",".join([PARTS, *CASES]))
    parser.add_argument("--only", default="", help="only cases whose name contains one of these, which | separates")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--guided-diffusion", help="a checkout: it takes part in DDPM's training")
    parser.add_argument("--continue", dest="continued", action="store_true", help="keep what results.json holds")
    o = parser.parse_args()
    unknown = set(o.cases.split(",")) - set(CASES) - {PARTS}
    if unknown:
        parser.error(f"no cases named {', '.join(sorted(unknown))}; there are {', '.join([PARTS, *CASES])}")
    o.casdm = os.path.abspath(o.casdm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    runner = Runner(o)
    path = Path(o.out) / "results.json"
    settings = {"threads": o.threads, "rounds": o.rounds, "seconds": o.seconds,
                "casdm": runner.casdm("--version")[0].strip()}
    results = {"date": time.strftime("%Y-%m-%d"), **settings, "machine": machine(o), "results": []}
    if o.continued and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key, value in settings.items() if before[key] != value]
        if changed or before["machine"]["processor"] != results["machine"]["processor"]:
            parser.error(f"{path} is of another run: {', '.join(changed) or 'processor'}")
        results = before
    measured_before = {result["case"] for result in results["results"]}

    def keep():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    try:
        for part in o.cases.split(","):
            if part == PARTS:
                if PARTS not in results and not o.only:
                    results[PARTS] = runner.parts()
                    keep()
                continue
            for name, unit, contenders in CASES[part](runner):
                if name in measured_before or not any(part in name for part in o.only.split("|")):
                    continue
                print(name, flush=True)
                results["results"].append(measured(name, unit, contenders, o.rounds))
                keep()
    finally:
        shutil.rmtree(runner.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
