"""What comparison.py takes for the same, and what not."""

import hashlib
import json
import pathlib
import tempfile
import unittest

from comparison import difference


def sum_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


def page_of(text, digest):
    return f"{text}<!-- sha256 of all before this: {digest} -->\n"


class Comparison(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.sides = [pathlib.Path(scratch.name) / side for side in ("expected", "actual")]
        for side in self.sides:
            side.mkdir()

    def found(self, *files):
        """The difference of two folders that hold {name: content}."""
        for side, content in zip(self.sides, files):
            for name, text in content.items():
                (side / name).write_text(text)
        return difference(*self.sides)

    def check_checksums(self, holder, with_sums):
        """`with_sums(time, right)`: files with another time and a checksum that is right, or is not."""
        self.assertEqual(self.found(with_sums(1, True), with_sums(2, True)), "")
        for left, right in ((False, False), (True, False), (False, True)):
            self.assertIn(f"{holder} has a wrong checksum", self.found(with_sums(1, left), with_sums(2, right)))

    def test_checksums_may_differ_with_the_time_but_must_be_right_on_both_sides(self):
        def with_sums(time, is_right):
            text = json.dumps({"loss": 1, "seconds": time})
            return {"log.json": text, "log.json.sha256": sum_of(text if is_right else f"{time}") + "  log.json\n"}

        self.check_checksums("log.json.sha256", with_sums)

    def test_so_must_those_of_tables_of_results(self):
        def with_sums(time, is_right):
            text = f"name,seconds\na,{time}\n"
            return {"runs.csv": text, ".results.json": json.dumps({"runs.csv": sum_of(text if is_right else f"{time}")})}

        self.check_checksums(".results.json", with_sums)

    def test_so_must_that_at_the_end_of_a_page(self):
        def with_sums(time, is_right):
            return {"report.html": page_of(f"<p>{time}</p>", sum_of(f"<p>{time}</p>" if is_right else f"{time}"))}

        self.check_checksums("report.html", with_sums)

    def test_other_content_is_a_difference(self):
        self.assertEqual(self.found({"a.txt": "1\n2"}, {"a.txt": "1\n3"}), "a.txt differs, line 2: '3' for '2'")
        self.assertEqual(self.found({"b.txt": "1"}, {}), "missing b.txt")


if __name__ == "__main__":
    unittest.main()
