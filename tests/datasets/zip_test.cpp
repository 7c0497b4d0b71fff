#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "casdm/error.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<Dataset> open_zip(const fs::path& path, std::int64_t size = 8) {
  return make<Dataset>("zip", "path = \"" + path.string() + "\"", {ImageShape::square(3, size)});
}

/// Opens a zip of two images and this dataset.json.
std::shared_ptr<Dataset> open_labelled(const std::string& json) {
  const TemporaryFolder folder;
  write_zip(folder.path() / "set.zip", {{"00000/b.png", png_of(plain(2, 2, {2, 2, 2}))},
                                        {"00000/a.jpg", jpeg_of(plain(8, 8, {90, 90, 90}))},
                                        {"dataset.json", bytes_of(json)}});
  return open_zip(folder.path() / "set.zip");
}

std::string complaint(const std::string& json) {
  return message_of<Error>([&] { open_labelled(json); });
}

}  // namespace

TEST_CASE("a zip's images come in the order of their names, with the labels of dataset.json") {
  const auto dataset = open_labelled(R"({"labels": [["00000/b.png", 0], ["00000/a.jpg", 6]]})");
  REQUIRE(dataset->size() == 2);
  CHECK(dataset->num_classes() == 7);
  CHECK(dataset->get(0).label == 6);
  CHECK(dataset->get(0).image.width == 8);
  CHECK(dataset->get(1).label == 0);
  CHECK(dataset->get(1).image.pixels == Bytes(8 * 8 * 3, 2));
  CHECK(dataset->describe(1).ends_with("set.zip:00000/b.png"));
}

TEST_CASE("labels null, or no labels at all, is an unlabelled set") {
  for (const char* json : {R"({"labels": null})", R"({})"}) {
    const auto dataset = open_labelled(json);
    CHECK(dataset->num_classes() == 0);
    CHECK(dataset->get(0).label == -1);
  }
}

TEST_CASE("labels that do not match the images are refused") {
  std::string message = complaint(R"({"labels": [["00000/b.png", 0], ["00000/a.jpg", 6], ["00000/c.png", 1]]})");
  CHECK_MESSAGE(
      message.find("dataset.json: labels files that are not images of the data set: 00000/c.png") != std::string::npos,
      message);
  message = complaint(R"({"labels": [["00000/b.png", 0]]})");
  CHECK_MESSAGE(message.find("has no label for 00000/a.jpg") != std::string::npos, message);
  message = complaint(R"({"labels": [["00000/b.png", 0], ["00000/a.jpg", -1]]})");
  CHECK_MESSAGE(message.find("the label of \"00000/a.jpg\" is not a class number") != std::string::npos, message);
  message = complaint(R"({"labels": [["00000/b.png", [0, 1]]]})");
  CHECK_MESSAGE(message.find("is not a class number") != std::string::npos, message);
  message = complaint(R"({"labels": [["00000/b.png", 0], ["00000/b.png", 0]]})");
  CHECK_MESSAGE(message.find("\"00000/b.png\" is labelled twice") != std::string::npos, message);
  message = complaint(R"({"labels": 3})");
  CHECK_MESSAGE(message.find("expected a list or null") != std::string::npos, message);
  message = complaint("{");
  CHECK_MESSAGE(message.find("dataset.json: not JSON") != std::string::npos, message);
}

TEST_CASE("a zip that is not one, is truncated, or contains no image is refused by name") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set.zip";
  std::string message = message_of<ConfigError>([&] { open_zip(path); });
  CHECK_MESSAGE(message.find("expected a zip archive, but there is no such file") != std::string::npos, message);
  CHECK_MESSAGE(message.find("holds nothing") != std::string::npos, message);

  message = message_of<ConfigError>([&] { open_zip(folder.path()); });
  CHECK_MESSAGE(message.find("got a folder; type = \"folder\"") != std::string::npos, message);

  write_zip(path, {{"a.txt", bytes_of("x")}, {"b.gif", bytes_of("x")}});
  message = message_of<Error>([&] { open_zip(path); });
  CHECK_MESSAGE(
      message.find("set.zip holds no image (.png, .jpg, .jpeg or .webp); it holds a.txt, b.gif") != std::string::npos,
      message);

  write_zip(path, {{"a.png", png_of(pattern(32, 32, 1))}});
  Bytes bytes = read_bytes(path);
  bytes.resize(bytes.size() / 2);
  write_bytes(path, bytes);
  message = message_of<Error>([&] { open_zip(path); });
  CHECK_MESSAGE(message.find("set.zip cannot be read as a zip archive") != std::string::npos, message);
}

