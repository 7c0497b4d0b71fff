#!/usr/bin/env python3
"""regenerate.py without installed peers: it says so for every file and succeeds; with --strict it fails."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(*arguments):
    # -I -S: without site packages, so without peers, whatever is installed.
    code = f"import sys, runpy; sys.path.insert(0, {str(HERE)!r}); sys.argv[0] = {str(HERE / 'regenerate.py')!r}; " \
           "runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def expect(holds, message, result):
    if not holds:
        sys.exit(f"{message}\nexit {result.returncode}\n{result.stdout}{result.stderr}")


references = sorted(path.name for path in (HERE / "references").iterdir() if path.suffix in (".json", ".safetensors"))
compared = run("compare")
expect(compared.returncode == 0, "compare must end well", compared)
for name in references:
    expect(f"LEFT OUT {name}: " in compared.stdout, f"compare must say that {name} was left out", compared)
expect("guided-diffusion" in compared.stdout and "diffusers" in compared.stdout, "it must name the peers", compared)
expect(run("compare", "--strict").returncode == 1, "--strict must fail where peers are missing", compared)

cases = run("cases")
expect(set(json.loads(cases.stdout)) >= {"adm_plain", "metrics"}, "cases must print JSON to edit", cases)
with tempfile.TemporaryDirectory() as folder:
    made = run("make", "--out", folder)
    expect(made.returncode == 0 and not list(Path(folder).iterdir()), "make must write nothing", made)
    expect(made.stdout.count("LEFT OUT") == len(json.loads(cases.stdout)), "make must name all it left out", made)
    typo = Path(folder, "typo.json")
    typo.write_text('{"unet_plain": {}}')
    wrong = run("make", "--out", folder, "--cases", str(typo))
    expect(wrong.returncode == 1 and "unet_plain" in wrong.stderr, "an unknown file name must be refused", wrong)
print("regenerate.py says what it cannot do")
