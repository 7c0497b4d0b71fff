"""What `casdm completion` prints completes commands, options, keys with their values, and components, in each shell.

usage: completion_test.py CASDM

bash itself is asked; zsh and fish, if installed, only parse their scripts.
"""

import os
import shutil
import subprocess
import sys
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
        code = self.bash + 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _casdm; printf "%s\\n" "${COMPREPLY[@]}"'
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
        for command in self.completed("casdm", ""):
            listed = subprocess.run([PROGRAM, command, "--help"], capture_output=True, text=True, timeout=60).stdout
            offered = self.completed("casdm", command, "--")
            self.assertIn("--help", offered, command)
            for option in offered:
                self.assertIn(option, listed)
        self.assertEqual(self.completed("casdm", "evaluate", "x", "--write"), ["--write-reference"])

    def test_keys_and_values_of_the_experiment(self):
        self.assertEqual(self.completed("casdm", "train", "x", "--set", "train.total"), ["train.total_images="])
        self.assertIn("head.theta.channels=", self.completed("casdm", "train", "x", "--set", "head.theta.ch"))
        self.assertEqual(self.completed("casdm", "train", "x", "--set", "log.tensorboard", "=", "t"), ["true"])
        self.assertIn("cascade", self.completed("casdm", "train", "x", "--set", "head.type", "="))
        self.assertEqual(self.completed("casdm", "train", "x", "--set", "run.precision", "=", "bf"), ["bf16"])

    def test_components(self):
        self.assertEqual(self.completed("casdm", "plugins", "inspect", "st_lp"), ["st_lpips"])
        self.assertEqual(self.completed("casdm", "plugins", "inspect", "metric_lp"), ["metric_lpips"])

    def test_other_shells_can_read_their_scripts(self):
        for shell in ("zsh", "fish"):
            with self.subTest(shell):
                content = script(shell)
                self.assertIn("st_lpips", content)
                if shutil.which(shell) is None:
                    self.skipTest(f"there is no {shell}")
                done = subprocess.run([shell, "-n"], input=content, capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_an_unknown_shell_is_refused(self):
        done = subprocess.run([PROGRAM, "completion", "fis"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean 'fish'", done.stderr)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
