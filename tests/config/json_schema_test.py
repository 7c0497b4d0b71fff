"""The JSON Schema of experiments against a validator from PyPI: what editors report for our files and for wrong ones.

usage: json_schema_test.py CASDM SITE_PACKAGES

SITE_PACKAGES is where tools/setup.sh --tests installs jsonschema; the python that runs this may have its own. Exit status 77
means that it is not installed.
"""

import copy
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMA_FILE = ROOT / "configs" / "casdm.schema.json"
SWEEP_SCHEMA_FILE = ROOT / "configs" / "sweep.schema.json"


def schema_named_in(file):
    """The schema named in the first line of an experiment or a sweep."""
    directive, _, path = file.read_text(encoding="utf-8").partition("\n")[0].partition(" ")
    assert directive == "#:schema", f"{file} names no schema"
    return (file.parent / path).resolve()


SWEEPS = [file for file in sorted((ROOT / "configs").rglob("*.toml")) if schema_named_in(file) == SWEEP_SCHEMA_FILE]
SHIPPED = [file for file in sorted((ROOT / "configs").rglob("*.toml")) if file not in SWEEPS]
FOREIGN = sorted([*(ROOT / "examples").glob("*/experiment.toml"), *(ROOT / "sdk/templates").glob("*/experiment.toml")])
PROGRAM = ""

# Each has one error; most are pieces, laid over the quick start for the program.
WRONG = {
    "an unknown table": "[trian]\nbatch_size = 4",
    "an unknown key of the host": "[train]\nbatchsize = 4",
    "an unknown key beside a type": "[head]\ntype = 'cascade'\ngate_shap = 'scalar'",
    "an unknown key where the type is in another file": "[data]\nrandom_flp = true",
    "an option of another component": "[sampler]\ntype = 'ddpm'\neta = 0.5",
    "an unknown component": "[noise]\ntype = 'cosin'",
    "a component of another kind": "[noise]\ntype = 'ddim'",
    "a component of another plugin": "[noise]\ntype = 'sampler_diffusion/cosine'",
    "a string for an integer": "[train]\nbatch_size = '64'",
    "a float for an integer": "[train]\nbatch_size = 64.5",
    "an integer for a boolean": "[data]\nrandom_flip = 1",
    "a number for a string": "[run]\nname = 5",
    "a value below the range": "[train]\nbatch_size = 0",
    "a value above the range": "[data]\nchannels = 4",
    "an excluded limit": "[optimizer]\nlearning_rate = 0.0",
    "no choice": "[run]\ndevice = 'gpu'",
    "a count with another suffix": "[train]\ntotal_images = '10q'",
    "a count that is not whole": "[train]\ntotal_images = 10.5",
    "a count below the range": "[train]\ntotal_images = 0",
    "too few elements": "[optimizer]\nbetas = [0.9]",
    "a module's unknown key": "[optimizer.phi]\nlearning_rat = 0.1",
    "a key of all modules in a module's table": "[optimizer.phi]\ngrouping = 'joint'",
    "an option of another optimizer": "[optimizer]\ntype = 'lion'\neps = 0.1",
    "an element of another type": "[head.theta]\ntype = 'unet'\nattention_resolutions = ['8']",
    "an element below the range": "[head.theta]\ntype = 'unet'\nchannel_mult = [1, 0]",
    "a table for an array of tables": "[metrics]\ntype = 'l1'",
    "an array of tables for a table": "[[train]]\nbatch_size = 4",
    "a metric without a type": "[[metrics]]\nweight = 1.0",
    "a metric's negative weight": "[[metrics]]\ntype = 'l1'\nweight = -1",
    "a nested metric's unknown key": "[[metrics]]\ntype = 'patch'\nsize = 8\nmetric = { type = 'ssim', window = 3 }",
    "a decorator without its metric": "[[metrics]]\ntype = 'patch'\nsize = 8",
    "an initial state without a module": "[[init]]\nfrom = 'runs/a'",
    "an include that is no file name": "include = 3",
}

