#include "sdk/arrays/npz_reader.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "evaluation/judging.h"
#include "framework/reporting/npz_file.h"
#include "framework/support/files.h"
#include "support/components.h"
#include "support/messages.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// Image `index` of adm.npz, as filled by make_files.py: row by row, with the channels of a pixel together.
at::Tensor counted_image(std::int64_t index) {
  return at::arange(index * 48, index * 48 + 48, at::kInt)
      .remainder(251)
      .to(at::kByte)
      .reshape({4, 4, 3})
      .permute({2, 0, 1});
}

fs::path with_bytes(const TemporaryFolder& folder, const std::string& bytes) {
  fs::path path = folder.path() / "made.npz";
  write_file(path, bytes);
  return path;
}

std::string little_endian(std::size_t value, int bytes) {
  std::string result;
  for (int i = 0; i < bytes; ++i) result += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
  return result;
}

std::string zeros(int bytes) { return little_endian(0, bytes); }

/// Of one image, an about.json and these arrays.
fs::path made_npz(const TemporaryFolder& folder, const std::string& about, const NamedTensors& arrays = {}) {
  fs::path path = folder.path() / "made.npz";
  NpzFile file(path, 1, 3, 16);
  file.start();
  file.append(some_images(1));
  file.finish({}, "about.json", about, arrays);
  return path;
}

/// A zip of one uncompressed member, without a checksum.
std::string stored_zip(const std::string& name, const std::string& content) {
  const std::string sizes = text(little_endian(content.size(), 4), little_endian(content.size(), 4));
  const std::string sized = text(sizes, little_endian(name.size(), 2));
  const std::string about = text(little_endian(20, 2), zeros(12), sized);
  const std::string local = text("PK\x03\x04", about, zeros(2), name, content);
  const std::string central = text("PK\x01\x02", little_endian(20, 2), about, zeros(16), name);
  return text(local, central, "PK\x05\x06", zeros(4), little_endian(1, 2), little_endian(1, 2),
              little_endian(central.size(), 4), little_endian(local.size(), 4), zeros(2));
}

}  // namespace

TEST_CASE("the images of NumPy's compressed NPZ files are read in any order") {
  NpzImages images(evaluation_file("adm.npz"));
  CHECK(images.size() == 12);
  CHECK(images.image_size() == 4);
  CHECK(images.channels() == 3);
  for (const std::int64_t index : {0, 5, 11, 2}) CHECK(images.read(index).equal(counted_image(index)));
}

TEST_CASE("samples written by casdm are read back") {
  const TemporaryFolder folder;
  const at::Tensor written = some_images(5);
  NpzFile file(folder.path() / "samples.npz", 5, 3, 16);
  file.start();
  file.append(written);
  file.finish({}, "about.json", "{}", {{"mu", at::arange(3, at::kDouble)}});
  NpzImages images(folder.path() / "samples.npz");
  for (std::int64_t i = 0; i < 5; ++i) CHECK(images.read(i).equal(written[i]));
  CHECK(NpzReader(folder.path() / "samples.npz").numbers("mu").equal(at::arange(3, at::kDouble)));
}

TEST_CASE("arrays are float64 in C order, whatever their dtype and order in the file") {
  const NpzReader archive(evaluation_file("adm.npz"));
  CHECK((archive.numbers("mu").scalar_type() == at::kDouble));
  const at::Tensor fortran = archive.numbers("sigma_s");
  CHECK(fortran.is_contiguous());
  CHECK(fortran.equal(fortran.t()));
  CHECK(archive.header("sigma").type == "<f4");
}

TEST_CASE("an NPZ that is truncated, altered, or contains objects or other numbers is refused by name") {
  const TemporaryFolder folder;
  const std::string bytes = read_file(evaluation_file("adm.npz"));
  const fs::path cut = with_bytes(folder, bytes.substr(0, bytes.size() / 2));
  CHECK_THROWS_WITH_AS(NpzReader{cut}, doctest::Contains("made.npz"), Error);
  // One bit of the compressed images, which are at the end.
  std::string altered = bytes;
  const std::size_t images = altered.find("arr_0.npy");
  altered[images + 100] = static_cast<char>(altered[images + 100] ^ 1);
  const auto read_all = [&] {
    NpzImages read(with_bytes(folder, altered));
    for (std::int64_t i = 0; i < read.size(); ++i) read.read(i);
  };
  CHECK_THROWS_WITH_AS(read_all(), doctest::Contains("made.npz"), Error);
  CHECK_THROWS_WITH_AS(NpzReader(evaluation_file("objects.npz")).numbers("mu"), doctest::Contains("\"|O\""), Error);
  CHECK_THROWS_WITH_AS(NpzReader(evaluation_file("adm.npz")).numbers("nu"), doctest::Contains("it holds mu"), Error);
  const std::string objects = evaluation_file("objects.npz");
  CHECK_THROWS_WITH_AS(NpzImages{objects}, doctest::Contains("arr_0"), Error);
}

