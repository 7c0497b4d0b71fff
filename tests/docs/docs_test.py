"""The documentation against the tree and the program: links, commands, experiments, components, defaults, tests.

usage: docs_test.py CASDM
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

from markdown import anchors, code_spans, links, pages, read, split, tables

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ""
REQUIRED = object()


def casdm(*arguments):
    """Status and output of the command, which finds only the plugins beside it."""
    alone = {name: value for name, value in os.environ.items() if name != "CASDM_PLUGIN_PATH"}
    alone["XDG_DATA_HOME"] = "/nowhere"
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, env=alone)
    return done.returncode, done.stdout + done.stderr


def name_of(path):
    return str(path.relative_to(ROOT))


def kinds():
    """{kind: (class, header)} of the components that the SDK's headers declare."""
    pattern = r'^class (\w+)[^;{]*\{(?:(?!^\};).)*?static constexpr std::string_view kind = "(\w+)"'
    found = {}
    for header in (ROOT / "sdk" / "include" / "casdm").glob("*.h"):
        for name, kind in re.findall(pattern, read(header), re.MULTILINE | re.DOTALL):
            found[kind] = name, header.name
    assert found
    return found


def components():
    """{(kind, name): {option: default}} of the installed plugins; options of tables as `table.option`."""
    status, text = casdm("plugins", "list", "--json")
    assert status == 0, text
    found = {}
    for plugin in json.loads(text):
        status, text = casdm("plugins", "inspect", plugin["id"], "--json")
        assert status == 0, text
        for component in json.loads(text)["components"]:
            found[component["kind"], component["name"]] = dict(defaults(component["options"]))
    return found


def defaults(options, prefix=""):
    for option in options:
        name = prefix + option["name"]
        fields = option.get("fields", [])
        if not fields:
            yield name, REQUIRED if option.get("required") else option.get("default")
        yield from defaults(fields, name + ".")


def host_defaults(table):
    """{key: default} of the host's keys in `table` of an experiment."""
    status, text = casdm("config", "schema")
    assert status == 0, text
    schema = json.loads(text)
    found = schema["properties"].get(table, {"properties": {}})
    found = found.get("items", found)
    if "allOf" in found:
        found = schema["definitions"][found["allOf"][0]["$ref"].rpartition("/")[2]]["oneOf"][0]
    return {key: spec.get("default") for key, spec in found["properties"].items()}


def is_same(default, cell):
    """Whether a cell of a table states `default`: its JSON in backquotes, `required` or `none`."""
    if default is REQUIRED or default is None:
        return cell == ("required" if default is REQUIRED else "none")
    stated = re.fullmatch(r"`([^`]*)`", cell)
    try:
        return stated is not None and json.loads(stated.group(1)) == default
    except ValueError:
        return False