RIGHT = {
    "nothing": "",
    "keys of a table whose type is in another file": "[data]\nrandom_flip = true\n[sampler]\neta = 0.5",
    "a component in full": "[noise]\ntype = 'noise_beta/cosine'",
    "an integer for a number": "[optimizer]\nlearning_rate = 1",
    "an optimizer for one module": "[optimizer]\ntype = 'muon'\n[optimizer.phi]\ntype = 'adamw'\neps = 1e-6",
    "other keys for one module": "[optimizer.phi]\nlearning_rate = 0.1\nbetas = [0.9, 0.9]",
    "counts": "[train]\ntotal_images = '1.5M'\n[checkpoint]\nevery_images = 1e5",
    "nested metrics": "[[metrics]]\ntype = 'resized'\nsize = 8\nmetric = { type = 'patch', size = 4, metric = { type = 'l1' } }",
    "several includes": "include = ['{quickstart}', '{quickstart}']",
}


def casdm(*arguments, folder=None):
    """Status, stdout and stderr of the command, which finds only the plugins beside it."""
    alone = {name: value for name, value in os.environ.items() if name != "CASDM_PLUGIN_PATH"}
    alone["XDG_DATA_HOME"] = "/nowhere"
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, env=alone, cwd=folder)
    return done.returncode, done.stdout, done.stderr


def printed(*arguments):
    status, out, err = casdm(*arguments)
    assert status == 0, err
    return json.loads(out)


def problems(schema, document):
    """The validator's messages, one line each."""
    errors = jsonschema.Draft4Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]


def with_foreign(schema, document, shipped):
    """`schema` extended by the components of `document` that are not ours, which accept any option."""
    schema = copy.deepcopy(schema)
    foreign = sorted(types_of(document) - shipped)
    for definition in schema["definitions"].values():
        definition["oneOf"].append({"properties": {"type": {"enum": foreign}}, "required": ["type"]})
    return schema, foreign


def types_of(value):
    if isinstance(value, list):
        return set().union(*map(types_of, value))
    if not isinstance(value, dict):
        return set()
    own = {value["type"]} if isinstance(value.get("type"), str) else set()
    return own.union(*map(types_of, value.values()))