TEST_CASE("an NPZ that holds a name twice is refused by it") {
  const TemporaryFolder folder;
  const Tensor row = at::arange(3, at::kDouble);
  const fs::path path = made_npz(folder, "{}", {{"mu", row}, {"nu", row}});
  const auto doubled = [&](const std::string& name, const std::string& other) {
    std::string bytes = read_file(path);
    for (std::size_t at = 0; (at = bytes.find(name, at)) != std::string::npos;) bytes.replace(at, name.size(), other);
    return bytes;
  };
  write_file(path, doubled("nu.npy", "mu.npy"));
  CHECK_THROWS_WITH_AS(NpzReader{path},
                       doctest::Contains("made.npz holds \"mu.npy\" twice, and readers differ in which of the two they "
                                         "use; make the archive again, with different names"),
                       Error);
}

TEST_CASE("text in an NPZ whose checksum differs is refused") {
  const TemporaryFolder folder;
  const fs::path path = made_npz(folder, "{\"seed\": 1}");
  CHECK(NpzReader(path).text_of("about.json") == "{\"seed\": 1}");
  std::string bytes = read_file(path);
  const std::size_t text = bytes.find("{\"seed\": 1}");
  REQUIRE(text != std::string::npos);
  bytes[text + 9] = '2';
  write_file(path, bytes);
  CHECK_THROWS_WITH_AS(NpzReader(path).text_of("about.json"), doctest::Contains("made.npz is damaged: \"about.json\""),
                       Error);
}

TEST_CASE("an array of more elements than can be counted or of too many dimensions is refused, with few of its sides") {
  const TemporaryFolder folder;
  const auto complaint = [&](const std::string& shape) {
    const std::string dict = text("{'descr': '<f8', 'fortran_order': False, 'shape': (", shape, "), }\n");
    const std::string array = text("\x93NUMPY\x01", zeros(1), little_endian(dict.size(), 2), dict);
    const NpzReader archive(with_bytes(folder, stored_zip("mu.npy", array)));
    return message_of<Error>([&] { archive.numbers("mu"); });
  };
  const std::string longest = "9223372036854775807, ";
  CHECK(
      complaint("0, " + longest + longest)
          .ends_with("made.npz has an array too large, \"<f8\" [0, 9223372036854775807, 9223372036854775807]: \"mu\""));
  std::string many;
  for (int i = 0; i < 64; ++i) many += "2, ";
  CHECK(complaint(many).ends_with(
      "made.npz has an array too large, \"<f8\" [2, 2, 2, 2, 2, 2, 2, 2 and 56 more]: \"mu\""));
  CHECK(complaint(many + "2")
            .ends_with("made.npz has an array of more than 64 dimensions, which NumPy does not write: \"mu\""));
  CHECK(shown(NpyHeader{"|u1", std::vector<std::int64_t>(8, 2), false}) == "\"|u1\" [2, 2, 2, 2, 2, 2, 2, 2]");
  CHECK(shown(NpyHeader{"|u1", std::vector<std::int64_t>(64, 2), false}) ==
        "\"|u1\" [2, 2, 2, 2, 2, 2, 2, 2 and 56 more]");
}

TEST_CASE("an NPZ whose header promises more than the file can contain is refused immediately") {
  const TemporaryFolder folder;
  const std::string dict = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 8, 8, 3), }\n";
  const std::string array = text("\x93NUMPY\x01", zeros(1), little_endian(dict.size(), 2), dict, "1");
  CHECK_THROWS_WITH_AS(NpzImages{with_bytes(folder, stored_zip("arr_0.npy", array))},
                       doctest::Contains("is damaged or truncated"), Error);
}

TEST_CASE("for images in another form the message says how to save them") {
  const TemporaryFolder folder;
  const auto complaint = [&](const std::string& type, bool is_fortran, const std::string& shape) {
    const std::string dict =
        text("{'descr': '", type, "', 'fortran_order': ", is_fortran ? "True" : "False", ", 'shape': ", shape, ", }\n");
    const std::string array = text("\x93NUMPY\x01", zeros(1), little_endian(dict.size(), 2), dict, zeros(48));
    try {
      NpzImages{with_bytes(folder, stored_zip("arr_0.npy", array))};
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto has = [](const std::string& message, const std::string& part) {
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
  };
  has(complaint("|u1", true, "(4, 2, 2, 3)"), "numpy.ascontiguousarray");
  has(complaint("<f4", false, "(1, 2, 2, 3)"), "values in [-1, 1] as clip((x + 1) * 127.5, 0, 255), in [0, 1] as ");
  has(complaint("|u1", false, "(0, 2, 2, 3)"), "It holds no images");
}

TEST_CASE("a damaged array header is refused") {
  std::size_t size = 0;
  const std::string magic("\x93NUMPY\x01\x00", 8);
  const auto header = [&](const std::string& dict) { return magic + static_cast<char>(dict.size()) + '\0' + dict; };
  const std::string good = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }\n";
  const NpyHeader parsed = parse_npy_header(header(good), size);
  CHECK(parsed.shape == std::vector<std::int64_t>{3, 4});
  CHECK(size == magic.size() + 2 + good.size());
  CHECK_THROWS_AS(parse_npy_header("", size), Error);
  CHECK_THROWS_AS(parse_npy_header(header(good).substr(0, 20), size), Error);
  CHECK_THROWS_AS(parse_npy_header(header("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }"), size), Error);
  CHECK_THROWS_AS(parse_npy_header(header("{'descr': '<f8', 'fortran_order': False, 'shape': (3"), size), Error);
  CHECK_THROWS_AS(parse_npy_header(header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (), }"), size),
                  Error);
}
