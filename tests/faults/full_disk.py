"""A small disk that fills up at every point of a command; then there is room again. Needs root, for the mount."""

import ctypes
import os
import subprocess

from bench import Loss, check_end
from program import control_characters

CLONE_NEWNS = 0x20000

TRAININGS = ("train", "behind", "resume")


def run(bench, is_long):
    bench.program.close()  # a process that is already running would not see the mount
    disk = bench.scratch / "trial"
    disk.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS) != 0 or not mounted(disk):
        print("full_disk: SKIPPED, it needs root and the right to mount a tmpfs")
        return
    try:
        each(bench, disk, is_long)
    finally:
        bench.program.close()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def each(bench, disk, is_long):
    points = []
    for name in ["train", "behind", "resume", "sample", "export", "diffusers", "ema", "pack", "new", "judged", "evaluate", "write", "report", "sweep"]:
        start = used(bench.template(bench.case(name).start))
        end = max(used(bench.whole(name)[0]), start) + 64
        count = (60 if name in TRAININGS else 20) if is_long else (5 if name in TRAININGS else 2)
        points += [(name, start + (end - start) * step // count) for step in range(1, count)]
    bench.each("full_disk", range(len(points)), lambda trial: fill(bench, trial, disk, *points[trial.number]))


def mounted(disk):
    """Mounts a tmpfs that only this process and its children see."""
    private = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)
    own = subprocess.run(["mount", "-t", "tmpfs", "casdm-faults", str(disk)], capture_output=True, check=False)
    return private.returncode == 0 and own.returncode == 0


def used(folder):
    """KiB of a folder on a disk of 4 KiB pages."""
    return sum(4 * -(-path.lstat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def resize(disk, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def fill(bench, trial, disk, name, size):
    case = bench.case(name)
    resize(disk, "1g")
    bench.begin(trial, case)
    resize(disk, f"{size}k")
    trial.note(f"on a disk of {size} KiB")
    outcome = bench.program.run(case.arguments, trial.folder)
    trial.note(f"status {outcome.status}: {outcome.last_words}")
    check_end(outcome, {0, 1}, f"{name} on a full disk")
    if outcome.status == 1 and "space" not in outcome.err and "disk" not in outcome.err:
        raise Loss(f"{name} does not say that the disk is full", outcome.last_words)
    if control_characters(outcome.err):
        raise Loss("control characters on stderr", repr(outcome.err))
    resize(disk, "1g")
    if outcome.status == 0 and not bench.difference(case, trial.folder):
        return "fitted"
    return bench.recover(trial, case)
