"""What `casdm completion` prints completes commands, options, keys with their values, and components, in each shell.

usage: completion_test.py CASDM

bash and zsh themselves are asked; fish, if installed, only parses its script.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = ""


def script(shell):
    done = subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True, timeout=120)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(done.stderr)
    return done.stdout


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bash = script("bash")

    def completed(self, *words):
        """What bash offers for the last of `words`, which it has split at = as it does."""
        code = self.bash + 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _casdm_words; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", code, "bash", *words], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_commands_and_their_verbs(self):
        self.assertEqual(self.completed("casdm", "eva"), ["evaluate"])
        self.assertEqual(self.completed("casdm", "config", "sch"), ["schema"])
        self.assertIn("doctor", self.completed("casdm", "plugins", ""))
        helps = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=60).stdout
        for command in self.completed("casdm", ""):
            self.assertIn(f"\n  {command} ", helps)

    def test_options_are_those_of_the_help(self):
        common = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=60).stdout
        for option in ("--safe-mode", "--trust-plugins", "--progress", "--version"):
            self.assertIn(option, self.completed("casdm", "--"))
            self.assertIn(option, self.completed("casdm", "train", "--"))
        for command in self.completed("casdm", ""):
            listed = common + subprocess.run([PROGRAM, command, "--help"], capture_output=True, text=True, timeout=60).stdout
            offered = self.completed("casdm", command, "--")
            self.assertIn("--help", offered, command)
            for option in offered:
                self.assertIn(option, listed)
        self.assertEqual(self.completed("casdm", "evaluate", "x", "--write"), ["--write-reference"])

    def test_options_of_a_verb_are_those_that_it_takes(self):
        for words in ("plugins check", "plugins new", "plugins doctor"):
            helps = subprocess.run([PROGRAM, *words.split(), "--help"], capture_output=True, text=True, timeout=60).stdout
            listed = re.findall(r"^ {2}(?:-h \[ )?(--[\w-]+)", helps.split("\noptions:\n")[1], re.MULTILINE)
            offered = self.completed("casdm", *words.split(), "x", "--")
            self.assertEqual(set(listed) - set(offered), set(), words)
        self.assertEqual(self.completed("casdm", "plugins", "check", "--str"), ["--strict"])
        self.assertEqual(self.completed("casdm", "plugins", "list", "--str"), [])
        self.assertEqual(self.completed("casdm", "plugins", "list", "--js"), ["--json"])
        for command, own in (("config", {"check": ["--set", "--cost", "--json"], "show": ["--set", "--json"],
                                         "init": ["--type", "--out"], "schema": ["--out", "--whole", "--sweep"],
                                         "reference": ["--out"]}),
                             ("data", {"inspect": ["--set", "--images", "--grid", "--json"], "pack": ["--set", "--out"]})):
            common = set(self.completed("casdm", "docs", "--")) - {"--print"}
            for verb, options in own.items():
                offered = self.completed("casdm", command, verb, "--")
                self.assertEqual(set(offered), {*options, "--plugin"} | common, f"{command} {verb}")

    def test_fish_offers_the_options_of_a_verb(self):
        lines = script("fish").splitlines()
        here = "complete -c casdm -n '__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}' -l {} "
        for verb, option, is_there in (("check", "cost", True), ("show", "cost", False), ("show", "json", True)):
            found = [line for line in lines if line.startswith(here.format("config", verb, option))]
            self.assertEqual(bool(found), is_there, f"{verb} --{option}")

    def test_keys_and_values_of_the_experiment(self):
        self.assertEqual(self.completed("casdm", "train", "x", "--set", "train.total"), ["train.total_images="])
        self.assertIn("head.theta.channels=", self.completed("casdm", "train", "x", "--set", "head.theta.ch"))
        self.assertEqual(self.completed("casdm", "train", "x", "--set", "log.tensorboard", "=", "t"), ["true"])
        self.assertIn("cascade", self.completed("casdm", "train", "x", "--set", "head.type", "="))
        self.assertEqual(self.completed("casdm", "train", "x", "--set", "run.precision", "=", "bf"), ["bf16"])

    def test_components(self):
        self.assertEqual(self.completed("casdm", "plugins", "inspect", "st_lp"), ["st_lpips"])
        self.assertEqual(self.completed("casdm", "plugins", "inspect", "metric_lp"), ["metric_lpips"])

    def test_check_takes_a_file_and_options_of_its_components(self):
        self.assertEqual(self.completed("casdm", "plugins", "check", "metric_lp"), [])
        self.assertEqual(self.completed("casdm", "plugins", "check", "x.so", "--set", "train.total"), [])
        lines = script("fish").splitlines()
        of_check = [line for line in lines if "from plugins; and __fish_seen_subcommand_from check' -l set " in line]
        self.assertEqual(len(of_check), 1)
        self.assertNotIn("$casdm_keys", of_check[0])
        self.assertTrue(any("from config; and __fish_seen_subcommand_from check' -l set -x -a \"$casdm_keys" in line
                            for line in lines))

    def test_other_shells_can_read_their_scripts(self):
        for shell in ("zsh", "fish"):
            with self.subTest(shell):
                content = script(shell)
                self.assertIn("st_lpips", content)
                if shutil.which(shell) is None:
                    self.skipTest(f"there is no {shell}")
                done = subprocess.run([shell, "-n"], input=content, capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)

    @unittest.skipIf(shutil.which("zsh") is None, "there is no zsh")
    def test_zsh_completes_in_a_terminal(self):
        typist = pathlib.Path(__file__).parents[1] / "package" / "completion.zsh"
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "_casdm").write_text(script("zsh"), encoding="utf-8")
            for mode in ("found", "sourced"):
                with self.subTest(mode):
                    done = subprocess.run(["zsh", typist, folder, mode], capture_output=True, text=True, timeout=120)
                    for words in ("got evaluate", "got config schema", "got train x --set run.precision=bf16",
                                  "got plugins inspect metric_ssim"):
                        self.assertIn(words, done.stdout)

    def test_an_unknown_shell_is_refused(self):
        done = subprocess.run([PROGRAM, "completion", "fis"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean 'fish'", done.stderr)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