class JsonSchema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pieces = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
        cls.whole = printed("config", "schema", "--whole")

    def test_both_are_schemas_of_draft_04(self):
        for schema in (self.pieces, self.whole):
            self.assertEqual(schema["$schema"], "http://json-schema.org/draft-04/schema#")
            jsonschema.Draft4Validator.check_schema(schema)

    def test_every_shipped_file_names_the_schema_and_fits_it(self):
        self.assertGreater(len(SHIPPED), 15)
        for file in SHIPPED:
            with self.subTest(file.relative_to(ROOT)):
                self.assertEqual(schema_named_in(file), SCHEMA_FILE)
                self.assertEqual(problems(self.pieces, tomllib.loads(file.read_text(encoding="utf-8"))), [])

    def check_sweep(self, text, is_right):
        schema = json.loads(SWEEP_SCHEMA_FILE.read_text(encoding="utf-8"))
        self.assertEqual(problems(schema, tomllib.loads(text)) == [], is_right)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "x.toml").write_text(text, encoding="utf-8")
            status, _, err = casdm("sweep", "x.toml", "--print", folder=folder)
        self.assertEqual(status, 0 if is_right else 2, err)

    def test_sweeps_are_taken_and_refused_by_schema_and_program(self):
        self.assertGreater(len(SWEEPS), 0)
        jsonschema.Draft4Validator.check_schema(json.loads(SWEEP_SCHEMA_FILE.read_text(encoding="utf-8")))
        for file in SWEEPS:
            with self.subTest(file.relative_to(ROOT)):
                schema = json.loads(SWEEP_SCHEMA_FILE.read_text(encoding="utf-8"))
                self.assertEqual(problems(schema, tomllib.loads(file.read_text(encoding="utf-8"))), [])
        right = f"name = 'x'\nbase = '{ROOT}/configs/quickstart.toml'\nseeds = [0]\n[[arms]]\nname = 'a'\n"
        self.check_sweep(right, True)
        self.check_sweep(right + "set = 'train.batch_size=8'\n[[grid]]\nkey = 'ema.decay'\nvalues = [0.9, '0.5']\n", True)
        for wrong in ("set = 3\n", "nam = 'b'\n", "[[grid]]\nkey = 'ema.decay'\n", "[arm]\n", "[[arms]]\nset = []\n"):
            with self.subTest(wrong):
                self.check_sweep(right + wrong, False)

    def test_every_shipped_experiment_is_whole_once_merged(self):
        for file in SHIPPED:
            if file.parent != ROOT / "configs":  # the subfolders contain pieces and sweeps
                continue
            with self.subTest(file.relative_to(ROOT)):
                merged = printed("config", "show", str(file), "--json")
                self.assertEqual(problems(self.whole, merged), [])
                self.assertEqual(problems(self.pieces, merged), [])

    def test_a_whole_experiment_lacks_nothing(self):
        for table in ("data", "noise", "head", "sampler"):
            merged = printed("config", "show", str(ROOT / "configs" / "quickstart.toml"), "--json")
            del merged[table]
            self.assertEqual(problems(self.whole, merged), [f": '{table}' is a required property"])
            self.assertEqual(problems(self.pieces, merged), [])

    def test_experiments_of_other_plugins_fit_but_for_their_own_components(self):
        shipped = set()
        for plugin in printed("plugins", "list", "--json"):
            for component in plugin["components"]:
                shipped |= {component["name"], f"{plugin['id']}/{component['name']}"}
        self.assertGreater(len(FOREIGN), 6)
        for file in FOREIGN:
            with self.subTest(file.relative_to(ROOT)):
                document = tomllib.loads(file.read_text(encoding="utf-8"))
                schema, foreign = with_foreign(self.pieces, document, shipped)
                self.assertEqual(len(foreign), 1)
                self.assertEqual(problems(schema, document), [])
                self.assertNotEqual(problems(self.pieces, document), [])

    def check_program(self, piece, is_right):
        with tempfile.TemporaryDirectory() as folder:
            quickstart = ROOT / "configs" / "quickstart.toml"
            piece = piece.replace("{quickstart}", str(quickstart))
            own = "" if "include" in piece else f"include = '{quickstart}'\n"
            (Path(folder) / "x.toml").write_text(own + piece, encoding="utf-8")
            status, _, err = casdm("config", "check", "x.toml", folder=folder)
        self.assertEqual(status, 0 if is_right else 2, err)

    def test_what_is_wrong_is_refused_by_schema_and_program(self):
        for name, piece in WRONG.items():
            with self.subTest(name):
                self.assertNotEqual(problems(self.pieces, tomllib.loads(piece)), [])
                self.check_program(piece, False)

    def test_what_is_right_is_taken_by_schema_and_program(self):
        for name, piece in RIGHT.items():
            with self.subTest(name):
                self.assertEqual(problems(self.pieces, tomllib.loads(piece)), [])
                self.check_program(piece, True)

    def test_a_new_experiment_fits_both(self):
        status, out, err = casdm("config", "init")
        self.assertEqual(status, 0, err)
        document = tomllib.loads(out)
        self.assertEqual(problems(self.pieces, document), [])
        self.assertEqual(problems(self.whole, document), [])


if __name__ == "__main__":
    PROGRAM, packages = os.path.abspath(sys.argv[1]), sys.argv[2]
    del sys.argv[1:3]
    sys.path.append(packages)
    try:
        import jsonschema
    except ImportError:
        print(f"SKIPPED: no jsonschema in {sys.executable} or {packages}; tools/setup.sh --tests installs it")
        sys.exit(77)
    unittest.main()
