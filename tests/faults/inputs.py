"""Damaged and hostile input: one message, exit status 0, 1 or 2, bounded time and memory, nothing half-written."""

import os
import struct

import flips
import media
from bench import EXPERIMENT, ROOT, SWEEP, Loss, check_end
from program import control_characters, copy

SECONDS = 5  # of processor time; a valid file needs less than 1
MEMORY = 600  # MiB; LibTorch alone takes 150
STDERR = 20000  # bytes
INTERCHANGE = ROOT / "tests/interchange/files"
EVALUATION = ROOT / "tests/evaluation/files"

TOKENS = ["[", "]", "{", "}", '"', "'", "=", ".", ",", "#", "\n", "\0", "\x1b[31m", "\x9b", "1e999", "-1", "nan", "inf",
          "0", "99999999999999999999", "true", "[[metrics]]", "include = [\"x.toml\"]", "type = \"", "\u202e", "\xff",
          "a" * 5000, "[" * 300, "../../etc/passwd", "%s%n", "run.name"]


def mutated_text(source, text):
    """A text with one to four pieces deleted, doubled, moved, or replaced by a meaningful token."""
    for _ in range(source.randint(1, 4)):
        start = source.randrange(len(text) + 1)
        end = min(len(text), start + source.choice([1, 1, 3, 20]))
        piece = source.choice(["", text[start:end] * 2, source.choice(TOKENS), source.choice(text.splitlines() or [""])])
        text = text[:start] + piece + text[end:]
    return text


def mutated_bytes(source, content):
    content = bytearray(content)
    for _ in range(source.randint(1, 8)):
        position = source.randrange(min(len(content), source.choice([64, 512, len(content)])))
        content[position:position + source.choice([1, 1, 1, 4])] = source.choice(
            [source.randbytes(1), source.randbytes(4), b"\xff" * 8, b"\0" * 8, b"", b"\x7f\xff\xff\xff"])
    return bytes(content[:source.randrange(len(content)) + 1] if source.random() < 0.2 else content)


def config(bench, trial):
    (trial.folder / "x.toml").write_bytes(
        mutated_text(trial.random, EXPERIMENT).encode(errors="surrogateescape"))
    return ["config", "check", "x.toml"]


def override(bench, trial):
    text = trial.random.choice(["train.batch_size=8", 'metrics=[{type="l1"}]', "head.phi.channels=16", "betas[1]=0.9",
                                'data={type="folder",path="x"}', "ema.also[0].name=\"a\"", "run.name=x"])
    return ["config", "check", "tiny.toml", "--set", mutated_text(trial.random, text).replace("\0", "0")]


def weights(bench, trial):
    name = trial.random.choice(["zip.pt", "legacy.pt", "nested.pt", "x.safetensors"])
    source = flips.prepared(bench, "weights") / "theta.safetensors" if name == "x.safetensors" else INTERCHANGE / name
    (trial.folder / name).write_bytes(mutated_bytes(trial.random, source.read_bytes()))
    return ["import", name, "--out", "out/i.safetensors"]


def judged_file(bench, trial):
    """A file of a reference, or a record of an evaluation."""
    folder = flips.prepared(bench, "evaluated")
    name = trial.random.choice(["r.safetensors", "r.npz", "s.pkl"])
    source = {"r.npz": EVALUATION / "adm.npz", "s.pkl": EVALUATION / "numpy2_protocol4.pkl"}.get(name, folder / name)
    (trial.folder / name).write_bytes(mutated_bytes(trial.random, source.read_bytes()))
    return ["evaluate", "tiny.toml", "--config", "judges.toml", "--num", "4", "--reference", name]


def sweep(bench, trial):
    (trial.folder / "sweep.toml").write_bytes(mutated_text(trial.random, SWEEP).encode(errors="surrogateescape"))
    return ["sweep", "sweep.toml", "--dry-run", "--no-pilot"]


def data_of(kind, path):
    return ["train", "tiny.toml", "--set", f'data={{type="{kind}",path="{path}",image_size=16,workers=1}}', "--set",
            "train.total_images=4", "--set", "log.sample_count=0", "--set", "log.sample_every_images=0"]


def image(bench, trial):
    folder = trial.folder / "pictures"
    folder.mkdir()
    is_jpeg = trial.random.random() < 0.5
    content = media.JPEG if is_jpeg else media.png(1)
    (folder / ("a.jpg" if is_jpeg else "a.png")).write_bytes(mutated_bytes(trial.random, content))
    (folder / "b.png").write_bytes(media.png(2))
    skip = ["--set", f"data.skip_unreadable={trial.random.choice(['true', 'false'])}"]
    return data_of("folder", "pictures") + skip


def archive(bench, trial):
    if trial.random.random() < 0.5:
        (trial.folder / "x.zip").write_bytes(mutated_bytes(trial.random, media.zip_of(media.images(3))))
        return data_of("zip", "x.zip")
    (trial.folder / "x.tar.gz").write_bytes(mutated_bytes(trial.random, media.cifar10()))
    return data_of("cifar10", "x.tar.gz")


KINDS = [config, config, config, override, override, weights, weights, image, image, archive, judged_file, sweep]


# Files with a purpose: the file's name, its content, the command. A new one needs only one line.
def safetensors(header):
    return struct.pack("<Q", len(header)) + header


