#include <doctest/doctest.h>
#include <png.h>
#include <sys/stat.h>

#include <cstdlib>

#include "casdm/error.h"
#include "casdm/prepare_image.h"
#include "casdm/text.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<Dataset> open_folder(const fs::path& path, const std::string& more = "", std::int64_t size = 8,
                                     std::int64_t channels = 3) {
  return make<Dataset>("folder", "path = \"" + path.string() + "\"\n" + more, {ImageShape::square(channels, size)});
}

/// The only image of a folder with one file, which has `size` x `size` pixels.
Image decoded(const std::string& name, const Bytes& bytes, std::int64_t size = 8, std::int64_t channels = 3) {
  const TemporaryFolder folder;
  write_bytes(folder.path() / name, bytes);
  return open_folder(folder.path(), "", size, channels)->get(0).image;
}

/// `row` once for each row of a square image.
Bytes square(const Bytes& row, int rows) {
  Bytes result;
  for (int y = 0; y < rows; ++y) result.insert(result.end(), row.begin(), row.end());
  return result;
}

int largest_difference(const Image& a, const Image& b) {
  REQUIRE(a.pixels.size() == b.pixels.size());
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

/// The error when the only image of a folder is read.
std::string complaint(const std::string& name, const Bytes& bytes) {
  return message_of<Error>([&] { decoded(name, bytes); });
}

}  // namespace

TEST_CASE("a folder's images come from all depths, in the order of their names") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "b.PNG", png_of(plain(2, 2, {1, 1, 1})));
  write_bytes(folder.path() / "a" / "deep" / "z.png", png_of(plain(2, 2, {2, 2, 2})));
  write_bytes(folder.path() / "a" / "notes.txt", bytes_of("no image"));
  write_bytes(folder.path() / ".hidden" / "x.png", png_of(plain(2, 2, {3, 3, 3})));
  const auto dataset = open_folder(folder.path());
  REQUIRE(dataset->size() == 2);
  CHECK(dataset->get(0).image.pixels[0] == 2);
  CHECK(dataset->get(1).image.pixels[0] == 1);
  CHECK(dataset->get(0).label == -1);
  CHECK(dataset->num_classes() == 0);
  CHECK(dataset->describe(0) == (folder.path() / "a/deep/z.png").string());
}

TEST_CASE("a link that leads back into its own folder is followed only once") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "a" / "x.png", png_of(plain(2, 2, {1, 1, 1})));
  fs::create_directory_symlink(folder.path(), folder.path() / "a" / "loop");
  CHECK(open_folder(folder.path())->size() == 1);
}

TEST_CASE("a folder that several links lead to is read once, under the name of its own place or of the first link") {
  const TemporaryFolder folder, elsewhere;
  constexpr int kFolders = 9;  // there are a million ways through links between them
  for (int i = 0; i < kFolders; ++i) {
    const fs::path own = folder.path() / text("d", i);
    write_bytes(own / "x.png", png_of(plain(2, 2, {1, 1, 1})));
    for (int j = 0; j < kFolders; ++j) {
      if (j != i) fs::create_directory_symlink(folder.path() / text("d", j), own / text("a", j));
    }
  }
  write_bytes(elsewhere.path() / "y.png", png_of(plain(2, 2, {2, 2, 2})));
  for (const char* name : {"z", "d3/e"}) fs::create_directory_symlink(elsewhere.path(), folder.path() / name);
  const auto dataset = open_folder(folder.path());
  REQUIRE(dataset->size() == kFolders + 1);
  CHECK(dataset->describe(0) == (folder.path() / "d0/x.png").string());
  CHECK(dataset->describe(3) == (folder.path() / "d3/e/y.png").string());
  CHECK(dataset->describe(4) == (folder.path() / "d3/x.png").string());
}

TEST_CASE("a broken link and a pipe are refused by name, not left out") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "cat" / "1.png", png_of(plain(2, 2, {1, 1, 1})));
  fs::create_symlink("1.png", folder.path() / "cat" / "2.png");
  fs::create_symlink("/nowhere", folder.path() / ".hidden");
  CHECK(open_folder(folder.path())->size() == 2);

  const fs::path pipe = folder.path() / "cat" / "pipe.png";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const auto opened = [&] { open_folder(folder.path()); };
  std::string message = message_of<Error>(opened);
  CHECK_MESSAGE(message.ends_with(folder.path().string() + ": cat/pipe.png is neither a file nor a folder; remove it"),
                message);

  fs::create_symlink("/nowhere/3.png", folder.path() / "cat" / "3.png");
  message = message_of<Error>(opened);
  CHECK_MESSAGE(message.find("cat/3.png is a link to /nowhere/3.png, which does not exist; mount or restore it, or "
                             "remove the link") != std::string::npos,
                message);
  fs::create_directory_symlink("/nowhere", folder.path() / "horse");  // a whole class
  message = message_of<Error>(opened);
  CHECK_MESSAGE(message.ends_with("or remove the link; nor can these be read: cat/pipe.png, horse"), message);
}