class Documentation(unittest.TestCase):
    def expect_none(self, problems):
        lines = sorted(set(problems))
        if lines:
            self.fail("\n" + "\n".join(lines))

    def test_every_link_leads_somewhere(self):
        problems = []
        for page in pages(ROOT):
            for link in links(split(read(page))[0]):
                if re.match(r"[a-z]+:", link):
                    continue
                file, _, anchor = link.partition("#")
                target = (page.parent / file).resolve() if file else page
                if not target.exists():
                    problems.append(f"{name_of(page)}: there is no {link}")
                elif anchor and anchor not in anchors(read(target)):
                    problems.append(f"{name_of(page)}: {file or 'the page'} has no heading #{anchor}")
        self.expect_none(problems)

    def test_no_page_has_a_section_twice(self):
        problems = []
        for page in pages(ROOT / "docs"):
            sections = re.findall(r"^## .*$", read(page), re.MULTILINE)
            problems += [f"{name_of(page)}: {section}" for section in set(sections) if sections.count(section) > 1]
        self.expect_none(problems)

    def test_every_page_is_reached_from_the_readme(self):
        reached, open_pages = set(), [ROOT / "README.md"]
        while open_pages:
            page = open_pages.pop()
            if page in reached:
                continue
            reached.add(page)
            targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(split(read(page))[0])]
            open_pages += [target for target in targets if target.suffix == ".md" and target.exists()]
        self.expect_none(f"no link leads to {name_of(page)}" for page in pages(ROOT / "docs") if page not in reached)

    def test_every_command_is_one_of_the_program(self):
        top, helps, problems = casdm("--help")[1], {}, []
        for page in pages(ROOT):
            prose, blocks = split(read(page))
            lines = [line for block in blocks for line in re.sub(r"\\\n", " ", block).splitlines()]
            for text in code_spans(prose) + lines:
                command = re.match(r"\s*(?:\$ )?(?:\S*/)?casdm ((?:[a-z|]+ ?)*)(.*)", text)
                if not command:
                    continue
                problem = self.problem_of(top, helps, command.group(1).split(), command.group(2).partition(" # ")[0])
                if problem:
                    problems.append(f"{name_of(page)}: {text.strip()}: {problem}")
        self.expect_none(problems)

    def problem_of(self, top, helps, words, rest):
        listed = re.search(rf"^  {words[0]}(?: ([a-z|]+))?\b", top, re.MULTILINE) if words else None
        if words and not listed:
            return f"the program has no command '{words[0]}'"
        chosen = words[:1]
        if listed and listed.group(1) and len(words) > 1:
            missing = [word for word in words[1].split("|") if word not in listed.group(1).split("|")]
            if missing:
                return f"'{words[0]}' has no '{missing[0]}'"
            chosen = words[:1] + words[1].split("|")[:1]
        key = tuple(chosen)
        if key not in helps:
            helps[key] = casdm(*chosen, "--help")[1]
        for option in re.findall(r"(?:^|\s)(--[a-z-]+)", rest):
            if not re.search(rf"{option}\b", helps[key] + top):
                return f"casdm {' '.join(chosen)} --help does not know {option}"
        return ""

    def test_every_experiment_named_is_there(self):
        problems = []
        for page in pages(ROOT):
            for path in re.findall(r"(?<!/)\bconfigs/[\w./*-]*\w\.toml", read(page)):
                if not list(ROOT.glob(path)):
                    problems.append(f"{name_of(page)}: there is no {path}")
        self.expect_none(problems)

    def test_every_experiment_is_listed(self):
        page = ROOT / "docs" / "experiments.md"
        listed = {(page.parent / link).resolve() for link in links(read(page)) if link.endswith(".toml")}
        there = set((ROOT / "configs").rglob("*.toml"))
        self.expect_none(f"docs/experiments.md does not list {name_of(file)}" for file in there - listed)

    def test_every_piece_of_an_experiment_is_valid(self):
        """Files that include nothing are merged over the quick start."""
        problems = []
        for page in pages(ROOT):
            for block in split(read(page))[1]:
                block = re.sub(r"^casdm .*", "", block, flags=re.MULTILINE)
                if not re.match(r"(include = |\[)", block) or "..." in block:
                    continue
                try:
                    piece = tomllib.loads(block)
                except tomllib.TOMLDecodeError as error:
                    problems.append(f"{name_of(page)}: {error} in\n{block}")
                    continue
                if "include" in piece:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / "piece.toml"
                    file.write_text(f'include = ["{ROOT}/configs/quickstart.toml"]\n{block}\n', encoding="utf-8")
                    status, said = casdm("config", "show", str(file))  # `check` would need the data
                if status != 0:
                    problems.append(f"{name_of(page)}: {said}\nin\n{block}")
        self.expect_none(problems)

    def test_the_readme_lists_the_components(self):
        listed = set()
        for _, header, rows in tables(split(read(ROOT / "README.md"))[0]):
            if header[:2] == ["kind", "components"]:
                for row in rows:
                    listed |= {(Path(page).stem, name) for page in links(row[0]) for name in code_spans(row[1])}
        there = set(components())
        self.expect_none(
            [f"README.md does not list the {kind} '{name}'" for kind, name in there - listed]
            + [f"README.md lists the {kind} '{name}', which no plugin has" for kind, name in listed - there]
        )

    def test_the_pages_of_the_interfaces_state_every_default(self):
        """docs/interfaces/KIND.md: a table `option | default | ...` under the heading that names its components, or
        under one that names none for the options they share."""
        there, stated, problems = components(), set(), []
        for page in pages(ROOT / "docs" / "interfaces"):
            of_kind = {name: options for (kind, name), options in there.items() if kind == page.stem}
            for heading, header, rows in tables(split(read(page))[0]):
                if header[:2] != ["option", "default"]:
                    continue
                named = [name for name in code_spans(heading) if name in of_kind]
                for row in rows:
                    for option in code_spans(row[0]):
                        owners = [name for name in named or of_kind if option in of_kind[name]]
                        if not owners:
                            problems.append(f"{name_of(page)}: '{heading}': no component has the option {option}")
                        for name in owners:
                            stated.add((page.stem, name, option))
                            if not is_same(of_kind[name][option], row[1]):
                                default = of_kind[name][option]
                                said = "required" if default is REQUIRED else "none" if default is None else default
                                problems.append(f"{name_of(page)}: {name}: {option}: says {row[1]}, it is {said}")
        for (kind, name), options in there.items():
            for option in options:
                if (kind, name, option) not in stated:
                    problems.append(f"docs/interfaces/{kind}.md has no row for {option} of {name}")
        self.expect_none(problems)

    def test_every_kind_has_its_pages(self):
        """Each kind has a row among the interfaces, contracts under a heading, its own page and one in the reference."""
        problems = []
        contracts = read(ROOT / "docs" / "plugins" / "contracts.md")
        for kind, (name, header) in sorted(kinds().items()):
            for page in (f"interfaces/{kind}.md", f"reference/{kind}.md"):
                if not (ROOT / "docs" / page).exists():
                    problems.append(f"there is no docs/{page}")
            if f"\n## {name}\n\n`casdm/{header}`" not in contracts:
                problems.append(f"docs/plugins/contracts.md: `casdm/{header}` does not begin a section '{name}'")
            for page, row in (("README.md", f"| `{name}` | ["), ("concepts.md", f"| `{name}` | `{kind}` |")):
                if row not in read(ROOT / "docs" / page):
                    problems.append(f"docs/{page} lists no interface `{name}`")
        self.expect_none(problems)

    def test_keys_of_the_host_have_the_defaults_that_are_stated(self):
        """A table `key of [TABLE] | default | ...`."""
        problems, keys = [], {}
        for page in pages(ROOT / "docs"):
            for _, header, rows in tables(split(read(page))[0]):
                title = re.fullmatch(r"key of `\[+(\w+)\]+`", header[0])
                if not title or header[1] != "default":
                    continue
                table = title.group(1)
                keys[table] = keys.get(table) or host_defaults(table)
                for row in rows:
                    for key in code_spans(row[0]):
                        if key not in keys[table]:
                            problems.append(f"{name_of(page)}: [{table}] has no key {key}")
                        elif not is_same(keys[table][key], row[1]):
                            problems.append(f"{name_of(page)}: {table}.{key}: says {row[1]}, it is {keys[table][key]}")
        self.expect_none(problems)

    def test_every_test_that_is_quoted_exists(self):
        """A column `shown by` quotes the names of test cases."""
        cases = set()
        for source in (ROOT / "tests").rglob("*.cpp"):
            cases |= set(re.findall(r'TEST_CASE(?:_TEMPLATE)?\(\s*"((?:[^"\\]|\\.)*)"', read(source)))
        problems = []
        for page in [*pages(ROOT / "docs"), ROOT / "SECURITY.md"]:
            for _, header, rows in tables(split(read(page))[0]):
                if "shown by" not in header:
                    continue
                column = header.index("shown by")
                for row in rows:
                    quoted = re.findall(r'"([^"]*)"', row[column])
                    problems += [f"{name_of(page)}: there is no test \"{name}\"" for name in quoted if name not in cases]
        self.expect_none(problems)

    def test_the_page_about_scaling_has_the_tables_of_its_model(self):
        program = [sys.executable, "-B", str(ROOT / "benchmarks" / "scaling.py")]
        computed = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True).stdout
        rows = [line for line in computed.splitlines() if re.match(r"\| \w+ \| \d", line)]
        page = read(ROOT / "docs" / "scaling.md")
        self.assertTrue(rows)
        self.expect_none([f"docs/scaling.md lacks {row}" for row in rows if row not in page])

    def test_the_contracts_list_the_conformance_tests(self):
        there = set()
        for source in (ROOT / "framework" / "conformance").glob("*_tests.cpp"):
            there |= set(re.findall(r'\{(?:""|\w+), "(\w+)", (?:true|false), [\w<>]+\}', read(source)))
        listed = set()
        for _, header, rows in tables(split(read(ROOT / "docs" / "plugins" / "contracts.md"))[0]):
            if header[0] == "conformance test":
                listed |= {name for row in rows for name in code_spans(row[0])}
        self.assertTrue(there)
        self.expect_none(
            [f"docs/plugins/contracts.md does not list {name}" for name in there - listed]
            + [f"docs/plugins/contracts.md lists {name}, which is no conformance test" for name in listed - there]
        )


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
