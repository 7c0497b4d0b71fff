"""tools/man_pages.py makes a page for every command, with every option of its help, that groff sets without a warning.

usage: man_pages_test.py CASDM TOOLS
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = TOOLS = ""


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **more)


class ManPages(unittest.TestCase):
    def test_pages(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run(sys.executable, "-B", os.path.join(TOOLS, "man_pages.py"), PROGRAM, folder, check=True)
            self.assertEqual(done.stdout.strip(), folder)
            commands = re.findall(r"^  ([a-z]+) ", run(PROGRAM, "--help").stdout, re.MULTILINE)
            self.assertGreaterEqual(len(commands), 12)
            pages = {path.stem: path for path in Path(folder).glob("*.1")}
            self.assertEqual(set(pages), {"casdm", *(f"casdm-{name}" for name in commands)})
            for name in commands:
                page = pages[f"casdm-{name}"].read_text(encoding="utf-8").replace("\\-", "-")
                for option in re.findall(r"--[a-z][a-z-]+", run(PROGRAM, name, "--help").stdout):
                    self.assertIn(option, page)
                self.assertRegex(page, rf"\.SH NAME\ncasdm-{name} - \w")
            if shutil.which("groff") is None:
                self.skipTest("there is no groff to set them")
            for path in pages.values():
                said = run("groff", "-man", "-ww", "-Tutf8", "-z", str(path))
                self.assertEqual((said.returncode, said.stderr), (0, ""), path.name)


if __name__ == "__main__":
    PROGRAM, TOOLS = os.path.abspath(sys.argv[1]), sys.argv[2]
    unittest.main(argv=sys.argv[:1], verbosity=2)