TEST_CASE("labels = folders numbers the first-level folders by name") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "dog" / "sub" / "x.png", png_of(plain(2, 2, {1, 1, 1})));
  write_bytes(folder.path() / "cat" / "x.png", png_of(plain(2, 2, {2, 2, 2})));
  const auto dataset = open_folder(folder.path(), "labels = \"folders\"");
  CHECK(dataset->num_classes() == 2);
  CHECK(dataset->get(0).label == 0);
  CHECK(dataset->get(1).label == 1);

  write_bytes(folder.path() / "stray.png", png_of(plain(2, 2, {1, 1, 1})));
  const std::string message = message_of<Error>([&] { open_folder(folder.path(), "labels = \"folders\""); });
  CHECK_MESSAGE(message.find("stray.png is not in a sub-folder") != std::string::npos, message);
}

TEST_CASE("a class folder without an image is refused, not left out of the classes") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "cat" / "x.png", png_of(plain(2, 2, {2, 2, 2})));
  write_bytes(folder.path() / "dog" / "x.gif", bytes_of("x"));
  const auto opened = [&] { open_folder(folder.path(), "labels = \"folders\""); };
  std::string message = message_of<Error>(opened);
  CHECK_MESSAGE(
      message.find("the class folder dog holds no image (.png, .jpg, .jpeg or .webp); it holds x.gif; convert or "
                   "remove it") != std::string::npos,
      message);
  fs::create_directories(folder.path() / "eel");
  message = message_of<Error>(opened);
  CHECK_MESSAGE(message.ends_with("convert or remove it, and eel"), message);
  CHECK(open_folder(folder.path())->size() == 1);
}

TEST_CASE("files that are not read are counted by extension, most frequent first") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "x.png", png_of(plain(2, 2, {1, 1, 1})));
  write_bytes(folder.path() / "dataset.json", bytes_of("{}"));
  write_bytes(folder.path() / ".hidden", bytes_of("x"));
  CHECK(open_folder(folder.path())->left_out().empty());
  write_bytes(folder.path() / "a" / "LICENCE", bytes_of("x"));
  CHECK(open_folder(folder.path())->left_out() == "1 other file left out (without ending)");
  for (int i = 0; i < 38; ++i) write_bytes(folder.path() / (std::to_string(i) + ".gif"), bytes_of("x"));
  CHECK(open_folder(folder.path())->left_out() == "39 other files left out (.gif, without ending)");
  for (const char* name : {"1.a", "1.b", "1.c", "1.d", "1.e"}) write_bytes(folder.path() / name, bytes_of("x"));
  CHECK(open_folder(folder.path())->left_out() == "44 other files left out (.gif, .a, .b, .c, .d, ...)");
}

TEST_CASE("the grid of a folder of samples is not one of its images") {
  const TemporaryFolder folder;
  for (const char* name : {"000000.png", "grid.png", "a/grid.png"}) {
    write_bytes(folder.path() / name, png_of(plain(2, 2, {1, 1, 1})));
  }
  CHECK(open_folder(folder.path())->size() == 3);
  write_bytes(folder.path() / "sampling.json", bytes_of("{}"));
  CHECK(open_folder(folder.path())->size() == 2);
  CHECK(open_folder(folder.path())->left_out() == "2 other files left out (.json, .png)");
}

TEST_CASE("labels = json reads the dataset.json beside the images") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "0" / "x.png", png_of(plain(2, 2, {1, 1, 1})));
  write_bytes(folder.path() / "dataset.json", bytes_of(R"({"labels": [["0/x.png", 4]]})"));
  const auto dataset = open_folder(folder.path(), "labels = \"json\"");
  CHECK(dataset->num_classes() == 5);
  CHECK(dataset->get(0).label == 4);
}

TEST_CASE("PNG comes back exactly, JPEG within its loss") {
  const Image image = pattern(24, 24, 3);
  const Image from_png = decoded("x.png", png_of(image), 24);
  CHECK(from_png.width == 24);
  CHECK(from_png.height == 24);
  CHECK(from_png.pixels == image.pixels);
  const Image from_jpeg = decoded("x.jpeg", jpeg_of(image), 24);
  CHECK(from_jpeg.width == 24);
  // Quality 95 without chroma subsampling quantises a smooth image in steps of a few grey levels.
  CHECK(largest_difference(from_jpeg, image) <= 8);
}

TEST_CASE("an image of another size comes prepared for the networks") {
  const Image image = pattern(61, 47, 3);
  const Image result = decoded("x.png", png_of(image), 16);
  CHECK(result.width == 16);
  CHECK(result.height == 16);
  CHECK(result.pixels == prepare_image(image, {ImageShape::square(3, 16)}).pixels);
}

TEST_CASE("the content decides the decoder, not the name") {
  const Image image = pattern(9, 9, 1);
  CHECK(decoded("x.jpg", png_of(image), 9).pixels == image.pixels);
}

