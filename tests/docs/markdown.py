"""The parts of Markdown that the checks of the documentation need."""

import re
from pathlib import Path

SKIPPED_FOLDERS = {"build", "runs", "samples", "templates"}


def pages(root):
    """All Markdown files of the source tree, except in build folders and in the templates of new plugins."""
    found = []
    for path in sorted(root.rglob("*.md")):
        folders = path.relative_to(root).parts[:-1]
        if not any(folder in SKIPPED_FOLDERS or folder.startswith(".") for folder in folders):
            found.append(path)
    return found


def split(text):
    """Prose and code blocks: (text without blocks, [block, ...]). Blocks are fenced, or indented by four spaces after
    an empty line; in the prose they are empty lines, so that line numbers stay the same."""
    prose, blocks, block = [], [], None
    fence, before_is_empty = None, True
    for line in text.splitlines():
        if fence is not None:
            if line.strip() == fence:
                fence = None
            else:
                blocks[-1].append(line)
            prose.append("")
            continue
        opening = re.match(r"\s*(```+|~~~+)", line)
        if opening:
            fence = opening.group(1)
            blocks.append([])
            prose.append("")
            block = None
        elif line.startswith("    ") and (before_is_empty or block is not None):
            if block is None:
                block = []
                blocks.append(block)
            block.append(line[4:])
            prose.append("")
        elif not line.strip() and block is not None:
            block.append("")
            prose.append("")
        else:
            block = None
            prose.append(line)
        before_is_empty = not line.strip()
    return "\n".join(prose), ["\n".join(block).strip("\n") for block in blocks]


def code_spans(prose):
    """The inline code of a text, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def links(prose):
    """The targets of all links and images."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose))


def anchors(text):
    """The anchors that GitHub gives the headings of a page."""
    found, seen = set(), {}
    for line in split(text)[0].splitlines():
        heading = re.match(r"#+\s+(.*?)\s*$", line)
        if not heading:
            continue
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(slug if count == 0 else f"{slug}-{count}")
    return found


def table_cells(line):
    """The cells of a table's row. A bar inside inline code is written \\|."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def tables(prose):
    """(heading above the table, header cells, rows of cells) for each table on a page."""
    found, heading, lines = [], "", prose.splitlines()
    i = 0
    while i < len(lines):
        title = re.match(r"#+\s+(.*?)\s*$", lines[i])
        if title:
            heading = title.group(1)
        is_header = lines[i].startswith("|") and i + 1 < len(lines) and re.fullmatch(r"[|\s:-]+", lines[i + 1] or "x")
        if not is_header:
            i += 1
            continue
        header, rows = table_cells(lines[i]), []
        i += 2
        while i < len(lines) and lines[i].startswith("|"):
            rows.append(table_cells(lines[i]))
            i += 1
        found.append((heading, header, rows))
    return found


def read(path):
    return Path(path).read_text(encoding="utf-8")
