#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include "casdm/error.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<Dataset> open_arrays(const std::string& type, const fs::path& path, const std::string& more = "",
                                     std::int64_t size = 4, std::int64_t channels = 3) {
  return make<Dataset>(type, "path = \"" + path.string() + "\"\n" + more, {ImageShape::square(channels, size)});
}

std::string arrays_complaint(const std::string& type, const fs::path& path, const std::string& more = "") {
  return message_of<Error>([&] { open_arrays(type, path, more); });
}

/// 0, 1, 2, ...
Bytes counting(std::size_t size, int first = 0) {
  Bytes bytes(size);
  std::iota(bytes.begin(), bytes.end(), static_cast<std::uint8_t>(first));
  return bytes;
}

/// The same bytes as planes.
Bytes planar(const Bytes& rows, std::size_t image) {
  Bytes bytes(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t first = i / image * image, at = i % image;
    bytes[first + at % 3 * (image / 3) + at / 3] = rows[i];
  }
  return bytes;
}

/// A batch of ImageNet: images of 2x2 pixels with the values `first`, `first` + 1, ...
void write_batch(const fs::path& path, const std::vector<std::int64_t>& labels, bool is_compressed = false,
                 std::size_t row = 12) {
  fs::create_directories(path.parent_path());
  write_zip(path,
            {{"data.npy", npy_of("|u1", std::to_string(labels.size()) + ", " + std::to_string(row),
                                 counting(labels.size() * row, static_cast<int>(labels.front())))},
             {"labels.npy", npy_of(labels)},
             {"mean.npy", npy_of("<f8", "0,", {})}},
            is_compressed);
}

void write_train(const fs::path& folder) {
  for (int number = 1; number <= 10; ++number) {
    write_batch(folder / ("train_data_batch_" + std::to_string(number) + ".npz"), {number, 1000 - number},
                number % 2 == 0);
  }
}

}  // namespace

TEST_CASE("arrays are read in any order of channels, from a .npy and from an .npz, stored or compressed") {
  const TemporaryFolder folder;
  const Bytes rows = counting(2 * 4 * 4 * 3);
  const fs::path npy = folder.path() / "a.npy", stored = folder.path() / "a.npz", packed = folder.path() / "b.npz";
  const auto check = [&](const std::shared_ptr<Dataset>& data, bool has_labels) {
    REQUIRE(data->size() == 2);
    for (const std::int64_t index : {1, 0}) {
      const Example example = data->get(index);
      CHECK(example.image.width == 4);
      CHECK(example.image.pixels == Bytes(rows.begin() + 48 * index, rows.begin() + 48 * (index + 1)));
      CHECK(example.label == (has_labels ? 2 - index : -1));
    }
    CHECK(data->num_classes() == (has_labels ? 3 : 0));
    CHECK(data->left_out() == (has_labels ? "no image is of class 0" : ""));
  };
  write_bytes(npy, npy_of("|u1", "2, 4, 4, 3", rows));
  check(open_arrays("arrays", npy), false);
  CHECK(open_arrays("arrays", npy)->describe(1) == npy.string() + " image 1");
  write_bytes(folder.path() / "labels.npy", npy_of("<u2", "2, 1", {2, 0, 1, 0}));
  check(open_arrays("arrays", npy, "labels_path = \"" + (folder.path() / "labels.npy").string() + "\""), true);
  write_bytes(npy, npy_of("|u1", "2, 3, 4, 4", planar(rows, 48)));
  check(open_arrays("arrays", npy), false);
  write_zip(stored, {{"x.npy", npy_of("|u1", "2, 4, 4, 3", rows)}, {"y.npy", npy_of({2, 1})}});
  check(open_arrays("arrays", stored), false);
  check(open_arrays("arrays", stored, "labels = \"y\"\nimages = \"x\""), true);
  write_zip(packed, {{"x.npy", npy_of("|u1", "2, 3, 4, 4", planar(rows, 48))}, {"y.npy", npy_of({2, 1})}}, true);
  check(open_arrays("arrays", packed, "labels = \"y\""), true);
}

TEST_CASE("grey arrays become RGB and RGB arrays grey, at the requested size") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "grey.npy", npy_of("|u1", "1, 8, 8", Bytes(64, 9)));
  CHECK(open_arrays("arrays", folder.path() / "grey.npy")->get(0).image.pixels == Bytes(48, 9));
  write_bytes(folder.path() / "rgb.npy", npy_of("|u1", "1, 4, 4, 3", Bytes(48, 7)));
  CHECK(open_arrays("arrays", folder.path() / "rgb.npy", "", 4, 1)->get(0).image.pixels == Bytes(16, 7));
}

