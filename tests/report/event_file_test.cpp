#include "framework/reporting/event_file.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "config/support.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::uint32_t number_at(const std::string& bytes, std::size_t place) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + place, 4);
  return value;
}

std::vector<std::filesystem::path> files() {
  std::vector<std::filesystem::path> result;
  for (const auto& entry : std::filesystem::directory_iterator(".")) result.push_back(entry.path().filename());
  return result;
}

}  // namespace

TEST_CASE("a record has its length and data with TensorFlow's masked CRC-32C") {
  // CRC-32C of "123456789" is e3069283 (RFC 3720, appendix B.4, gives its relatives); masked: rotated right by 15 bits,
  // plus a282ead8.
  const std::string record = event_record("123456789");
  REQUIRE(record.size() == 8 + 4 + 9 + 4);
  CHECK(record.substr(0, 8) == std::string("\x09\0\0\0\0\0\0\0", 8));
  CHECK(record.substr(12, 9) == "123456789");
  const std::uint32_t crc = 0xE3069283U;
  CHECK(number_at(record, 21) == ((crc >> 15 | crc << 17) + 0xA282EAD8U));
  CHECK(event_record("").size() == 16);
  CHECK(number_at(event_record(""), 12) == 0xA282EAD8U);  // the CRC of nothing is 0
}

TEST_CASE("an event file marks the steps of earlier files as void, also if the run starts over from nothing") {
  const TemporaryFolder folder;
  const std::string start("\x3a\x02\x08\x01", 4);  // field 7 of an event, a session whose status is "start"
  const auto written = [](std::int64_t resumed_at) {
    EventFile(".", resumed_at, "[run]\n").add_line(from_json(R"({"images":8,"learning_rate":0.5})"));
    for (const auto& file : files()) {
      if (file.string().ends_with(".1")) continue;
      const std::string content = read_file(file);
      std::filesystem::rename(file, "events.out.tfevents." + std::to_string(files().size()) + ".host.1");
      return content;
    }
    return std::string();
  };
  CHECK(written(0).find(start) == std::string::npos);
  CHECK(written(0).find(start) != std::string::npos);
  CHECK(written(4).find(start) != std::string::npos);
}

TEST_CASE("an event file comes after the earlier ones in the order of names, also if the clock was set back") {
  const TemporaryFolder folder;
  const auto write = [] { EventFile(".", 8, "[run]\n").add_line(from_json(R"({"images":8,"learning_rate":0.5})")); };
  write();
  std::filesystem::rename(files().front(), "events.out.tfevents.4000000000.host.1");
  write();
  REQUIRE(files().size() == 2);
  const auto newest = std::max(files().front().string(), files().back().string());
  CHECK_MESSAGE(newest.starts_with("events.out.tfevents.4000000001."), newest);
}

TEST_CASE("an event file appears with its first event and belongs to its run") {
  const TemporaryFolder folder;
  EventFile events(".", 0, "[run]\n");
  CHECK(files().empty());
  events.add_line(from_json(R"({"images":8,"loss":{"eps":{"mean":0.5,"by_t":[null,1.0]}}})"));
  REQUIRE(files().size() == 1);
  CHECK(files().front().string().starts_with("events.out.tfevents."));
  CHECK(is_of_run(files().front().string()));
  const std::string content = read_file(files().front());
  CHECK(content.find("loss/eps/by_t/2") != std::string::npos);
  CHECK(content.find("brain.Event:2") != std::string::npos);
}
