#include "framework/loading/trusted_path.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("every folder above a library is looked at") {
  const TemporaryFolder place;
  const fs::path folder = fs::canonical(place.path());
  fs::create_directories(folder / "a/b/c");
  write_file(folder / "a/b/c/x.so", "");
  const fs::path library = folder / "a/b/c/x.so";
  CHECK(distrust(library).empty());
  for (const char* above : {"a/b/c", "a/b", "a"}) {
    ::chmod((folder / above).c_str(), 0777);
    CHECK(distrust(library) ==
          "lies in the folder " + (folder / above).string() + ", which can be changed by every user; chmod o-w it");
    ::chmod((folder / above).c_str(), 01777);  // as /tmp: what is ours stays ours
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

TEST_CASE("what was allowed is remembered by its path") {
  const TemporaryFolder place;
  ::setenv("XDG_STATE_HOME", place.path().c_str(), 1);
  CHECK_FALSE(is_allowed("/a/x.so"));
  allow("/a/x.so");
  allow("/b/y.so");
  CHECK(is_allowed("/a/x.so"));
  CHECK(is_allowed("/b/y.so"));
  CHECK_FALSE(is_allowed("/a/y.so"));
  write_file(place.path() / "casdm/trusted_plugins.json", "[\"/a/x.so\"");
  CHECK_FALSE(is_allowed("/a/x.so"));
}
