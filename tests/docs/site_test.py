"""The documentation's site in headless Chromium: all pages fit the screens of a phone and a desktop, some of them also in
dark mode, no page requests anything from elsewhere, the search finds a component, the menu offers the versions.

usage: site_test.py FOLDER [PICTURES]

FOLDER is what tools/site.sh has built. Screenshots are written into PICTURES. Needs Chromium (Debian: chromium).
"""

import functools
import http.server
import json
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from browser import OVERFLOW, Browser, chromium  # noqa: E402

FOLDER = Path()
PICTURES = None
# Boxes of the theme and of Doxygen that scroll on their own, or that stay beside the page until they are opened.
BOXES = ".md-typeset__scrollwrap, pre, svg, .md-sidebar, .md-search, .memproto, .fragment"
GROUND = "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).filter"
SEEN = {"home": "index.html", "gallery": "docs/gallery.html", "metrics": "docs/interfaces/metric_loss.html",
        "testing": "docs/testing.html", "reference": "docs/reference/experiment.html", "sdk": "sdk/index.html",
        "sdk-class": "sdk/classcasdm_1_1MetricLoss.html"}


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Site(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # Chromium may still write
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=FOLDER))
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.home = f"http://127.0.0.1:{cls.server.server_port}/"
        cls.versions = json.loads((FOLDER / "versions.json").read_text(encoding="utf-8"))
        cls.latest = cls.versions[0]["version"]
        cls.browser = Browser(chromium(), cls.profile.name, PICTURES)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.server.shutdown()
        cls.server.server_close()
        cls.profile.cleanup()

    def open(self, page, width, scheme="light"):
        self.browser.open(f"{self.home}{self.latest}/{page}", width, scheme)

    def wait_for(self, expression):
        """The value of the expression, as soon as it is true."""
        end = time.monotonic() + 60
        while not (found := self.browser.value(expression)):
            self.assertLess(time.monotonic(), end, f"never true: {expression}")
            time.sleep(0.1)
        return found

    def expect_fit(self, width):
        self.assertEqual(self.browser.value("document.documentElement.clientWidth"), width)
        self.assertEqual(self.browser.value(f"{OVERFLOW}({json.dumps(BOXES)})"), [])
        self.assertEqual(self.browser.complaints(self.home), [])

    def test_every_page_fits_a_phone_and_a_desk_without_a_complaint(self):
        pages = [page for page in sorted((FOLDER / self.latest).rglob("*.html"))
                 if "sdk" not in page.relative_to(FOLDER).parts and page.name != "404.html"]
        self.assertGreater(len(pages), 60)
        for page in pages:
            for width in (390, 1440):
                with self.subTest(f"{page.relative_to(FOLDER)} at {width} px"):
                    self.open(page.relative_to(FOLDER / self.latest), width)
                    self.expect_fit(width)

    def test_pages_of_every_kind_can_be_read_in_light_and_dark(self):
        for name, page in SEEN.items():
            grounds = set()
            for width in (390, 1440):
                for scheme in ("light", "dark"):
                    with self.subTest(f"{name} at {width} px, {scheme}"):
                        self.open(page, width, scheme)
                        self.expect_fit(width)
                        grounds.add(self.browser.value(GROUND))
                        self.browser.picture(f"{name}-{width}-{scheme}", whole=False)
            self.assertEqual(len(grounds), 2, name)

    def test_every_picture_is_shown(self):
        self.open("docs/gallery.html", 1440)
        sizes = self.browser.value("[...document.querySelectorAll('article img')].map((i) => i.naturalWidth)")
        self.assertGreater(len(sizes), 5)
        self.assertGreater(min(sizes), 0)

    def test_the_search_finds_a_metric(self):
        self.open("index.html", 1440)
        self.browser.value("document.querySelector('[data-md-component=search-query]').focus()")
        self.browser.call("Input.insertText", text="st_lpips")
        self.browser.press("Shift", 16)
        found = self.wait_for("""[...document.querySelectorAll(".md-search-result__link")].map((a) => a.href)""")
        self.assertTrue(any("docs/interfaces/metric_loss.html" in link for link in found), found)
        self.browser.picture("search-1440-light", whole=False)
        self.assertEqual(self.browser.complaints(self.home), [])

    def test_the_menu_of_versions_offers_what_is_there(self):
        self.open("docs/testing.html", 1440)
        titles = self.wait_for("[...document.querySelectorAll('.md-version__link')].map((a) => a.textContent.trim())")
        self.assertEqual(titles, [version["title"] for version in self.versions])
        self.assertEqual(self.browser.value("document.querySelector('.md-version__current').textContent.trim()"), self.latest)

    def test_the_first_page_leads_to_the_latest_version(self):
        self.browser.open(self.home, 1440, "light")
        self.wait_for(f"location.href === '{self.home}latest/index.html' && document.readyState === 'complete'")
        self.assertEqual(self.browser.value("document.querySelector('h1').firstChild.textContent"), "casdm")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not (Path(sys.argv[1]) / "versions.json").exists():
        sys.exit(__doc__.strip())
    FOLDER = Path(sys.argv[1]).resolve()
    if len(sys.argv) > 2:
        PICTURES = Path(sys.argv[2])
        PICTURES.mkdir(parents=True, exist_ok=True)
    if not chromium():
        sys.exit("site_test: there is no Chromium (Debian: chromium)")
    unittest.main(argv=sys.argv[:1])