TEST_CASE("grey, palette, 16-bit and transparent PNGs become RGB on white") {
  CHECK(decoded("x.png", png_of(2, 2, 8, PNG_COLOR_TYPE_GRAY, square({7, 200}, 2)), 2).pixels ==
        square({7, 7, 7, 200, 200, 200}, 2));
  CHECK(decoded("x.png", png_of(2, 2, 8, PNG_COLOR_TYPE_PALETTE, square({0, 1}, 2)), 2).pixels ==
        square({255, 0, 0, 0, 0, 255}, 2));
  CHECK(decoded("x.png", png_of(1, 1, 16, PNG_COLOR_TYPE_GRAY, {0x80, 0x80}), 1).pixels == Bytes{128, 128, 128});
  const Bytes rgba = {10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 51};
  // The last pixel: a fifth of black over white.
  CHECK(decoded("x.png", png_of(3, 3, 8, PNG_COLOR_TYPE_RGB_ALPHA, square(rgba, 3)), 3).pixels ==
        square({10, 20, 30, 255, 255, 255, 204, 204, 204}, 3));
  CHECK(decoded("x.png", png_of(1, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA, {0, 0}), 1).pixels == Bytes{255, 255, 255});
}

TEST_CASE("CMYK JPEGs become RGB") {
  const Bytes red = {255, 0, 0, 255};  // as stored by Adobe: the light that each ink transmits
  CHECK(largest_difference(decoded("x.jpg", cmyk_jpeg_of(8, 8, square(red, 64))), plain(8, 8, {255, 0, 0})) <= 2);
}

TEST_CASE("channels = 1 gives the luma") {
  const Image grey = decoded("x.png", png_of(plain(2, 2, {255, 0, 0})), 2, 1);
  CHECK(grey.channels == 1);
  CHECK(grey.pixels == Bytes(4, 76));  // 0.299 * 255
  CHECK(decoded("x.png", png_of(2, 2, 8, PNG_COLOR_TYPE_GRAY, square({7, 200}, 2)), 2, 1).pixels ==
        Bytes{7, 200, 7, 200});
}

TEST_CASE("a damaged image is named with the reason") {
  const Bytes png = png_of(pattern(32, 32, 1));
  const Bytes jpeg = jpeg_of(pattern(32, 32, 1));
  const auto half = [](const Bytes& bytes) {
    return Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() / 2));
  };

  std::string message = complaint("cut.png", half(png));
  CHECK_MESSAGE(message.find("cut.png cannot be decoded: the file ends too early") != std::string::npos, message);

  message = complaint("cut.jpg", half(jpeg));
  CHECK_MESSAGE(message.find("cut.jpg cannot be decoded: ") != std::string::npos, message);

  Bytes flipped = png;
  flipped[flipped.size() / 2] ^= 0x55;
  message = complaint("flipped.png", flipped);
  CHECK_MESSAGE(message.find("flipped.png cannot be decoded: ") != std::string::npos, message);

  message = complaint("empty.png", {});
  CHECK_MESSAGE(message.find("empty.png cannot be decoded: the file is empty") != std::string::npos, message);

  message = complaint("text.png", bytes_of("hello, I am no image"));
  CHECK_MESSAGE(message.find("it is neither PNG nor JPEG") != std::string::npos, message);
}

TEST_CASE("wherever an image is truncated, it is refused and the next one decodes as usual") {
  const TemporaryFolder folder;
  const Image image = pattern(8, 8, 1);
  for (const Bytes& whole : {jpeg_of(image), png_of(image)}) {
    write_bytes(folder.path() / "1.jpg", whole);
    write_bytes(folder.path() / "2.jpg", whole);
    const auto dataset = open_folder(folder.path());
    const Bytes expected = dataset->get(1).image.pixels;
    for (std::size_t length = 0; length < whole.size(); ++length) {
      write_bytes(folder.path() / "1.jpg", Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
      REQUIRE_THROWS_AS(dataset->get(0), Error);
      REQUIRE(dataset->get(1).image.pixels == expected);
    }
  }
}

TEST_CASE("a header that claims an enormous image is refused before memory is used") {
  Bytes png = png_of(plain(2, 2, {1, 1, 1}));
  for (const std::size_t at : {16U, 20U}) png[at + 1] = 0x0E;  // a width and a height of 917,506
  const std::string message = complaint("bomb.png", png);
  CHECK_MESSAGE(message.find("bomb.png cannot be decoded: ") != std::string::npos, message);
}

TEST_CASE("for an unusable path the message says what was looked for and what is there") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "images" / "readme.txt", bytes_of("x"));
  std::string message = message_of<ConfigError>([&] { open_folder(folder.path() / "image"); });
  CHECK_MESSAGE(message.find("expected a folder of images") != std::string::npos, message);
  CHECK_MESSAGE(message.find("did you mean images/?") != std::string::npos, message);

  message = message_of<Error>([&] { open_folder(folder.path() / "images"); });
  CHECK_MESSAGE(message.find("holds no image (.png, .jpg, .jpeg or .webp) at any depth; it holds readme.txt") !=
                    std::string::npos,
                message);

  message = message_of<ConfigError>([&] { open_folder(folder.path() / "images" / "readme.txt"); });
  CHECK_MESSAGE(message.find("expected a folder, got a file") != std::string::npos, message);
}
