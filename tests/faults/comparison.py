"""Whether two folders hold the same, as far as a user can tell."""

import csv
import hashlib
import json
import re

# Determined by a clock, not by the experiment: keys, or columns and entries with these names. The log holds times, too.
VARYING_KEYS = {"images_per_second", "seconds", "time", "wall_time", "started", "hostname", "pid", "log_mark"}
UNCOMPARED = {".lock"}
# The output of processes, in which a stop is visible.
UNCOMPARED_ENDINGS = {".log"}
# The checksum of a file with such keys.
UNCOMPARED_CONTENT = {"state.json.sha256"}


def listing(folder):
    """Paths below the folder, folders with a / at the end."""
    return sorted(str(path.relative_to(folder)) + ("/" if path.is_dir() else "")
                  for path in folder.rglob("*") if path.name not in UNCOMPARED and path.suffix not in UNCOMPARED_ENDINGS)


def without_clock(value):
    if isinstance(value, dict):
        return {key: without_clock(member) for key, member in value.items() if key not in VARYING_KEYS}
    if isinstance(value, list):
        return [without_clock(member) for member in value
                if not (isinstance(member, dict) and member.get("name") in VARYING_KEYS)]
    return value


def log_lines(path):
    """The records of a metrics.jsonl without times, and without the marks of a resume."""
    lines = [without_clock(json.loads(line)) for line in path.read_text().splitlines()]
    return [line for line in lines if "evaluation" in line or any(key.startswith("loss") for key in line)]


def rows(path):
    """Of a table, without the columns of times."""
    lines = list(csv.reader(path.read_text().splitlines()))
    return [[cell for name, cell in zip(lines[0], line) if name not in VARYING_KEYS] for line in lines]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content(path):
    if path.name == "metrics.jsonl":
        return json.dumps(log_lines(path))
    if path.suffix in {".sha256", ".html"}:  # of what may contain times: it must be correct, not equal
        return ""
    if path.name == ".results.json":  # likewise, for the tables beside it
        return sorted(json.loads(path.read_text()))
    if path.suffix == ".csv":
        return json.dumps(rows(path))
    if path.suffix == ".json":
        return json.dumps(without_clock(json.loads(path.read_text())), sort_keys=True)
    return path.read_bytes()


def tensors_in(path):
    """What a safetensors file holds, without its metadata."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    return header, data[end:]


def wrong_checksum(path):
    """Of which file `path` holds a checksum that is wrong; empty: it holds none, or right ones."""
    if path.suffix == ".sha256":
        file = path.with_suffix("")
        return "" if path.read_text().split()[:1] == [sha256(file)] else file.name
    if path.name == ".results.json":
        sums = json.loads(path.read_text())
        return ", ".join(name for name, digest in sums.items() if name != "runs" and sha256(path.parent / name) != digest)
    if path.suffix == ".html":
        page, _, digest = path.read_text().rpartition("<!-- sha256 of all before this: ")
        return "" if digest == hashlib.sha256(page.encode()).hexdigest() + " -->\n" else path.name
    return ""


def first_line_that_differs(a, b):
    a_lines = re.split(r"\n|(?<=}), ", a if isinstance(a, str) else a.decode(errors="replace"))
    b_lines = re.split(r"\n|(?<=}), ", b if isinstance(b, str) else b.decode(errors="replace"))
    if len(a_lines) != len(b_lines):
        return f"{len(b_lines)} lines for {len(a_lines)}"
    for index, (left, right) in enumerate(zip(a_lines, b_lines)):
        if left != right:
            return f"line {index + 1}: {right[:300]!r} for {left[:300]!r}"
    return "nothing"


def difference(expected, actual, ignored=()):
    """How another folder differs from `expected`, in words; empty: not at all."""
    skipped = {str(path) for path in ignored}
    wanted = [path for path in listing(expected) if path not in skipped]
    found = [path for path in listing(actual) if path not in skipped]
    missing = [path for path in wanted if path not in found]
    extra = [path for path in found if path not in wanted]
    if missing or extra:
        return "; ".join(f"{what} {', '.join(paths[:6])}" for what, paths in (("missing", missing), ("left over", extra))
                         if paths)
    for path in wanted:
        if path.endswith("/") or path.rsplit("/", 1)[-1] in UNCOMPARED_CONTENT:
            continue
        if (expected / path).read_bytes() == (actual / path).read_bytes():
            continue
        try:
            for folder in (expected, actual):
                if wrong := wrong_checksum(folder / path):
                    return f"{folder / path} has a wrong checksum of {wrong}"
            left, right = content(expected / path), content(actual / path)
        except ValueError as error:
            return f"{path} cannot be read: {error}"
        if left != right:
            is_text = (expected / path).suffix in {".json", ".jsonl", ".toml", ".txt"}
            how = first_line_that_differs(left, right) if is_text and isinstance(left, (str, bytes)) else ""
            return f"{path} differs" + (f", {how}" if how else "")
    return ""
