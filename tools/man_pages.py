#!/usr/bin/env python3
"""Makes manual pages of casdm and its commands from their help texts.

usage: man_pages.py CASDM FOLDER

Writes casdm.1 and casdm-COMMAND.1 for every command into FOLDER, from what `CASDM --help` and `CASDM COMMAND --help` print.

  python3 tools/man_pages.py build/release/bin/casdm ~/.local/share/man/man1 && man casdm-evaluate
"""

import pathlib
import re
import subprocess
import sys

OPTION = re.compile(r"  (-\S.*?)(?:\s{2,}(.*))?$")


def output(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout


def roff(line):
    """A line of text, escaped so that nothing in it is a request."""
    line = line.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{line}" if line.startswith((".", "'")) else line


def as_it_stands(lines):
    return [".nf", *map(roff, lines), ".fi"]


def body(lines):
    """Paragraphs; indented text, such as examples and lists, keeps its line breaks."""
    result, block = [], []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            is_prose = not any(part.startswith(" ") for part in block)
            result += [".PP", *(map(roff, block) if is_prose else as_it_stands(block))]
            block = []
    return result


def options(lines):
    """A list of boost::program_options: "  -h [ --help ]   print this", with text that continues below."""
    result = []
    for line in lines:
        begins = OPTION.match(line)
        if begins:
            result += [".TP", r"\fB" + roff(begins.group(1)) + r"\fR"]
        words = begins.group(2) if begins else line.strip()
        if words:
            result.append(roff(words))
    return result


def page(name, sentence, version, help_text):
    lines = help_text.rstrip().split("\n")
    start = next((i for i, line in enumerate(lines) if line.startswith("usage:")), 0)
    end = next((i for i, line in enumerate(lines) if i > start and not line.strip()), len(lines))
    last = lines.index("options:") if "options:" in lines else len(lines)
    usage = [re.sub("^usage: *", "", lines[start]), *(line.strip() for line in lines[start + 1:end])]
    result = [f'.TH {name.upper()} 1 "" "{version}"', ".SH NAME", roff(f"{name} - {sentence}"), ".SH SYNOPSIS",
              *as_it_stands(usage), ".SH DESCRIPTION", *body(lines[end:last])]
    if last < len(lines):
        result += [".SH OPTIONS", *options(lines[last + 1:])]
    others = "casdm(1)" if name != "casdm" else "casdm\\-COMMAND(1), as casdm\\-train(1)"
    return "\n".join([*result, ".SH SEE ALSO", others, ""])


def commands(help_text):
    """Names and sentences: "  train CONFIG    train the experiment of ...", or with the sentence on the next line."""
    for first, sentence, below in re.findall(r"^  ([a-z]+)\b[^\n]*?(?:\s{2,}(\S[^\n]*))?\n(?: {10,}(\S[^\n]*)\n)?", help_text,
                                             re.MULTILINE):
        if first != "casdm":
            yield first, (sentence or below).split(";")[0]


def main():
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        return 0 if sys.argv[1:] == ["--help"] else 2
    casdm, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    version, whole = output(casdm, "--version").strip(), output(casdm, "--help")
    sentence = whole.split("\n")[0].partition(" - ")[2]
    (folder / "casdm.1").write_text(page("casdm", sentence, version, whole), encoding="utf-8")
    for name, about in commands(whole):
        text = page(f"casdm-{name}", about, version, output(casdm, name, "--help"))
        (folder / f"casdm-{name}.1").write_text(text, encoding="utf-8")
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
