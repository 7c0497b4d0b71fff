"""Small images and archives, made without a library."""

import base64
import io
import random
import struct
import tarfile
import zipfile
import zlib

# 16 x 16, grey, baseline.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19i"
    "Z2hnPk1xeXBkeFxlZ2P/wAALCAAQABABAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABgAE/8QAJhAAAAUBCAIDAAAAAAAAAAAAAQID"
    "ESEEAAUGEhQxQWEiIyVCUf/aAAgBAQAAPwAjd136pod7Ik8M0qNPqK06aKQfY8OLOwfowMBNrCpEUaE1ZUQkkTMbZx6B+R2Dsbak"
    "08/yd6+6oV8UUCw7bFKHBQeR75EZ/9k=")


def png(seed, width=16, height=16):
    pixels = random.Random(seed)
    rows = b"".join(b"\0" + pixels.randbytes(3 * width) for _ in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def images(count=8):
    return {f"{number:02}.png": png(number) for number in range(count)}


def zip_of(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def tar_of(files, mode="w:gz"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def cifar10():
    """A tar of CIFAR-10's binary files with a few records each, fewer than the data set has."""
    source = random.Random(0)
    names = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]
    return tar_of({name: source.randbytes(3073 * 4) for name in [*names, "cifar-10-batches-bin/test_batch.bin"]})