def many_keys(count):
    entries = ",".join(f'"k{number}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for number in range(count))
    return safetensors(("{" + entries + "}").encode())


BOMBS = {
    "deep tables": ("x.toml", ("a = " + "[" * 100000).encode(), ["config", "check", "x.toml"]),
    "deep inline tables": ("x.toml", ("a = " + "{a=" * 60000).encode(), ["config", "check", "x.toml"]),
    "long dotted key": ("x.toml", (".".join(["a"] * 100000) + " = 1\n").encode(), ["config", "check", "x.toml"]),
    "many unknown keys": ("x.toml", "".join(f"k{n} = 1\n" for n in range(20000)).encode(), ["config", "check", "x.toml"]),
    "long key": ("x.toml", b"a" * 100000 + b" = 1\n", ["config", "check", "x.toml"]),
    "includes itself": ("x.toml", b'include = ["x.toml"]\n', ["config", "check", "x.toml"]),
    "includes a device": ("x.toml", b'include = ["/dev/zero"]\n', ["config", "check", "x.toml"]),
    "long path": ("x.toml", (EXPERIMENT + f'[plugins]\npaths = ["{"a" * 5000}"]\n').encode(), ["config", "check", "x.toml"]),
    "terminal codes in a key": ("x.toml", '"\\u001b[31mred\\u0007" = 1\n'.encode(), ["config", "check", "x.toml"]),
    "terminal codes in a name": ("x.toml", EXPERIMENT.replace('"l1"', '"\\u001b]0;x\\u0007"').encode(),
                                 ["config", "check", "x.toml"]),
    "many tensors": ("x.safetensors", many_keys(60000), ["import", "x.safetensors", "--out", "out/i.safetensors"]),
    "long header": ("x.safetensors", struct.pack("<Q", 1 << 62) + b"{}", ["import", "x.safetensors", "--out", "out/i"]),
    "deep header": ("x.safetensors", safetensors(b"[" * 100000), ["import", "x.safetensors", "--out", "out/i"]),
    "large metadata": ("x.safetensors", safetensors(b'{"__metadata__":{' + ",".join(
        f'"m{n}":"{n}"' for n in range(100000)).encode() + b"}}"), ["import", "x.safetensors", "--out", "out/i"]),
    "terminal codes in a tensor's name": (
        "x.safetensors", safetensors(b'{"\\u001b[31m":{"dtype":"X","shape":[0],"data_offsets":[0,0]}}'),
        ["import", "x.safetensors", "--out", "out/i"]),
    "thin picture": ("pictures/a.png", media.png(1, 1, 100000), data_of("folder", "pictures")),
    "wide picture": ("pictures/a.png", media.png(1, 100000, 1), data_of("folder", "pictures")),
}


def includes(trial):
    """Each file includes the next one twice."""
    for number in range(40):
        (trial.folder / f"{number}.toml").write_text(f'include = ["{number + 1}.toml", "./{number + 1}.toml"]\n')
    (trial.folder / "40.toml").write_text("")
    return ["config", "check", "0.toml"]


def fifo(trial):
    os.mkfifo(trial.folder / "x.toml")
    return ["config", "check", "x.toml"]


MADE = {"doubling includes": includes, "a pipe without a writer": fifo}


def run(bench, is_long):
    bench.each("hostile", range(len(BOMBS) + len(MADE)), lambda trial: hostile(bench, trial))
    bench.each("damaged", range(2000 if is_long else 50),
               lambda trial: damaged(bench, trial, KINDS[trial.number % len(KINDS)]))


def begin(bench, trial):
    copy(bench.template("experiment"), trial.folder)
    (trial.folder / "out").mkdir()


def hostile(bench, trial):
    begin(bench, trial)
    name = [*BOMBS, *MADE][trial.number]
    if name in MADE:
        arguments = MADE[name](trial)
    else:
        file, content, arguments = BOMBS[name]
        (trial.folder / file).parent.mkdir(exist_ok=True)
        (trial.folder / file).write_bytes(content)
    return judged(bench, trial, arguments, name)


def damaged(bench, trial, kind):
    begin(bench, trial)
    return judged(bench, trial, kind(bench, trial), f"a damaged {kind.__name__}")


def judged(bench, trial, arguments, what):
    outcome = bench.program.run(arguments, trial.folder)
    trial.note(f"casdm {' '.join(arguments)[:300]}: status {outcome.status}, {outcome.processor:.1f} s, "
               f"{outcome.memory:.0f} MiB: {outcome.last_words}")
    check_end(outcome, {0, 1, 2}, what)
    if outcome.processor > SECONDS:
        raise Loss(f"{what} takes {SECONDS} s or more")
    if outcome.memory > MEMORY:
        raise Loss(f"{what} takes {MEMORY} MiB or more")
    if control_characters(outcome.err):
        raise Loss(f"{what} puts control characters on stderr", repr(outcome.last_words))
    if len(outcome.err) > STDERR:
        raise Loss(f"{what} makes {STDERR} bytes of messages or more")
    if outcome.status != 0 and not outcome.err.strip():
        raise Loss(f"{what} is refused without a word")
    if outcome.status != 0 and any((trial.folder / "out").iterdir()):
        raise Loss(f"{what} is refused, but leaves a file", ", ".join(os.listdir(trial.folder / "out")))
    return "taken" if outcome.status == 0 else "refused"
