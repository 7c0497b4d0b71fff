#include <doctest/doctest.h>

#include <chrono>

#include "casdm/error.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<Dataset> open_shards(const fs::path& path, const std::string& more = "") {
  return make<Dataset>("shards", "path = \"" + path.string() + "\"\n" + more, {ImageShape::square(3, 4)});
}

std::string shards_complaint(const fs::path& path, const std::string& more = "") {
  return message_of<Error>([&] { open_shards(path, more); });
}

Bytes image(int grey) {
  const auto value = static_cast<std::uint8_t>(grey);
  return png_of(plain(4, 4, {value, value, value}));
}

NamedBytes sample(const std::string& stem, int grey, const std::string& label) {
  return {{stem + ".png", image(grey)}, {stem + ".cls", bytes_of(label)}, {stem + ".json", bytes_of("{}")}};
}

NamedBytes together(std::vector<NamedBytes> samples) {
  NamedBytes all;
  for (NamedBytes& files : samples) all.insert(all.end(), files.begin(), files.end());
  return all;
}

}  // namespace

TEST_CASE("the samples of tar archives are in the order of the archives, with the labels from their .cls files") {
  const TemporaryFolder folder;
  const std::string name = "deep/" + std::string(150, 'n');
  write_bytes(folder.path() / "set-000001.tar", tar_of(together({sample("00000", 30, "2\n")})));
  write_bytes(folder.path() / "set-000000.tar",
              tar_of(together({sample("00001", 10, "0"), {{"deep/", {}}}, sample(name, 20, "1")})));
  write_bytes(folder.path() / "readme.txt", bytes_of("text"));
  const auto data = open_shards(folder.path(), "labels = \"cls\"");
  REQUIRE(data->size() == 3);
  CHECK(data->num_classes() == 3);
  for (const int index : {2, 0, 1}) {
    CHECK(data->get(index).label == index);
    CHECK(data->get(index).image.pixels == plain(4, 4, Bytes(3, static_cast<std::uint8_t>(10 * index + 10))).pixels);
  }
  CHECK(data->describe(1) == (folder.path() / "set-000000.tar").string() + ":" + name + ".png");
  CHECK(data->left_out() == "4 other files left out (.json, .txt)");
  const auto one = open_shards(folder.path() / "set-000001.tar");
  CHECK(one->size() == 1);
  CHECK(one->num_classes() == 0);
  CHECK(one->get(0).label == -1);
}

TEST_CASE("hidden files between those of a sample, as macOS leaves them, are left out") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "set.tar", tar_of(together({{{"./._a.png", bytes_of("x")}},
                                                          sample("./a", 1, "0"),
                                                          {{"./._b.png", bytes_of("x")}},
                                                          sample("./b", 2, "1"),
                                                          {{"__MACOSX/c.png", bytes_of("x")}}})));
  const auto data = open_shards(folder.path(), "labels = \"cls\"");
  REQUIRE(data->size() == 2);
  CHECK(data->get(1).label == 1);
  CHECK(data->left_out() == "2 other files left out (.json)");
}

TEST_CASE("an archive that is written to or replaced while it is read is noticed") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set.tar";
  write_bytes(path, tar_of(sample("a", 1, "0")));
  fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(1));
  const auto data = open_shards(folder.path());
  CHECK(data->get(0).image.pixels.front() == 1);
  write_bytes(path, tar_of(sample("a", 2, "0")));
  CHECK(message_of<Error>([&] { data->get(0); }).starts_with(path.string() + " was changed by another program"));
  CHECK(open_shards(folder.path())->get(0).image.pixels.front() == 2);
}

TEST_CASE("archives are known by their endings in any case, and other files are counted as left out") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "a.tar", tar_of(sample("a", 1, "0")));
  write_bytes(folder.path() / "b.TAR", tar_of(sample("b", 2, "1")));
  write_bytes(folder.path() / "c.tar.part", tar_of(sample("c", 3, "1")));
  CHECK(open_shards(folder.path())->size() == 2);
  CHECK_MESSAGE(open_shards(folder.path())->left_out().find(".part") != std::string::npos,
                open_shards(folder.path())->left_out());
  for (const char* name : {"d.tar.bz2", "d.tar.LZ4", "d.TBZ2", "d.tar.Z"}) {
    write_bytes(folder.path() / name, tar_of(sample("d", 1, "0")));
    const std::string message = shards_complaint(folder.path());
    CHECK_MESSAGE(message.find(std::string(name) + " is compressed") != std::string::npos, message);
    fs::remove(folder.path() / name);
  }
}

