#include "framework/data/reading_record.h"

#include <doctest/doctest.h>

#include "framework/reporting/progress.h"
#include "support/captured.h"

using namespace casdm;
using casdm::testing::stderr_of;

using Lines = std::vector<std::string>;

TEST_CASE("images that are left out are named once and counted by reason, whatever their names") {
  ReadingRecord record(100);
  CHECK(record.take_summary().empty());
  record.leave_out(3, "a/3.jpg", "a/3.jpg cannot be decoded: the file ends too early");
  record.leave_out(3, "a/3.jpg", "a/3.jpg cannot be decoded: the file ends too early");
  record.leave_out(5, "a/5.jpg", "mine/folder: a/5.jpg cannot be decoded: the file ends too early");
  record.leave_out(7, "a/7.jpg", "a/7.jpg: there is not enough memory");
  record.leave_out(8, "number 8", "a lamp is broken");
  CHECK(record.is_unreadable(5));
  CHECK_FALSE(record.is_unreadable(6));
  CHECK(record.take_warnings() ==
        Lines{"skipped an image: a/3.jpg cannot be decoded: the file ends too early",
              "skipped an image: mine/folder: a/5.jpg cannot be decoded: the file ends too early",
              "skipped an image: a/7.jpg: there is not enough memory", "skipped an image: a lamp is broken"});
  CHECK(record.take_warnings().empty());
  CHECK(record.take_summary() ==
        Lines{"left out 4 of 100 images: 1 a lamp is broken; 2 cannot be decoded: the file ends too early; 1 there is "
              "not enough memory"});
  CHECK(record.take_summary().empty());
}

TEST_CASE("remarks count images, not reads, and are reported when they change") {
  ReadingRecord record(9);
  for (const std::int64_t index : {4, 2, 4}) record.remark(index, "are upside down");
  CHECK(record.take_summary() == Lines{"2 of 9 images are upside down"});
  record.remark(2, "are upside down");
  CHECK(record.take_summary().empty());
  record.remark(1, "are upside down");
  CHECK(record.take_summary() == Lines{"3 of 9 images are upside down"});
}

TEST_CASE("a process that reads a share of the images counts what it has read, not what the data set has") {
  ReadingRecord record(9, /*is_share=*/true);
  record.leave_out(3, "a/3.jpg", "a/3.jpg cannot be decoded");
  for (const std::int64_t index : {4, 2}) record.remark(index, "are upside down");
  CHECK(record.take_summary() == Lines{"left out 1 of the images that this process has read: 1 cannot be decoded",
                                       "2 of the images that this process has read are upside down"});
}

TEST_CASE("a plugin's messages about images cannot move the cursor, change colours or forge a line") {
  ReadingRecord record(2);
  record.remark(0, "are \x1b[31mred\nevaluated before: nothing");
  const std::string said = stderr_of([&] {
    Progress progress("reading", 2, "images");
    for (const std::string& line : record.take_summary()) progress.say(line);
    progress.update(1, "a\rb");
  });
  CHECK(said.find('\x1b') == std::string::npos);
  CHECK(said.find("1 of 2 images are ") != std::string::npos);
  CHECK(said.find("\nevaluated before") == std::string::npos);
}
