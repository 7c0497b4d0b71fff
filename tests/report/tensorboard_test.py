"""TensorBoard itself reads the event files of a resumed training.

usage: tensorboard_test.py CASDM SITE_PACKAGES

SITE_PACKAGES is where tools/setup.sh --tests installs TensorBoard; the python that runs this may have its own. Exit status
77 means that neither does.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = ""
CONFIG = """
[run]
name = "a"
device = "cpu"
threads = 1
[data]
type = "shapes"
image_size = 16
[noise]
type = "cosine"
num_train_timesteps = 100
[head]
type = "dual"
[head.theta]
type = "unet"
channels = 8
channel_mult = [1, 2]
num_res_blocks = 1
attention_resolutions = []
groups = 4
[sampler]
type = "ddim"
num_inference_steps = 2
[train]
batch_size = 4
total_images = 16
[log]
every_images = 8
sample_count = 4
tensorboard = true
"""


class EventFiles(unittest.TestCase):
    def test_scalars_images_and_the_experiment_are_read(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.toml").write_text(CONFIG, encoding="utf-8")
            for words in (["train", "a.toml"], ["train", "--resume", "runs/a", "--set", "train.total_images=24"]):
                done = subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=300)
                self.assertEqual(done.returncode, 0, done.stderr)
            run = Path(folder) / "runs" / "a"
            self.assertEqual(len(list(run.glob("events.out.tfevents.*"))), 2)
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
            lines = [line for line in lines if "loss" in line]
            pictures = [file.read_bytes() for file in sorted((run / "samples").glob("*.png"), key=lambda f: int(f.stem))]

            events = event_accumulator.EventAccumulator(str(run), size_guidance={"images": 0, "tensors": 0, "histograms": 0})
            events.Reload()
            tags = events.Tags()
            self.assertEqual([event.step for event in events.Scalars("loss/eps")], [8, 16, 24])
            for event, line in zip(events.Scalars("loss/eps"), lines):
                self.assertAlmostEqual(event.value, line["loss"]["eps"]["mean"], delta=1e-6 * abs(event.value))
            for tag in ("learning_rate", "grad_norm/theta", "images_per_second", "loss/eps/by_t/1"):
                self.assertIn(tag, tags["scalars"])
            gates = events.Histograms("statistic/gate/histogram")
            self.assertEqual([event.step for event in gates], [8, 16, 24])
            for event, line in zip(gates, lines):
                quarters = line["statistic"]["gate"]["histogram"]
                self.assertEqual(list(event.histogram_value.bucket), [sum(counts) for counts in zip(*quarters)])
                self.assertEqual(event.histogram_value.num, 8)
                self.assertEqual(list(event.histogram_value.bucket_limit)[-1], 1)
            shown = events.Images("samples")
            self.assertEqual([image.step for image in shown], [16, 24])
            self.assertEqual([image.encoded_image_string for image in shown], pictures)
            self.assertEqual((shown[0].width, shown[0].height), (2 * 64 + 6, 2 * 64 + 6))
            self.assertIn("experiment", tags["tensors"])
            words = events.Tensors("experiment")[0].tensor_proto.string_val[0].decode()
            self.assertIn('    name = "a"', words)


if __name__ == "__main__":
    PROGRAM, packages = os.path.abspath(sys.argv[1]), sys.argv[2]
    sys.path.append(packages)
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError as error:
        print(f"SKIPPED: no tensorboard in {sys.executable} or {packages} ({error}); tools/setup.sh --tests installs it")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