TEST_CASE("an array of another type or shape is refused with what was found and what is expected") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a.npy";
  const auto complain = [&](const Bytes& bytes, const std::string& more = "") {
    write_bytes(path, bytes);
    return arrays_complaint("arrays", path, more);
  };
  const auto check = [](const std::string& message, const std::string& words) {
    CHECK_MESSAGE(message.find(words) != std::string::npos, message);
  };
  check(complain(npy_of("<f4", "1, 2, 2, 3", Bytes(48))),
        "a.npy holds \"<f4\" [1, 2, 2, 3]; expected 8-bit images, uint8 [N, H, W, C], [N, C, H, W] or [N, H, W]. Save "
        "them "
        "as bytes");
  check(complain(npy_of("|u1", "12,", Bytes(12))), "holds \"|u1\" [12]; expected 8-bit images");
  check(complain(npy_of("|u1", "1, 2, 2, 4", Bytes(16))), "expected 1 or 3 channels, first or last");
  check(complain(npy_of("|u1", "1, 3, 3, 3", Bytes(27))), "set axes = \"hwc\" or \"chw\"");
  check(complain(npy_of("|u1", "1, 2, 2, 3", Bytes(12)), "axes = \"chw\""), "are not images with axes = \"chw\"");
  for (const char* axes : {"axes = \"chw\"", "axes = \"hwc\""}) {
    check(complain(npy_of("|u1", "1, 2, 2", Bytes(4)), axes), "a.npy holds \"|u1\" [1, 2, 2], grey images without");
  }
  check(complain(npy_of("|u1", "1, 2, 2, 3", Bytes(12), true)), "has its columns first (fortran_order)");
  check(complain(npy_of("|u1", "2, 2, 2, 3", Bytes(23))),
        "a.npy is truncated: it has 23 bytes for \"|u1\" [2, 2, 2, 3]");
  check(complain(npy_of("|u1", "4611686018427387904, 2, 2, 3", Bytes(12))), "too large");
  check(complain(npy_of("|u1", "0, 2, 2, 3", {})), "no rows");
  check(complain(npy_of("|O", "1, 2, 2, 3", Bytes(96))), "which are not numbers in this machine's format");
  check(complain(npy_of("|u1", "1, 300000000, 1, 3", {})), "is truncated");
  check(complain(bytes_of("text")), "a.npy is not an .npy file");
  check(complain(npy_of("|u1", "1, 2, 2, 3", Bytes(12)), "labels = \"y\""), "is not an .npz, so it holds one array");

  const Bytes images = npy_of("|u1", "2, 2, 2, 3", Bytes(24));
  const fs::path npz = folder.path() / "a.npz";
  const auto complain_npz = [&](const NamedBytes& members, const std::string& more = "") {
    write_zip(npz, members);
    return arrays_complaint("arrays", npz, more);
  };
  check(complain_npz({{"x.npy", images}}, "images = \"y\""), "holds no such array; it holds x \"|u1\" [2, 2, 2, 3]");
  check(complain_npz({{"x.npy", images}, {"z.npy", images}}), "holds several arrays of three or four dimensions: x ");
  check(complain_npz({{"y.npy", npy_of({1})}}), "holds no array of three or four dimensions: y \"<i8\" [1]");
  check(complain_npz({{"x.npy", images}, {"y.npy", npy_of({1})}}, "labels = \"y\""),
        "a.npz:y has 1 labels for 2 images");
  check(complain_npz({{"x.npy", images}, {"y.npy", npy_of({1, -3})}}, "labels = \"y\""),
        "a.npz:y: the label of image 1 is -3; expected class numbers from 0");
  check(complain_npz({{"x.npy", images}, {"y.npy", npy_of("|u1", "2, 10", Bytes(20))}}, "labels = \"y\""),
        "Of one-hot rows, write argmax(1)");
  check(complain_npz({{"x.npy", images}, {"y.npy", npy_of("<u8", "2", Bytes(16, 0xff))}}, "labels = \"y\""),
        "a.npz:y holds 18446744073709551615, a number larger than any class");
  write_bytes(npz, bytes_of("no zip"));
  check(arrays_complaint("arrays", npz), "a.npz cannot be read as an NPZ");
  check(arrays_complaint("arrays", folder.path()), "got a folder; type = \"imagenet_npz\"");
}

