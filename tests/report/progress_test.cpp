#include <doctest/doctest.h>

#include <string>

#include "casdm/error.h"
#include "casdm/value.h"
#include "framework/reporting/progress.h"

using namespace casdm;

namespace {

const ProgressState kState{"training", "images", 250, 1000, 12.5, "loss 0.12"};

}  // namespace

TEST_CASE("progress as a line of text says what, how far, how fast and how long") {
  CHECK(progress_line(kState, ProgressStyle::lines, 80) ==
        "training  25%  250/1000 images  12.5 images/s  1m00s left  loss 0.12");
  CHECK(progress_line({"training", "images", 0, 1000, 0, ""}, ProgressStyle::lines, 80) ==
        "training   0%  0/1000 images");
}

TEST_CASE(
    "a bar is never wider than the terminal, and leaves out the bar, the note and the count before time and rate") {
  const std::string wide = progress_line(kState, ProgressStyle::bar, 200);
  CHECK(wide.starts_with("training [######..................]  25%  250/1000 images"));
  for (std::size_t columns = 1; columns < wide.size(); ++columns) {
    const std::string line = progress_line(kState, ProgressStyle::bar, columns);
    CAPTURE(columns);
    CHECK(line.size() <= columns);
    const bool has_room = columns >= std::string("training  25%  250/1000 images  12.5 images/s  1m00s left").size();
    CHECK(std::string(has_room ? "training  25%  250/1000 images  12.5 images/s  1m00s left  loss 0.12"
                               : "training  25%  1m00s left  12.5 images/s")
              .starts_with(line));
  }
  CHECK(progress_line({"training", "images", 0, 10, 0, "ééé"}, ProgressStyle::bar, 30).ends_with("images  éé"));
}

TEST_CASE("progress as JSON is an object a line that a program reads, with numbers that are known alone") {
  const Value line = from_json(progress_line(kState, ProgressStyle::json, 10));
  CHECK(line.find("progress")->as_string() == "training");
  CHECK(line.find("done")->as_integer() == 250);
  CHECK(line.find("total")->as_integer() == 1000);
  CHECK(line.find("rate")->as_number() == 12.5);
  CHECK(line.find("seconds_left")->as_number() == 60);
  CHECK(line.find("note")->as_string() == "loss 0.12");
  const std::string first = progress_line({"training", "images", 0, 10, 0, ""}, ProgressStyle::json, 10);
  CHECK(first == R"({"progress":"training","done":0,"total":10,"unit":"images"})");
}

TEST_CASE("a style of progress that does not exist is refused with those that do") {
  CHECK(progress_style("json") == ProgressStyle::json);
  std::string message;
  try {
    progress_style("xml");
  } catch (const ConfigError& error) {
    message = error.what();
  }
  CHECK(message == "--progress \"xml\" (or CASDM_PROGRESS) is not one of: auto, bar, lines, json, none");
}
