"""The golden files' layout: the deterministic fill, and safetensors in and out (README.md)."""

import json
import struct

import numpy as np

_TYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}


def uniform(seed, count):
    """`count` values in [0, 1): the top 24 bits of splitmix64 of seed * 2^32 + i."""
    with np.errstate(over="ignore"):
        z = (np.uint64(seed) << np.uint64(32)) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-24


def fill(seed, shape):
    """Values in [-1, 1), row-major, float32."""
    return (2 * uniform(seed, int(np.prod(shape))) - 1).astype(np.float32).reshape(shape)


def filled_state(shapes):
    """A network's state from {name: shape}, with which every golden network is run."""
    state = {}
    for k, name in enumerate(sorted(shapes, key=lambda key: key.encode())):
        shape = tuple(shapes[name])
        u = fill(k + 1, shape)
        if len(shape) >= 2:
            u = u * np.float32(np.sqrt(3.0 * shape[0] / np.prod(shape)))
        else:
            u = u * np.float32(0.1) + np.float32(1 if name.endswith("weight") else 0)
        state[name] = u.astype(np.float32)
    return state


def read(path):
    """(metadata, {name: array}) of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], _TYPES[entry["dtype"]]).reshape(entry["shape"])
    return metadata, tensors


def write(path, tensors, metadata):
    names = {np.dtype(numpy_type): name for name, numpy_type in _TYPES.items()}
    header, blobs, offset = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        blobs.append(array.tobytes())
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def difference(ours, golden):
    """max|ours - golden| / max|golden|."""
    ours, golden = np.asarray(ours, np.float64), np.asarray(golden, np.float64)
    if ours.shape != golden.shape:
        return float("inf")
    largest = np.abs(ours - golden).max(initial=0.0)
    scale = np.abs(golden).max(initial=0.0)
    return float(largest / scale) if scale > 0 else float(largest)