TEST_CASE("an image damaged inside a zip is named") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set.zip";
  const Bytes png = png_of(pattern(32, 32, 1));
  write_zip(path, {{"a.png", png}, {"b.png", bytes_of("no image")}});
  Bytes bytes = read_bytes(path);
  const auto inside = std::search(bytes.begin(), bytes.end(), png.begin(), png.end());
  REQUIRE(inside != bytes.end());
  inside[static_cast<std::ptrdiff_t>(png.size() / 2)] ^= 0x55;
  write_bytes(path, bytes);
  const auto dataset = open_zip(path);
  std::string message = message_of<Error>([&] { dataset->get(0); });
  CHECK_MESSAGE(message.find("set.zip:a.png cannot be read: ") != std::string::npos, message);
  message = message_of<Error>([&] { dataset->get(1); });
  CHECK_MESSAGE(message.find("set.zip:b.png cannot be decoded: it is neither PNG nor JPEG") != std::string::npos,
                message);
}

TEST_CASE("other files in a zip are counted") {
  const TemporaryFolder folder;
  write_zip(folder.path() / "set.zip", {{"a/", {}},
                                        {"a/b.png", png_of(plain(2, 2, {2, 2, 2}))},
                                        {"a/c.gif", bytes_of("x")},
                                        {"__MACOSX/b.png", bytes_of("x")},
                                        {"dataset.json", bytes_of("{}")}});
  CHECK(open_zip(folder.path() / "set.zip")->left_out() == "1 other file left out (.gif)");
}

TEST_CASE("labels that lie too deep in a zip are named, since they are not read") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set.zip";
  write_zip(path, {{"set/b.png", png_of(plain(2, 2, {2, 2, 2}))}, {"set/dataset.json", bytes_of("{}")}});
  CHECK(open_zip(path)->left_out() ==
        "1 other file left out (.json); \"set/dataset.json\" too: labels are read from a dataset.json that is in no "
        "folder");
}

TEST_CASE("a zip with a duplicate name is refused, since readers differ in which of the two they use") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set.zip";
  const auto complaint_of = [&](const NamedBytes& members, std::string_view from, std::string_view to) {
    write_zip(path, members);
    Bytes bytes = read_bytes(path);
    for (auto at = bytes.begin(); (at = std::search(at, bytes.end(), from.begin(), from.end())) != bytes.end();) {
      at = std::copy(to.begin(), to.end(), at);
    }
    write_bytes(path, bytes);
    return message_of<Error>([&] { open_zip(path); });
  };
  const Bytes png = png_of(plain(2, 2, {2, 2, 2}));
  const NamedBytes images = {{"a.png", png}, {"b0.png", png}, {"b1.png", png}, {"c.txt", {}}};
  CHECK(complaint_of(images, "b1.png", "B0.PNG") == "nothing thrown");
  std::string message = complaint_of(images, "b1.png", "b0.png");
  CHECK_MESSAGE(message.ends_with("set.zip holds b0.png twice, and readers differ in which of the two they use; make "
                                  "the archive again, with different names"),
                message);
  message = complaint_of({{"a.png", png}, {"dataset0json", {}}, {"dataset1json", {}}}, "dataset0json", "dataset1json");
  CHECK_MESSAGE(message == "nothing thrown", message);
  message = complaint_of({{"a.png", png}, {"dataset0json", {}}, {"dataset.json", {}}}, "dataset0json", "dataset.json");
  CHECK_MESSAGE(message.find("holds dataset.json twice") != std::string::npos, message);
}

TEST_CASE("a name in a zip may begin with ./ or ../") {
  const TemporaryFolder folder;
  write_zip(folder.path() / "set.zip",
            {{"./a.png", png_of(plain(2, 2, {1, 1, 1}))},
             {"../b.png", png_of(plain(2, 2, {2, 2, 2}))},
             {"c/.hidden/x.png", bytes_of("x")},
             {".x.png", bytes_of("x")},
             {"./dataset.json", bytes_of(R"({"labels": [["a.png", 4], ["../b.png", 1]]})")}});
  const auto dataset = open_zip(folder.path() / "set.zip");
  REQUIRE(dataset->size() == 2);
  CHECK(dataset->get(0).label == 1);
  CHECK(dataset->get(1).label == 4);
  CHECK(dataset->get(1).image.pixels[0] == 1);
  CHECK(dataset->left_out() == "no image is of the classes 0, 2, 3");
}

TEST_CASE("a dataset.json larger than the labels can be is refused without being read") {
  const std::string message = complaint(std::string(3 << 20, ' '));
  CHECK_MESSAGE(message.find("dataset.json cannot be read: it has 3145728 bytes; the limit is ") != std::string::npos,
                message);
}

TEST_CASE("a zip is read by several threads at once") {
  const TemporaryFolder folder;
  NamedBytes members;
  for (int i = 0; i < 20; ++i)
    members.emplace_back("img" + std::to_string(10 + i) + ".png", png_of(pattern(16, 16, i)));
  write_zip(folder.path() / "set.zip", members);
  const auto dataset = open_zip(folder.path() / "set.zip", 16);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const int index = (i * 7 + static_cast<int>(t)) % 20;
        wrong[t] += dataset->get(index).image.pixels != pattern(16, 16, index).pixels;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}
