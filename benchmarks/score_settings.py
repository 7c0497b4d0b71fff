#!/usr/bin/env python3
"""What a Frechet distance depends on in addition to the images: the table in docs/published-scores.md.

    score_settings.py CASDM [ARCHIVE]

A random half of the images is judged against the other under each setting. Needs Pillow.
"""

import io
import json
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
JUDGE = """[[evaluate.judges]]
type = "efficientnet_lite0"
resize = "{resize}"
metrics = [{{ type = "frechet" }}, {{ type = "kernel_distance" }}]
"""


def write(path, images, change=lambda image: image, **form):
    """A zip of the images, each changed, in a lossless format or in the format of `form`."""
    with zipfile.ZipFile(path, "w") as archive:
        for i, image in enumerate(images):
            content = io.BytesIO()
            change(image).save(content, **({"format": "PNG"} | form))
            archive.writestr(f"{i:05}.{form.get('format', 'png').lower()}", content.getvalue())
    return path


def main(casdm, archive):
    with zipfile.ZipFile(archive) as file, tempfile.TemporaryDirectory() as folder:
        names = sorted(name for name in file.namelist() if name.endswith(".png"))
        images = [Image.open(io.BytesIO(file.read(name))).convert("RGB") for name in names]
        random.Random(0).shuffle(images)  # neighbours look alike
        one, other = images[::2], images[1::2]
        folder = Path(folder)

        def scores(label, judged, reference, resize="bicubic_antialias", size=32):
            config = folder / "judge.toml"
            config.write_text(JUDGE.format(resize=resize), encoding="utf-8")
            words = ["evaluate", judged, "--reference", reference, "--config", config, "--size", str(size), "--json"]
            done = subprocess.run([casdm, *words], capture_output=True, text=True, check=True)
            record = json.loads(done.stdout)["evaluations"][0]
            frechet, kernel = record["scores"]
            print(
                f"| {label} | {record['num']} | {frechet['value']:.4g} | "
                f"{kernel['value']:.4f} +- {kernel['standard_error']:.4f} |",
                flush=True,
            )

        print("| setting | N | Frechet distance | kernel distance |\n| --- | --- | --- | --- |")
        a, b = write(folder / "a.zip", one), write(folder / "b.zip", other)
        scores("as they are", a, b)
        for resize in "bilinear", "tf1_bilinear":
            scores(f"the judge resizes by `{resize}`", a, b, resize)
        for count in 100, 200, 400:
            scores(f"{count} of the images", write(folder / "few.zip", one[:: len(one) // count][:count]), b)
        scores("against 200 images", a, write(folder / "few.zip", other[:: len(other) // 200][:200]))
        scores("against all images, the judged among them", a, write(folder / "all.zip", images))
        for quality in 95, 75:
            changed = write(folder / "changed.zip", one, format="JPEG", quality=quality)
            scores(f"kept as JPEG of quality {quality}", changed, b)
        small = write(folder / "small.zip", other, lambda image: image.resize((16, 16), Image.Resampling.BICUBIC))
        for label, filter in (
            ("16 px, both sides by bicubic with antialias", Image.Resampling.BICUBIC),
            ("16 px, one side by box", Image.Resampling.BOX),
            ("16 px, one side by bilinear with antialias", Image.Resampling.BILINEAR),
            ("16 px, one side by nearest", Image.Resampling.NEAREST),
        ):
            changed = write(folder / "changed.zip", one, lambda image, by=filter: image.resize((16, 16), by))
            scores(label, changed, small, size=16)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "examples" / "data" / "emoji32.zip")
