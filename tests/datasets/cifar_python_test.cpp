#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<Dataset> open_python(const std::string& type, const fs::path& path, const std::string& more = "",
                                     std::int64_t channels = 3) {
  return make<Dataset>(type, "path = \"" + path.string() + "\"\n" + more, {ImageShape::square(channels, 32)});
}

std::string python_complaint(const std::string& type, const fs::path& path, const std::string& more = "") {
  return message_of<Error>([&] { open_python(type, path, more); });
}

/// Three planes per image, filled with 10, 20, 30 plus its index.
Bytes planes_of(const std::vector<int>& numbers) {
  Bytes bytes;
  for (const int number : numbers) {
    for (const int plane : {10, 20, 30}) bytes.insert(bytes.end(), 1024, static_cast<std::uint8_t>(plane + number));
  }
  return bytes;
}

NamedBytes python_members() {
  NamedBytes members = {{"cifar-10-batches-py/batches.meta", bytes_of("any")},
                        {"cifar-10-batches-py/test_batch", cifar_pickle_of(planes_of({5}), {{"labels", {5}}})}};
  for (int number = 1; number <= 5; ++number) {
    members.emplace_back(text("cifar-10-batches-py/data_batch_", number),
                         cifar_pickle_of(planes_of({number, 9}), {{"labels", {number, 9}}}));
  }
  return members;
}

/// CIFAR-100's format: a coarse label, a fine one, planes.
Bytes binary_of(const std::vector<std::pair<int, int>>& labels) {
  Bytes bytes;
  for (const auto& [coarse, fine] : labels) {
    bytes.push_back(static_cast<std::uint8_t>(coarse));
    bytes.push_back(static_cast<std::uint8_t>(fine));
    const Bytes planes = planes_of({fine});
    bytes.insert(bytes.end(), planes.begin(), planes.end());
  }
  return bytes;
}

void check_cifar100(const fs::path& path) {
  const auto fine = open_python("cifar100", path);
  REQUIRE(fine->size() == 2);
  CHECK(fine->num_classes() == 100);
  CHECK(fine->get(0).label == 99);
  CHECK(fine->get(1).label == 7);
  CHECK(fine->left_out() == "no image is of the classes 0, 1, 2, 3, 4 and 93 more");
  CHECK(fine->get(1).image.pixels == plain(32, 32, {17, 27, 37}).pixels);
  const auto coarse = open_python("cifar100", path, "labels = \"coarse\"");
  CHECK(coarse->num_classes() == 20);
  CHECK(coarse->get(0).label == 19);
  CHECK(coarse->get(1).label == 0);
  CHECK(coarse->left_out() == "no image is of the classes 1, 2, 3, 4, 5 and 13 more");
  const auto test = open_python("cifar100", path, "split = \"test\"");
  REQUIRE(test->size() == 1);
  CHECK(test->get(0).label == 3);
}

}  // namespace

TEST_CASE("CIFAR-10's Python version has the binary version's images and labels, from a folder and a tar.gz") {
  const TemporaryFolder folder;
  for (const auto& [name, bytes] : python_members()) write_bytes(folder.path() / "all" / name, bytes);
  write_bytes(folder.path() / "set.tar.gz", gzip_of(tar_of(python_members())));
  for (const fs::path& path : {folder.path() / "all", folder.path() / "set.tar.gz"}) {
    const auto train = open_python("cifar10", path);
    REQUIRE(train->size() == 10);
    CHECK(train->get(2).label == 2);
    CHECK(train->get(2).image.pixels == plain(32, 32, {12, 22, 32}).pixels);
    CHECK(train->get(3).label == 9);
    CHECK(train->describe(3).ends_with("data_batch_2 record 1"));
    const auto test = open_python("cifar10", path, "split = \"test\"");
    REQUIRE(test->size() == 1);
    CHECK(test->get(0).label == 5);
    CHECK(open_python("cifar10", path, "", 1)->get(0).image.channels == 1);
  }
}

TEST_CASE("if both versions of CIFAR-10 exist, each image counts once") {
  const TemporaryFolder folder;
  for (const auto& [name, bytes] : python_members()) write_bytes(folder.path() / name, bytes);
  for (int number = 1; number <= 5; ++number) {
    Bytes record = {static_cast<std::uint8_t>(number)};
    const Bytes planes = planes_of({number});
    record.insert(record.end(), planes.begin(), planes.end());
    write_bytes(folder.path() / "bin" / text("data_batch_", number, ".bin"), record);
  }
  const auto train = open_python("cifar10", folder.path());
  CHECK(train->size() == 5);
  CHECK(train->describe(0).ends_with("data_batch_1.bin record 0"));
}

