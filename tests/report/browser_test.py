"""Reports in headless Chromium: they open, draw and respond, on phone and desktop, in light and dark mode, and in print.

usage: browser_test.py CASDM [FOLDER]

Screenshots are written into FOLDER. Exit status 77 means that there is no Chromium (Debian: chromium).
"""

import base64
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from browser import OVERFLOW, Browser, chromium  # noqa: E402

PROGRAM = ""
PICTURES = None
HOSTILE = '"><script>window.hurt = 1</script><img src=x onerror="window.hurt = 1">'


def png(size, seed):
    """A noise image, so that grids can be distinguished."""
    noise = random.Random(seed)
    rows = b"".join(b"\0" + noise.randbytes(3 * size) for _ in range(size))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def make_run(folder, name, seed, weight, lines):
    (folder / "samples").mkdir(parents=True)
    (folder / "config.toml").write_text(
        f"[run]\nname = {json.dumps(name)}\nseed = {seed}\n[train]\ntotal_images = {1000 * lines}\n"
        f'[[metrics]]\ntype = "l1"\nweight = {weight}\n', encoding="utf-8")
    noise = random.Random(f"{name}{seed}")
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as log:
        for i in range(1, lines + 1):
            loss = 0.02 + 0.9 / i**0.7 + 0.02 * noise.random() / weight
            parts = {"mean": loss, "by_t": [loss / 8, loss / 4, loss / 2, loss * 2]}
            gate = {"mean": 0.5, "by_t": [0.1, 0.3, 0.6, 0.9],
                    "histogram": [[int(99 * 0.5 ** abs(bin - peak)) for bin in range(20)] for peak in (2, 6, 12, 18)]}
            log.write(json.dumps({
                "images": 1000 * i, "step": i, "seconds": 3.5 * i, "learning_rate": 1e-3 * (1 - i / lines),
                "images_per_second": 285 + noise.random(), "threads": 2,
                "loss": {"eps": parts, "x0": parts, "mu": parts, "metric.l1": parts},
                "statistic": {"gate": gate, "error.x0": parts}, "grad_norm": {"theta": loss, "phi": loss / 3}}) + "\n")
    pictures = [base64.b64encode(png(16, f"{name}{seed}near{i}")).decode() for i in range(4)]
    images = [{"index": i, "image": pictures[0], "nearest": [
        {"index": 1000 * k, "distance": 12.3456 * k, "image": pictures[k]} for k in (1, 2, 3)]} for i in range(8)]
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "nearest-0.json").write_text(json.dumps({
        "what": "nearest", "checkpoint_images": 1000 * lines, "judge": HOSTILE, "feature": "pooled", "reference": HOSTILE,
        "reference_num": 1419, "between_reference": 9.5, "images": images}), encoding="utf-8")
    for i in range(1, 5):
        (folder / "samples" / f"{250 * i * lines}.png").write_bytes(png(96, f"{name}{seed}{i}"))


