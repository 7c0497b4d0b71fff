#include "framework/loading/load_record.h"

#include <doctest/doctest.h>

#include <thread>

#include "casdm/text.h"
#include "framework/loading/trusted_path.h"
#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr int kWriters = 4;
constexpr int kEntries = 25;

/// Calls `write` with the name of every entry, each writer in a thread of its own.
template <class Write>
void at_once(Write write) {
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&write, writer] {
      for (int entry = 0; entry < kEntries; ++entry) write(text(writer, "-", entry));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

template <class IsThere>
int count(IsThere is_there) {
  int result = 0;
  for (int writer = 0; writer < kWriters; ++writer) {
    for (int entry = 0; entry < kEntries; ++entry) result += is_there(text(writer, "-", entry));
  }
  return result;
}

}  // namespace

TEST_CASE("what programs record about a library at the same time is all kept") {
  const TemporaryFolder place;
  ::setenv("XDG_STATE_HOME", place.path().c_str(), 1);
  at_once([](const std::string& name) { LoadRecord("abc").add_good({name}); });
  CHECK(count([](const std::string& name) { return LoadRecord("abc").is_good(name); }) == kWriters * kEntries);
  ::unsetenv("XDG_STATE_HOME");
}

TEST_CASE("libraries that programs are allowed to load at the same time are all remembered") {
  const TemporaryFolder place;
  ::setenv("XDG_STATE_HOME", place.path().c_str(), 1);
  const auto library = [&](const std::string& name) { return place.path() / (name + ".so"); };
  at_once([&](const std::string& name) {
    write_file(library(name), name);
    allow(library(name));
  });
  CHECK(count([&](const std::string& name) { return objection_to(library(name)).empty(); }) == kWriters * kEntries);
  ::unsetenv("XDG_STATE_HOME");
}