TEST_CASE("a fraction of CIFAR has the same images in every version and wherever it is") {
  const TemporaryFolder folder;
  NamedBytes binary, python;
  for (int batch = 1; batch <= 5; ++batch) {
    std::vector<int> numbers(10), labels(10, batch);
    for (int i = 0; i < 10; ++i) numbers[static_cast<std::size_t>(i)] = 10 * batch + i;
    Bytes records;
    for (const int number : numbers) {
      records.push_back(static_cast<std::uint8_t>(batch));
      const Bytes planes = planes_of({number});
      records.insert(records.end(), planes.begin(), planes.end());
    }
    binary.emplace_back(text("cifar-10-batches-bin/data_batch_", batch, ".bin"), records);
    python.emplace_back(text("cifar-10-batches-py/data_batch_", batch),
                        cifar_pickle_of(planes_of(numbers), {{"labels", labels}}));
  }
  for (const NamedBytes& members : {binary, python}) {
    for (const auto& [name, bytes] : members) write_bytes(folder.path() / name, bytes);
  }
  write_bytes(folder.path() / "set.tar.gz", gzip_of(tar_of(binary)));
  const auto taken = [&](const std::string& path) {
    const auto data = open_python("cifar10", folder.path() / path, "fraction = 0.3");
    Bytes firsts;
    for (std::int64_t i = 0; i < data->size(); ++i) firsts.push_back(data->get(i).image.pixels.front());
    return firsts;
  };
  const Bytes expected = taken("cifar-10-batches-bin");
  CHECK(expected.size() == 15);
  for (const char* path : {"", "set.tar.gz", "cifar-10-batches-py"}) {
    CAPTURE(path);
    CHECK(taken(path) == expected);
  }
}

TEST_CASE("CIFAR-100 is read in both versions, by fine and by coarse labels") {
  const TemporaryFolder folder;
  const NamedBytes binary = {{"cifar-100-binary/train.bin", binary_of({{19, 99}, {0, 7}})},
                             {"cifar-100-binary/test.bin", binary_of({{2, 3}})}};
  const NamedBytes python = {
      {"cifar-100-python/meta", bytes_of("any")},
      {"cifar-100-python/train",
       cifar_pickle_of(planes_of({99, 7}), {{"fine_labels", {99, 7}}, {"coarse_labels", {19, 0}}})},
      {"cifar-100-python/test", cifar_pickle_of(planes_of({3}), {{"fine_labels", {3}}, {"coarse_labels", {2}}})}};
  for (const NamedBytes& members : {binary, python}) {
    write_bytes(folder.path() / "set.tar.gz", gzip_of(tar_of(members)));
    check_cifar100(folder.path() / "set.tar.gz");
  }
  for (const auto& [name, bytes] : python) write_bytes(folder.path() / "all" / name, bytes);
  check_cifar100(folder.path() / "all");

  write_bytes(folder.path() / "set.tar", tar_of({binary[1]}));
  CHECK(python_complaint("cifar100", folder.path() / "set.tar")
            .ends_with("set.tar holds no train images of CIFAR-100: looked for train.bin and train; it holds "
                       "cifar-100-binary/test.bin"));
}

TEST_CASE("a batch of CIFAR's Python version that is missing, damaged or has another format is named") {
  const TemporaryFolder folder;
  for (const auto& [name, bytes] : python_members()) write_bytes(folder.path() / name, bytes);
  const fs::path batch = folder.path() / "cifar-10-batches-py" / "data_batch_3";
  const auto complain = [&](const Bytes& bytes) {
    write_bytes(batch, bytes);
    return python_complaint("cifar10", folder.path());
  };
  const Bytes planes = planes_of({1, 2});
  const std::vector<std::pair<Bytes, std::string>> cases = {
      {cifar_pickle_of(planes, {{"labels", {1, 10}}}),
       "data_batch_3 is damaged: record 1 has the label 10, expected 0 to 9"},
      {cifar_pickle_of(planes, {{"labels", {1, -1}}}), "record 1 has the label -1"},
      {cifar_pickle_of(planes, {{"labels", {1}}}), "data_batch_3 holds 2 images and 1 labels"},
      {cifar_pickle_of(planes, {{"fine_labels", {1, 2}}}),
       "holds no 'labels'; it holds batch_label, data, fine_labels"},
      {cifar_pickle_of(Bytes(100), {{"labels", {}}}),
       "holds \"|u1\" [0, 3072] of 100 bytes as 'data'; expected uint8 [N, 3072]"},
      {bytes_of("\x80\x02]q\x01."), "holds a list; expected a dict that has 'data'"},
      {bytes_of("pickle"), "data_batch_3 is damaged, or not a pickle of arrays"},
      {Bytes(), "is truncated"}};
  for (const auto& [bytes, words] : cases) {
    const std::string message = complain(bytes);
    CHECK_MESSAGE(message.find(words) != std::string::npos, message);
  }
  const Bytes whole = cifar_pickle_of(planes, {{"labels", {1, 2}}});
  CHECK(complain({whole.begin(), whole.end() - 1000}).find("data_batch_3 is truncated") != std::string::npos);
  fs::remove(batch);
  CHECK(python_complaint("cifar10", folder.path())
            .find("lacks data_batch_3 of CIFAR-10's 5 training batches; it holds cifar-10-batches-py/data_batch_1, ") !=
        std::string::npos);
}

TEST_CASE("a pickle that would run something in Python is refused with its name, and nothing is run") {
  const TemporaryFolder folder;
  const fs::path mark = folder.path() / "executed";
  const std::string touch = "touch " + mark.string();
  const std::string pickle = text("\x80\x02", "cposix\nsystem\nU", static_cast<char>(touch.size()), touch, "\x85R.");
  write_bytes(folder.path() / "all" / "train", bytes_of(pickle));
  const std::string message = python_complaint("cifar100", folder.path() / "all");
  CHECK_MESSAGE(message.find("all:train names \"posix.system\", which is refused: only arrays and plain containers are "
                             "read, and nothing is executed") != std::string::npos,
                message);
  CHECK(!fs::exists(mark));
}