def make_sweep(folder, arms):
    cells = []
    for i, name in enumerate(arms):
        for seed in (0, 1, 2):
            cells.append({"name": f"arm{i}-s{seed}", "arm": i, "seed": seed})
            make_run(folder / cells[-1]["name"], name, seed, 1 + i, 40)
            if i > 0:  # the other arms lack one grid each
                (folder / cells[-1]["name"] / "samples" / f"{50000 - 20000 * i}.png").unlink()
    cells.append({"name": "lost", "arm": 1, "seed": 3})
    (folder / "cells").mkdir()
    (folder / "cells" / "lost.json").write_text(json.dumps({"problem": HOSTILE}), encoding="utf-8")
    plan = {"format": 1, "name": "a study " + HOSTILE, "cells": cells,
            "arms": [{"name": name, "baseline": 0} for name in arms]}
    (folder / "sweep.json").write_text(json.dumps(plan), encoding="utf-8")


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # Chromium may still write
        root = Path(cls.folder.name)
        make_run(root / "run", "one run " + HOSTILE, 0, 1, 300)
        make_sweep(root / "sweep", ["casdm", "casdm_with_a_long_name_without_a_space", "ssim " + HOSTILE])
        cls.pages = {}
        for name in ("run", "sweep"):
            subprocess.run([PROGRAM, "report", str(root / name)], check=True, capture_output=True, timeout=60)
            cls.pages[name] = (root / name / "report.html").as_uri()
        cls.browser = Browser(CHROMIUM, str(root / "profile"), PICTURES)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.folder.cleanup()

    def test_a_report_fits_phones_and_desks_in_light_and_dark_without_a_complaint(self):
        for name, page in self.pages.items():
            grounds = set()
            for width in (360, 1440):
                for scheme in ("light", "dark"):
                    with self.subTest(f"{name} at {width} px, {scheme}"):
                        self.browser.open(page, width, scheme)
                        self.assertEqual(self.browser.value("document.documentElement.clientWidth"), width)
                        self.assertEqual(self.browser.value(OVERFLOW + "('.scroll, pre, svg')"), [])
                        self.assertEqual(self.browser.complaints(), [])
                        grounds.add(self.browser.value("getComputedStyle(document.body).backgroundColor"))
                        self.browser.picture(f"{name}-{width}-{scheme}")
            self.assertEqual(len(grounds), 2)

    def test_nothing_that_a_file_or_a_name_says_is_run(self):
        for page in self.pages.values():
            self.browser.open(page, 1440, "light")
            self.assertIsNone(self.browser.value("window.hurt"))
            self.assertEqual(self.browser.value("document.querySelectorAll('script').length"), 1)

    def test_every_plot_is_drawn_and_has_words_a_table_and_boxes(self):
        for page in self.pages.values():
            self.browser.open(page, 1440, "light")
            plots = self.browser.value("""[...document.querySelectorAll("figure.plot")].map((plot) => [
                plot.querySelectorAll(":scope > svg .curve polyline").length,
                plot.querySelector(":scope > svg").getBoundingClientRect().height,
                plot.querySelector(":scope > svg").getAttribute("aria-label").length,
                plot.querySelectorAll("details tbody tr").length])""")
            self.assertGreater(len(plots), 8)
            for curves, height, words, rows in plots:
                self.assertGreater(min(curves, height, words - 20, rows - 1), 0)
            self.assertFalse(self.browser.value("[...document.querySelectorAll('svg')].some((svg) => /nan/i.test(svg.innerHTML))"))
            pictures = self.browser.value("document.querySelectorAll('.neighbours img').length")
            self.assertEqual(pictures, 8 * 4 * (3 if "sweep" in page else 1))
            labels = self.browser.value("[...document.images].every((image) => image.alt.length > 10)")
            self.assertTrue(labels)

    def test_the_keyboard_moves_the_samples_hides_curves_and_opens_tables(self):
        browser = self.browser
        browser.open(self.pages["sweep"], 1440, "light")
        shown = "[...document.querySelectorAll('.samples img')].filter((i) => !i.hidden).map((i) => i.dataset.images)"
        self.assertEqual(browser.value(shown), ["40000"] * 3)
        browser.value("document.querySelector('input[type=range]').focus()")
        browser.press("ArrowLeft", 37)
        labels = "[...document.querySelectorAll('.samples figcaption small')].map((label) => label.textContent)"
        self.assertEqual(browser.value(shown), ["30000", "20000", "30000"])
        self.assertEqual(browser.value(labels), ["", "after 20,000 images", ""])
        self.assertEqual(browser.value("document.querySelector('output').textContent"), "30,000")
        browser.press("Home", 36)
        self.assertEqual(browser.value(shown), ["10000"] * 2)
        self.assertEqual(browser.value(labels), ["", "", "no grid yet"])
        browser.press("End", 35)
        browser.value("document.querySelector('[data-shows]').focus()")
        browser.press(" ", 32)
        hidden = "getComputedStyle(document.querySelector('figure.plot > svg .curve')).display"
        self.assertEqual(browser.value(hidden), "none")
        browser.value("document.querySelector('figure.plot summary').focus()")
        browser.press("Enter", 13)
        browser.call("Input.dispatchKeyEvent", type="char", text="\r")
        self.assertTrue(browser.value("document.querySelector('figure.plot details').open"))
        browser.value("{ const s = document.querySelector('select'); s.value = '2'; "
                      "s.dispatchEvent(new Event('input')); }")
        seeds = "[...document.querySelectorAll('.samples img')].filter((i) => !i.hidden).map((i) => i.dataset.seed)"
        self.assertEqual(browser.value(seeds), ["2"] * 3)
        self.assertEqual(browser.complaints(), [])

    def test_a_report_prints(self):
        for page in self.pages.values():
            self.browser.open(page, 1440, "light")
            pdf = base64.b64decode(self.browser.call("Page.printToPDF", printBackground=True)["data"])
            self.assertTrue(pdf.startswith(b"%PDF"))
            self.browser.call("Emulation.setEmulatedMedia", media="print", features=[])
            self.assertEqual(self.browser.value("document.querySelector('nav').getClientRects().length"), 0)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv[1])
    if len(sys.argv) > 2:
        PICTURES = Path(sys.argv[2])
        PICTURES.mkdir(parents=True, exist_ok=True)
    CHROMIUM = chromium()
    if not CHROMIUM:
        print("SKIPPED: there is no Chromium (Debian: chromium)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
