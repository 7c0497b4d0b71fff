"""The host names no component: no source file in framework/ contains the name of a component or of its options.

usage: host_test.py CASDM
"""

import json
import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ""

# Names that are also ordinary words: they count only if quoted alone.
WORDS = set("""
arrays cascade cosine diffusers dual flow folder gradient linear patch pixels resized shapes shards sigmoid single spectral
sum uniform zip
""".split())

# Options with such common names that the host also uses them for other things.
COMMON = {"directions", "mean", "metric", "order"}

# (file, name): words that the host uses with its own meaning.
OWN = {
    ("framework/config/experiment.h", "uniform"): "a choice of the host's key metrics.t_weight",
    ("framework/config/experiment.h", "cosine"): "a choice of the host's key optimizer.schedule",
    ("framework/config/experiment.h", "linear"): "a choice of the host's key optimizer.schedule",
    ("framework/commands/plugins_new.cpp", "folder"): "a key of its JSON",
    ("framework/config/wording.cpp", "arrays"): "a type of option",
    ("framework/conformance/optimizer_tests.cpp", "gradient"): "a tensor of its stand-in",
    ("framework/conformance/optimizer_tests.cpp", "weight_decay"): "options of this ending are set to 0, by the contract",
    ("framework/training/step_record.cpp", "sum"): "a key of its JSON",
    ("framework/comparison/measuring.cpp", "extractor"): "a key of its JSON",
    ("framework/evaluation/judges.cpp", "extractor"): "a key of its JSON",
    ("framework/evaluation/record.cpp", "extractor"): "a key of its JSON",
    ("framework/evaluation/reference.cpp", "extractor"): "a key of its JSON",
    ("framework/evaluation/reference_writer.cpp", "extractor"): "the same",
    ("framework/evaluation/reference_writer.cpp", "mu"): "an array of guided-diffusion's files",
    ("framework/evaluation/statistics.cpp", "mu"): "the same",
    ("framework/evaluation/statistics.h", "mu"): "the same",
    ("framework/standin/kernels.cpp", "memory_format"): "the overload of LibTorch's operator empty",
}


def casdm(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def option_names(options):
    for option in options:
        yield option["name"]
        yield from option_names(option.get("fields", []))
        yield from option_names(option.get("element", {}).get("fields", []))


def names_of_components():
    """(components, options) of the plugins beside the program."""
    components, options = set(), set()
    for plugin in casdm("plugins", "list", "--json"):
        for component in casdm("plugins", "inspect", plugin["id"], "--json")["components"]:
            components.add(component["name"])
            options |= {name for name in option_names(component["options"]) if len(name) > 1}
    return components, options


def words_of(text):
    return set(re.findall(r"[A-Za-z_]\w*", text))


def words_of_interfaces():
    """Every word in the code of the SDK's headers, since an interface may use the name of a component's option."""
    found = set()
    for header in (ROOT / "sdk" / "include" / "casdm").glob("*.h"):
        found |= words_of(re.sub(r"//.*", "", header.read_text(encoding="utf-8")))
    return found


def host_keys():
    declarations = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "framework" / "config").glob("*.*"))
    return set(re.findall(r'(?:option|component)\(\s*"(\w+)"', declarations))


def findings(text, components, options):
    """Names in `text`, by line. The examples of a command's --help are for people and do not count."""
    text = re.sub(r'R"\(usage:.*?\)"', lambda usage: "\n" * usage.group().count("\n"), text, flags=re.DOTALL)
    for number, line in enumerate(text.splitlines(), 1):
        plain = words_of(line)
        quoted = {re.split(r"[./]", word)[-1] for word in re.findall(r"""["']([\w./\[\]]+)["'=]""", line)}
        quoted |= set(re.findall(r"[\w\]]\.(\w+)=", line))
        for name in components:
            if name in (quoted if name in WORDS else plain):
                yield number, name
        for name in options:
            if name in (plain if "_" in name else quoted):
                yield number, name


class Host(unittest.TestCase):
    def test_no_source_names_a_component_or_its_options(self):
        components, options = names_of_components()
        self.assertIn("unet", components)
        options -= words_of_interfaces() | host_keys() | COMMON
        self.assertIn("channel_mult", options)
        problems = []
        for file in sorted((ROOT / "framework").rglob("*")):
            if file.suffix not in (".cpp", ".h"):
                continue
            path = str(file.relative_to(ROOT))
            for number, name in findings(file.read_text(encoding="utf-8"), components, options):
                if (path, name) not in OWN:
                    problems.append(f"{path}:{number} names {name}")
        if problems:
            self.fail("\n" + "\n".join(problems))

    def test_what_counts_as_a_name(self):
        def names(text):
            return sorted(name for _, name in findings(text, {"unet", "linear"}, {"eta", "channel_mult"}))

        self.assertEqual(names('overrides.push_back("sampler.eta=" + *a.eta);'), ["eta"])
        self.assertEqual(names("/// \"unet\" and others, a linear map"), ["unet"])
        self.assertEqual(names('if (schedule == "linear") options.find("channel_mult");'), ["channel_mult", "linear"])
        self.assertEqual(names("const double eta = linear(channels);"), [])
        self.assertEqual(names('constexpr const char* kUsage = R"(usage: casdm sample --set sampler.eta=1\n)";'), [])


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