TEST_CASE("an archive of very many arrays is read in time that grows with their number, not its square") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a.npz";
  const Bytes number = npy_of({1});
  NamedBytes members;
  for (int i = 0; i < 30'000; ++i) members.emplace_back(std::to_string(100'000 + i) + ".npy", number);
  write_zip(path, members);
  const auto start = std::chrono::steady_clock::now();
  const std::string message = arrays_complaint("arrays", path);
  CHECK_MESSAGE(message.find("holds no array of three or four dimensions: 100000 ") != std::string::npos, message);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("an array whose file is written to while it is read is noticed, and one that is replaced stays the same") {
  const TemporaryFolder folder;
  const Bytes before = counting(2 * 48), after = counting(2 * 48, 100);
  const auto check = [&](const fs::path& path, const Bytes& old_bytes, const Bytes& new_bytes) {
    write_bytes(path, old_bytes);
    fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(1));
    const auto data = open_arrays("arrays", path);
    CHECK(data->get(1).image.pixels == Bytes(before.begin() + 48, before.end()));
    write_bytes(folder.path() / "new", new_bytes);
    fs::rename(folder.path() / "new", path);
    CHECK(data->get(0).image.pixels == Bytes(before.begin(), before.begin() + 48));

    write_bytes(path, old_bytes);
    fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(1));
    const auto again = open_arrays("arrays", path);
    write_bytes(path, new_bytes);
    const std::string message = message_of<Error>([&] { again->get(1); });
    CHECK_MESSAGE(message.starts_with(path.string()), message);
    CHECK_MESSAGE(message.find(" was changed by another program since it was opened") != std::string::npos, message);
    CHECK(open_arrays("arrays", path)->get(1).image.pixels == Bytes(after.begin() + 48, after.end()));
    write_bytes(path, Bytes(new_bytes.begin(), new_bytes.begin() + 90));
    CHECK(message_of<Error>([&] { again->get(1); }).find(" was changed by another") != std::string::npos);
  };
  check(folder.path() / "a.npy", npy_of("|u1", "2, 4, 4, 3", before), npy_of("|u1", "2, 4, 4, 3", after));
  const auto archive_of = [&](const Bytes& rows) {
    const fs::path path = folder.path() / "made.npz";
    write_zip(path, {{"x.npy", npy_of("|u1", "2, 4, 4, 3", rows)}});
    return read_bytes(path);
  };
  const Bytes old_archive = archive_of(before), new_archive = archive_of(after);
  check(folder.path() / "a.npz", old_archive, new_archive);
}

TEST_CASE("an array is read by several threads at once") {
  const TemporaryFolder folder;
  const Bytes rows = counting(40 * 48);
  write_zip(folder.path() / "a.npz", {{"x.npy", npy_of("|u1", "40, 4, 4, 3", rows)}});
  const auto data = open_arrays("arrays", folder.path() / "a.npz");
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const int index = (i * 7 + static_cast<int>(t)) % 40;
        wrong[t] += data->get(index).image.pixels != Bytes(rows.begin() + 48 * index, rows.begin() + 48 * (index + 1));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("ImageNet's batches are read in the order of their numbers, labels from 0") {
  const TemporaryFolder folder;
  write_train(folder.path() / "train");
  write_batch(folder.path() / "val_data.npz", {5, 1000, 1});
  const auto train = open_arrays("imagenet_npz", folder.path(), "", 2);
  REQUIRE(train->size() == 20);
  CHECK(train->num_classes() == 1000);
  for (const std::int64_t index : {19, 3, 2, 0}) {
    const int number = static_cast<int>(index / 2) + 1;
    const Example example = train->get(index);
    CHECK(example.label == (index % 2 == 0 ? number - 1 : 999 - number));
    const Bytes planes = counting(12, number + (index % 2 == 0 ? 0 : 12));
    CHECK(planar(example.image.pixels, 12) == planes);
  }
  CHECK(train->describe(3).ends_with("train_data_batch_2.npz image 1"));
  const auto test = open_arrays("imagenet_npz", folder.path(), "split = \"test\"", 2);
  REQUIRE(test->size() == 3);
  CHECK(test->get(1).label == 999);
  CHECK(test->left_out() == "no image is of the classes 1, 2, 3, 5, 6 and 992 more");
}

TEST_CASE("a batch of ImageNet that is missing or has another format is named") {
  const TemporaryFolder folder;
  write_train(folder.path());
  const fs::path third = folder.path() / "train_data_batch_3.npz";
  const auto check = [&](const std::string& words) {
    const std::string message = arrays_complaint("imagenet_npz", folder.path());
    CHECK_MESSAGE(message.find(words) != std::string::npos, message);
  };
  write_batch(third, {4, 1001});
  check("train_data_batch_3.npz:labels: the label of image 1 is 1001; expected class numbers from 1 to 1000");
  write_batch(third, {4, 0});
  check("the label of image 1 is 0; expected class numbers from 1 to 1000");
  write_batch(third, {4, 5}, false, 27);
  check("train_data_batch_3.npz:data holds \"|u1\" [2, 27]; expected uint8 [N, 12, as the batches before]");
  write_zip(third, {{"x.npy", npy_of({1})}});
  check("train_data_batch_3.npz holds no array 'data'; it holds x. Expected ImageNet's batches");
  fs::remove(third);
  fs::remove(folder.path() / "train_data_batch_10.npz");
  check("lacks train_data_batch_3.npz, train_data_batch_10.npz of ImageNet's train batches; it holds ");
  CHECK(arrays_complaint("imagenet_npz", folder.path(), "split = \"test\"").find("lacks val_data.npz") !=
        std::string::npos);
  write_train(folder.path() / "copy");
  check("holds train_data_batch_1.npz twice");
}
