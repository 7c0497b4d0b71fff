#include "framework/loading/trusted_path.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("every folder above a library is checked") {
  const TemporaryFolder place;
  const fs::path folder = fs::canonical(place.path());
  fs::create_directories(folder / "a/b/c");
  write_file(folder / "a/b/c/x.so", "");
  const fs::path library = folder / "a/b/c/x.so";
  CHECK(distrust(library).empty());
  for (const char* above : {"a/b/c", "a/b", "a"}) {
    ::chmod((folder / above).c_str(), 0777);
    CHECK(distrust(library) ==
          "is in the folder " + (folder / above).string() + ", which can be changed by every user; chmod o-w it");
    ::chmod((folder / above).c_str(), 01777);  // like /tmp: our own files stay ours
    CHECK(distrust(library).empty());
    ::chmod((folder / above).c_str(), 0755);
  }
  ::chmod(library.c_str(), 0666);
  CHECK(distrust(library) == "can be changed by every user; chmod o-w it");
}

TEST_CASE("a folder of another user above a library is refused") {
  if (::geteuid() != 0) return;
  const TemporaryFolder place;
  const fs::path folder = fs::canonical(place.path());
  fs::create_directories(folder / "a/b");
  write_file(folder / "a/b/x.so", "");
  REQUIRE(::chown((folder / "a").c_str(), 1234, 1234) == 0);
  CHECK(distrust(folder / "a/b/x.so").find("belongs to another user (uid 1234)") != std::string::npos);
}

TEST_CASE("permission is remembered by path and content") {
  const TemporaryFolder place;
  ::setenv("XDG_STATE_HOME", place.path().c_str(), 1);
  const fs::path x = place.path() / "x.so", y = place.path() / "y.so";
  write_file(x, "one");
  write_file(y, "one");
  CHECK(objection_to(x) == "has not been allowed to run");
  allow(x);
  CHECK(objection_to(x).empty());
  CHECK(objection_to(y) == "has not been allowed to run");
  allow(y);
  write_file(x, "two");
  CHECK(objection_to(x) == "is not the file that you allowed: it was rebuilt or replaced");
  allow(x);
  CHECK(objection_to(x).empty());
  CHECK(objection_to(y).empty());
  write_file(x, "one");  // the last one that was allowed
  CHECK_FALSE(objection_to(x).empty());
}

TEST_CASE("an older or damaged list of allowed paths allows nothing, and its entries can be allowed again") {
  const TemporaryFolder place;
  ::setenv("XDG_STATE_HOME", place.path().c_str(), 1);
  const fs::path x = place.path() / "x.so", y = place.path() / "y.so",
                 list = place.path() / "casdm/trusted_plugins.json";
  write_file(x, "one");
  write_file(y, "one");
  fs::create_directory(list.parent_path());
  write_file(list, text("[", quoted(x.string()), ", ", quoted(y.string()), ", 3, {}, {\"path\": 3}]"));
  CHECK(objection_to(x) == "was allowed by an earlier casdm, which did not remember the file, only its path");
  allow(x);
  CHECK(objection_to(x).empty());
  CHECK(objection_to(y).starts_with("was allowed by an earlier casdm"));
  write_file(list, text("[{\"path\": ", quoted(x.string())));
  CHECK(objection_to(x) == "has not been allowed to run");
}