TEST_CASE("an archive missing from a numbered sequence is named") {
  const TemporaryFolder folder;
  for (const char* number : {"08", "09", "11", "14"}) {
    write_bytes(folder.path() / (std::string("train-") + number + ".tar"), tar_of(sample("a", 1, "0")));
  }
  write_bytes(folder.path() / "val.tar", tar_of(sample("a", 1, "0")));
  CHECK(
      shards_complaint(folder.path())
          .ends_with("lacks train-10.tar, train-12.tar, train-13.tar between train-08.tar and train-14.tar; get them, "
                     "or name the archives without a gap"));
}

TEST_CASE("archives whose numbers are not a sequence, like those of ImageNet's classes, are read") {
  const TemporaryFolder folder;
  for (const char* name : {"n01440764", "n01443537", "n01484850", "n15075141"}) {
    write_bytes(folder.path() / (std::string(name) + ".tar"), tar_of({{std::string(name) + "_1.png", image(1)}}));
  }
  CHECK(open_shards(folder.path())->size() == 4);
}

TEST_CASE("a sample that lacks a file, has one twice or is split is named") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set.tar";
  const auto check = [&](const NamedBytes& members, const std::string& words) {
    write_bytes(path, tar_of(members));
    const std::string message = shards_complaint(path, "labels = \"cls\"");
    CHECK_MESSAGE(message.find("set.tar" + words) != std::string::npos, message);
  };
  const NamedBytes first = sample("a/1", 1, "0");
  check(together({first, {{"a/2.cls", bytes_of("1")}, {"a/2.txt", {}}}}),
        ": the sample \"a/2\" has no image (.png, .jpg, .jpeg or .webp); it has 2.cls, 2.txt");
  check(together({first, {{"a/2.png", image(2)}}}), ": the sample \"a/2\" has no .cls for its label; it has 2.png");
  check(together({first, {{"a/2.png", image(2)}, {"a/2.seg.png", image(3)}}}),
        ": the sample \"a/2\" has two images: a/2.png and a/2.seg.png");
  check(together({first, sample("a/2", 2, "1"), {{"a/1.jpg", image(3)}}}), ": the sample \"a/1\" is in two pieces");
  check(together({sample("a", 1, "cat")}), ":a.cls is \"cat\"; expected a class number from 0 to 999999");
  check(together({sample("a", 1, "0"), sample("b", 1, "-1")}), ":b.cls is \"-1\"; expected a class number");
  check(together({sample("a", 1, "1000000")}), ":a.cls is \"1000000\"; expected a class number");
  check({{"a/", {}}}, " holds archives without any file");
}

TEST_CASE("an archive that is compressed, truncated, not a tar, or contains links is refused by name") {
  const TemporaryFolder folder;
  const Bytes tar = tar_of(together({sample("a", 1, "0"), sample("b", 2, "1")}));
  const auto check = [&](const std::string& name, const Bytes& bytes, const std::string& words) {
    write_bytes(folder.path() / name / name, bytes);
    for (const fs::path& path : {folder.path() / name, folder.path() / name / name}) {
      const std::string message = shards_complaint(path);
      CHECK_MESSAGE(message.find(words) != std::string::npos, message);
    }
  };
  check("set.tar.gz", gzip_of(tar),
        "set.tar.gz is compressed, so single images cannot be reached; unpack to plain .tar");
  check("gzip.tar", gzip_of(tar),
        "gzip.tar cannot be read as a tar archive: it is compressed (gzip), so single images cannot be reached; unpack "
        "it "
        "to plain .tar, by gunzip or the like");
  check("headerless.tar", {tar.begin(), tar.end() - 1024 - 1024},
        "headerless.tar cannot be read as a tar archive: it ends too early: it has no mark of its end");
  Bytes both = tar;
  both.insert(both.end(), tar.begin(), tar.end());
  check("both.tar", both, "both.tar cannot be read as a tar archive: another archive follows its end");
  check("cut.tar", {tar.begin(), tar.begin() + 600}, "cut.tar cannot be read as a tar archive: it ends too early");
  const fs::path text = folder.path() / "text.tar";
  check("text.tar", bytes_of(std::string(2000, 'x')), "text.tar cannot be read as a tar archive: it is not one");
  CHECK(shards_complaint(text).ends_with(": it is not one"));
  write_bytes(folder.path() / "none" / "a.txt", {});
  CHECK(shards_complaint(folder.path() / "none").ends_with("none holds no tar archive; it holds a.txt"));
}
