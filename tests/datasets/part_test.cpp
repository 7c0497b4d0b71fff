#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "casdm/error.h"
#include "image_makers.h"
#include "lmdb_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

constexpr int kImages = 200;

std::shared_ptr<Dataset> open_part(const std::string& type, const fs::path& path, const std::string& more) {
  return make<Dataset>(type, "path = \"" + path.string() + "\"\n" + more, {ImageShape::square(3, 2)});
}

NamedBytes images() {
  NamedBytes members;
  for (int i = 0; i < kImages; ++i) {
    members.emplace_back("img" + std::to_string(1000 + i) + ".png",
                         png_of(plain(2, 2, {static_cast<std::uint8_t>(i), 0, 0})));
  }
  return members;
}

/// Identifies the images of a data set.
std::set<int> colours(const Dataset& data) {
  std::set<int> found;
  for (std::int64_t i = 0; i < data.size(); ++i) found.insert(data.get(i).image.pixels.front());
  return found;
}

bool is_within(const std::set<int>& small, const std::set<int>& large) {
  return std::includes(large.begin(), large.end(), small.begin(), small.end());
}

}  // namespace

TEST_CASE("the training and test parts share no image and together are the whole, wherever the data are") {
  const TemporaryFolder folder;
  for (const auto& [name, bytes] : images()) write_bytes(folder.path() / "all" / name, bytes);
  write_zip(folder.path() / "all.zip", images());
  const auto train = open_part("zip", folder.path() / "all.zip", "split = \"train\"\ntest_fraction = 0.25");
  const auto test = open_part("zip", folder.path() / "all.zip", "split = \"test\"\ntest_fraction = 0.25");
  CHECK(train->size() == 150);
  CHECK(test->size() == 50);
  std::set<int> both = colours(*train);
  both.merge(colours(*test));
  CHECK(both.size() == kImages);
  CHECK(train->left_out() == "50 of 200 images are not used (split = \"train\")");
  // Neither only the first nor only the last ones.
  CHECK(*colours(*test).begin() < 50);
  CHECK(*colours(*test).rbegin() >= 150);
  const auto moved = open_part("folder", folder.path() / "all", "split = \"test\"\ntest_fraction = 0.25");
  CHECK(colours(*moved) == colours(*test));
  CHECK(moved->describe(0) ==
        (folder.path() / "all" / test->describe(0).substr(test->describe(0).rfind(':') + 1)).string());
}

TEST_CASE("an image is in the same part in a folder, in a zip and in a zip with a folder around everything") {
  const TemporaryFolder folder;
  NamedBytes below;
  for (const auto& [name, bytes] : images()) {
    const std::string inner = (below.size() % 2 == 0 ? "a/" : "b/") + name;
    write_bytes(folder.path() / "all" / inner, bytes);
    below.emplace_back(inner, bytes);
  }
  write_zip(folder.path() / "all.zip", below);
  for (auto& [name, bytes] : below) name.insert(0, "set/v1/");
  write_zip(folder.path() / "around.zip", below);
  for (const std::string part : {"split = \"test\"", "fraction = 0.3"}) {
    const std::set<int> expected = colours(*open_part("folder", folder.path() / "all", part));
    CHECK(colours(*open_part("zip", folder.path() / "all.zip", part)) == expected);
    CHECK(colours(*open_part("zip", folder.path() / "around.zip", part)) == expected);
    CHECK(colours(*open_part("folder", folder.path(), part)) == expected);
  }
}

TEST_CASE("images that are added in another folder do not move the others between the parts") {
  const TemporaryFolder folder;
  for (const auto& [name, bytes] : images()) write_bytes(folder.path() / "first" / name, bytes);
  const auto test_part = [&] { return colours(*open_part("folder", folder.path(), "split = \"test\"")); };
  const std::set<int> before = test_part();
  const auto add = [&](const std::string& name) {
    write_bytes(folder.path() / "second" / (name + ".png"), png_of(plain(2, 2, {255, 0, 0})));
  };
  for (const char* name : {"w", "x", "y", "z"}) add(name);
  std::set<int> after = test_part();  // 20 of 204: those of before, except where a new image takes a place
  after.erase(255);
  CHECK(after.size() >= 16);
  CHECK(is_within(after, before));
}

