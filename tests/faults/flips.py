"""One bit flipped, or the end cut off, in any file that a command reads: it is refused by name, or changes nothing."""

import functools
import pathlib
from dataclasses import dataclass

import media
from bench import REFERENCE, RUN, Loss, check_end
from comparison import difference
from program import copy


@dataclass
class Use:
    """A command that reads files; `files`, a pattern, are those to damage in the folder of a template."""

    name: str
    template: str
    files: str
    arguments: list
    weight: int = 1
    goes_on: bool = False  # works without a file that it names, if it reads several


LONGER = ["train", "--resume", RUN, "--set", "train.total_images=40"]
EVALUATE = ["evaluate", RUN, "--config", "judges.toml"]
SAMPLE = ["sample", RUN, "--num", "2", "--out", "o"]

# A new reader of files needs only one line.
USES = [
    Use("resume", "run", f"{RUN}/checkpoints/000000000032/*", LONGER, 4),
    Use("resume of any file", "run", f"{RUN}/**/*", LONGER, 2),
    Use("sample", "run", f"{RUN}/checkpoints/000000000032/*", SAMPLE, 3),
    Use("sample of any file", "run", f"{RUN}/**/*", SAMPLE),
    Use("sample --weights", "weights", "p08.safetensors", [*SAMPLE, "--weights", "p08.safetensors"]),
    Use("ema", "run", f"{RUN}/ema/*", ["ema", RUN, "--sigma-rel", "0.08", "--out", "p.safetensors"], 3),
    Use("evaluate", "run", f"{RUN}/checkpoints/000000000032/*", EVALUATE, 2),
    Use("evaluate again", "evaluated", f"{RUN}/evaluation/*.json", EVALUATE, 2),
    Use("evaluate from the cache", "evaluated", "cache/casdm/references/*", [*EVALUATE, "--overwrite"], 2),
    Use("evaluate against states", "evaluated", "r.safetensors", [*EVALUATE, "--reference", "r.safetensors"], 2),
    Use("compare", "evaluated", f"{RUN}/evaluation/*.json", ["compare", RUN, "--out", "c"], 2, goes_on=True),
    Use("sweep", "swept", "runs/s/**/*.json", ["sweep", "sweep.toml", "--no-pilot"], goes_on=True),
    Use("export", "run", f"{RUN}/checkpoints/000000000032/*", ["export", RUN, "--module", "phi", "--out", "p"], 2),
    Use("import .pt", "weights", "zip.pt", ["import", "zip.pt", "--out", "i.safetensors"], 2),
    Use("import", "weights", "theta.safetensors", ["import", "theta.safetensors", "--out", "i.safetensors"]),
    Use("init", "weights", "theta.safetensors", ["train", "init.toml"]),
    Use("pictures", "pictures", "pictures/*", ["train", "--resume", RUN, "--set", "train.total_images=16"]),
    Use("zip", "zip", "pictures.zip", ["train", "--resume", RUN, "--set", "train.total_images=16"], 2),
]

PICTURES = {"pictures": {f"pictures/{name}": content for name, content in media.images().items()},
            "zip": {"pictures.zip": media.zip_of(media.images())}}


def run(bench, is_long):
    uses = [use for use in USES for _ in range(use.weight)]
    bench.each("flips", range(2400 if is_long else 80), lambda trial: flip(bench, trial, uses[trial.number % len(uses)]))


@functools.cache
def prepared(bench, name):
    """The folder of a template, created once."""
    if name == "run":
        return bench.template("run")
    folder = bench.templates / f"flips-{name}"
    if name == "weights":
        bench.made(folder, bench.template("run"),
                   (["ema", RUN, "--sigma-rel", "0.08", "--out", "p08.safetensors"], "", {0}),
                   (["export", RUN, "--module", "theta", "--out", "theta.safetensors"], "", {0}))
        (folder / "init.toml").write_text(
            'include = ["tiny.toml"]\ninit = [{module = "theta", from = "theta.safetensors"}]\n'
            'run.name = "i"\ntrain.total_images = 8\n')
        return folder
    if name == "evaluated":
        bench.made(folder, bench.template("run"), (EVALUATE, "", {0}),
                   ([*REFERENCE, "--write-reference", "r.safetensors"], "", {0}))
        return folder
    if name == "swept":
        bench.made(folder, bench.template("experiment"), (bench.case("sweep").arguments, "", {0}))
        return folder
    start = bench.templates / f"{name}-alone"
    copy(bench.template("experiment"), start)
    for file, content in PICTURES[name].items():
        (start / file).parent.mkdir(exist_ok=True)
        (start / file).write_bytes(content)
    data = {"pictures": 'data={type="folder",path="pictures",image_size=16}',
            "zip": 'data={type="zip",path="pictures.zip",image_size=16}'}[name]
    bench.made(folder, start, (["train", "tiny.toml", "--set", data, "--set", "train.total_images=8"], "", {0}))
    return folder


@functools.cache
def unflipped(bench, use_name):
    """The folder after the use, without damage."""
    use = next(use for use in USES if use.name == use_name)
    folder = bench.scratch / "whole" / f"flips-{use.name.replace(' ', '-')}"
    bench.made(folder, prepared(bench, use.template), (use.arguments, "", {0}))
    return folder


def flip(bench, trial, use):
    expected = unflipped(bench, use.name)
    copy(prepared(bench, use.template), trial.folder)
    files = sorted(path for path in trial.folder.glob(use.files)
                   if path.is_file() and path.name != ".lock" and path.stat().st_size > 0)
    file = trial.random.choice(files)
    trial.note(f"{file.relative_to(trial.folder)}: {damage(trial, file)}")
    before = bench.scratch / "damaged"
    copy(trial.folder, before)
    try:
        outcome = bench.program.run(use.arguments, trial.folder)
        trial.note(f"casdm {' '.join(use.arguments)}: status {outcome.status}: {outcome.last_words}")
        return judged(use, trial, file, outcome, expected, before)
    finally:
        bench.remove(before)


def damage(trial, file):
    content = bytearray(file.read_bytes())
    if trial.random.random() < 0.2:
        size = trial.random.randrange(len(content))
        file.write_bytes(content[:size])
        return f"cut to {size} of {len(content)} bytes"
    # Half of the flips are in the first bytes, where the most important numbers are.
    position = trial.random.randrange(min(len(content), trial.random.choice([200, len(content)])))
    bit = trial.random.randrange(8)
    content[position] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {position} flipped"


def judged(use, trial, file, outcome, expected, before):
    check_end(outcome, {0, 1, 2}, f"{use.name} with a damaged {generic(file)}")
    if outcome.status == 0:
        found = difference(expected, trial.folder, [file.relative_to(trial.folder)])
        if found and use.goes_on and file.name in outcome.out + outcome.err:
            return "said"
        if found:
            raise Loss(f"{use.name} takes a damaged {generic(file)} in silence", found)
        return "without effect"
    if file.name not in outcome.err and file.parent.name not in outcome.err:
        raise Loss(f"{use.name} refuses a damaged {generic(file)} without its name", outcome.last_words)
    found = difference(before, trial.folder)
    if found and use.template not in PICTURES:  # a training that meets a damaged image saves its state
        raise Loss(f"{use.name} refuses a damaged {generic(file)}, but changes the folder", found)
    return "refused"


def generic(file: pathlib.Path):
    """The name of a file without its number."""
    return file.name if not file.name[0].isdigit() else f"{file.parent.name}/*{file.suffix}"
