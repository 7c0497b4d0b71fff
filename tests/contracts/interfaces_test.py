#!/usr/bin/env python3
"""Compares the binary contract of the SDK with the one that was committed, interfaces.txt beside this file.

    interfaces_test.py [--update] BUILD_INFO COMPILER [COMPILER_ARGUMENT]...

Plugins call the interfaces through their vtables, so a virtual method that is inserted, moved or removed makes a plugin
of another build call the wrong one, silently. The order of every vtable is taken from the compiler
(-fdump-lang-class), the names of pure virtual methods, which it leaves out, from the headers. BUILD_INFO is the
header with the hash that the stamp carries.
"""

import difflib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMITTED = HERE / "interfaces.txt"
HEADERS = HERE.parent.parent / "sdk" / "include" / "casdm"


def pure_methods():
    """The pure virtual methods of each class, in the order of their declaration: "Backbone" -> ["Tensor forward(...)"];
    and those of its base before them."""
    methods, bases = {}, {}
    for header in HEADERS.glob("*.h"):
        text = re.sub(r"//[^\n]*", "", header.read_text())
        for name, base, body in re.findall(r"^class (\w+)(?:[^;{]*?: public (\w+))?[^;{]*\{(.*?)^\};", text, re.M | re.S):
            bases[name] = base
            found = re.findall(r"virtual ([^;{}]*?) = 0;", body)
            methods[name] = [" ".join(signature.split()) for signature in found]
    return methods, {name: methods.get(base, []) + methods[name] for name, base in bases.items()}


def kinds():
    """The classes of the kinds of component."""
    pattern = r"^class (\w+)[^;{]*\{(?:(?!^\};).)*?static constexpr std::string_view kind ="
    found = [name for header in HEADERS.glob("*.h") for name in re.findall(pattern, header.read_text(), re.M | re.S)]
    return found or sys.exit(f"no header in {HEADERS} declares a kind")


def vtables(compiler, arguments):
    """The slots of each class of casdm, in their order: "casdm::Backbone" -> ["casdm::Module::parameters", ...]."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "interfaces.cpp"
        source.write_text("".join(f'#include "casdm/{header.name}"\n' for header in sorted(HEADERS.glob("*.h"))
                          if header.name != "torch_nn.h"))
        dump = Path(folder) / "classes"
        command = [compiler, *arguments, "-std=c++20", "-fsyntax-only", f"-fdump-lang-class={dump}", str(source)]
        subprocess.run(command, check=True)
        text = dump.read_text()
    pure, with_base = pure_methods()
    tables = {}
    for name, body in re.findall(r"^Vtable for casdm::(\w+)\n(.*?)\n\n", text, re.M | re.S):
        if name.endswith("Error"):
            continue
        slots = re.findall(r"^\d+ +\(int \(\*\)\(\.\.\.\)\)(casdm::\S+|__cxa_pure_virtual)$", body, re.M)
        is_inherited = slots.count("__cxa_pure_virtual") > len(pure.get(name, []))
        names = iter((with_base if is_inherited else pure).get(name, []))
        tables[name] = [next(names, slot) if slot == "__cxa_pure_virtual" else slot for slot in slots]
        if "__cxa_pure_virtual" in tables[name] or next(names, None) is not None:
            sys.exit(f"casdm::{name}: its header and its vtable have other numbers of pure virtual methods")
    return tables


def rendered(tables, headers_hash):
    lines = [f"sdk_headers {headers_hash}"]
    for name in sorted(tables):
        lines += ["", name, *(f"  {index} {slot}" for index, slot in enumerate(tables[name]))]
    return "\n".join(lines) + "\n"


def main(arguments):
    update = arguments[:1] == ["--update"]
    build_info, compiler, *flags = arguments[1:] if update else arguments
    headers_hash = re.search(r'CASDM_SDK_HEADERS "(\w+)"', Path(build_info).read_text())[1]
    tables = vtables(compiler, flags)
    missing = [name for name in kinds() if name not in tables]
    if missing:
        sys.exit(f"the compiler's dump has no vtable of {', '.join(missing)}")
    now = rendered(tables, headers_hash)
    if update:
        COMMITTED.write_text(now)
        return
    committed = COMMITTED.read_text()
    if now == committed:
        print(f"{len(tables)} vtables and the hash of the headers are as committed")
        return
    sys.stdout.writelines(difflib.unified_diff(committed.splitlines(True), now.splitlines(True), "committed", "now"))
    sys.exit(
        "The public headers of the SDK changed: every plugin must be rebuilt. If that is meant, see what the change is "
        "in docs/plugins/compatibility.md (a method is only ever appended), give the interface a new "
        "interface_version where its meaning changed, tell it in CHANGELOG.md, and run this test's command with "
        "--update before the other arguments (`ctest -R interfaces -V` prints it)."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