TEST_CASE("images of one name in two folders are told apart by their folders") {
  const TemporaryFolder folder;
  for (const auto& [name, bytes] : images()) write_bytes(folder.path() / "first" / name, bytes);
  for (int i = 0; i < 50; ++i) {
    write_bytes(folder.path() / "second" / ("img" + std::to_string(1000 + i) + ".png"),
                png_of(plain(2, 2, {static_cast<std::uint8_t>(200 + i), 0, 0})));
  }
  const std::set<int> test = colours(*open_part("folder", folder.path(), "split = \"test\"")),
                      train = colours(*open_part("folder", folder.path(), "split = \"train\""));
  CHECK(test.size() == 25);
  CHECK(train.size() == 225);
  int apart = 0;  // pairs of one name of which one image is in each part
  for (int i = 0; i < 50; ++i) apart += test.contains(i) != test.contains(200 + i) ? 1 : 0;
  CHECK(apart > 0);
}

TEST_CASE("the parts of an LMDB follow from whole keys, however long their common prefix is") {
  const TemporaryFolder folder;
  NamedBytes entries = images();
  for (auto& [key, bytes] : entries) key.insert(0, std::string(200, 'k'));
  write_lmdb(folder.path() / "set_lmdb", entries);
  const std::set<int> test = colours(*open_part("lmdb", folder.path() / "set_lmdb", "split = \"test\""));
  CHECK(test.size() == 20);
  CHECK(*test.rbegin() >= 100);
  CHECK(*test.begin() < 100);
}

TEST_CASE("a fraction of all images shares none with the test part") {
  const TemporaryFolder folder;
  const NamedBytes all = images();
  write_zip(folder.path() / "all.zip", all);
  const auto opened = [&](const std::string& more) {
    return colours(*open_part("zip", folder.path() / "all.zip", more));
  };
  const std::set<int> train = opened("split = \"train\"\ntest_fraction = 0.25");
  for (const char* fraction : {"0.1", "0.5", "0.75"}) {
    CHECK(is_within(opened(std::string("fraction = ") + fraction), train));
  }
  write_zip(folder.path() / "odd.zip", NamedBytes(all.begin(), all.begin() + 5));
  const auto half = open_part("zip", folder.path() / "odd.zip", "fraction = 0.5");
  const auto test = open_part("zip", folder.path() / "odd.zip", "split = \"test\"\ntest_fraction = 0.5");
  CHECK(half->size() + test->size() == 5);
  // 0.55 * 90 is above 49.5 by rounding, and 0.45 * 90 is 40.5.
  write_zip(folder.path() / "ninety.zip", NamedBytes(all.begin(), all.begin() + 90));
  const auto most = open_part("zip", folder.path() / "ninety.zip", "fraction = 0.55");
  const auto rest = open_part("zip", folder.path() / "ninety.zip", "split = \"test\"\ntest_fraction = 0.45");
  CHECK(most->size() == 49);
  CHECK(rest->size() == 41);
}

TEST_CASE("a smaller fraction is contained in a larger one, and in its part") {
  const TemporaryFolder folder;
  write_zip(folder.path() / "all.zip", images());
  const auto opened = [&](const std::string& more) {
    return colours(*open_part("zip", folder.path() / "all.zip", more));
  };
  CHECK(opened("fraction = 0.1").size() == 20);
  CHECK(opened("fraction = 1e-9").size() == 1);
  CHECK(is_within(opened("fraction = 0.1"), opened("fraction = 0.5")));
  for (const std::string split : {"split = \"train\"", "split = \"test\""}) {
    CHECK(is_within(opened("fraction = 0.1\n" + split), opened("fraction = 0.5\n" + split)));
    CHECK(is_within(opened("fraction = 0.5\n" + split), opened(split)));
  }
  CHECK(open_part("zip", folder.path() / "all.zip", "fraction = 0.1\nsplit = \"train\"")->left_out() ==
        "182 of 200 images are not used (split = \"train\", fraction = 0.1)");
}

TEST_CASE("an empty part is refused") {
  const TemporaryFolder folder;
  write_zip(folder.path() / "all.zip", {{"a.png", png_of(plain(2, 2, {1, 2, 3}))}});
  CHECK(open_part("zip", folder.path() / "all.zip", "split = \"train\"")->size() == 1);
  const std::string message =
      message_of<ConfigError>([&] { open_part("zip", folder.path() / "all.zip", "split = \"test\""); });
  CHECK_MESSAGE(message.find("split = \"test\" with test_fraction = 0.1 has none of the 1 images") != std::string::npos,
                message);
}
