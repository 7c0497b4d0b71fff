#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "casdm/error.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<Dataset> open_cifar10(const fs::path& path, const std::string& split = "train",
                                      std::int64_t channels = 3) {
  return make<Dataset>("cifar10", "path = \"" + path.string() + "\"\nsplit = \"" + split + "\"",
                       {ImageShape::square(channels, 32)});
}

/// Sets the type in a tar header, with the right checksum.
void sign(std::uint8_t* header, char type) {
  header[156] = static_cast<std::uint8_t>(type);
  std::memset(header + 148, ' ', 8);
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += header[i];
  std::snprintf(reinterpret_cast<char*>(header) + 148, 8, "%06o", sum);
}

/// A batch of one record per label: with planes filled with 10, 20, 30 plus the label.
Bytes batch_of(const std::vector<std::uint8_t>& labels) {
  Bytes bytes;
  for (const std::uint8_t label : labels) {
    bytes.push_back(label);
    for (const int plane : {10, 20, 30}) bytes.insert(bytes.end(), 1024, static_cast<std::uint8_t>(plane + label));
  }
  return bytes;
}

NamedBytes binary_members() {
  return {{"cifar-10-batches-bin/", {}},
          {"cifar-10-batches-bin/data_batch_2.bin", batch_of({9})},
          {"cifar-10-batches-bin/data_batch_1.bin", batch_of({3, 0})},
          {"cifar-10-batches-bin/data_batch_3.bin", batch_of({1})},
          {"cifar-10-batches-bin/data_batch_4.bin", batch_of({2})},
          {"cifar-10-batches-bin/data_batch_5.bin", batch_of({4, 6})},
          {"cifar-10-batches-bin/batches.meta.txt", bytes_of("airplane\n")},
          {"cifar-10-batches-bin/test_batch.bin", batch_of({5})}};
}

NamedBytes tree_members() {
  const auto image = [](std::uint8_t grey) { return png_of(plain(32, 32, {grey, grey, grey})); };
  return {{"train/", {}},
          {"train/truck/0000.png", image(90)},
          {"train/cat/0001.png", image(31)},
          {"train/cat/0000.png", image(30)},
          {"test/ship/0000.png", image(80)}};
}

/// `tar` with a different type for the member `name`.
Bytes with_type(Bytes tar, std::string_view name, char type) {
  std::uint8_t* header = &*std::search(tar.begin(), tar.end(), name.begin(), name.end());
  sign(header, type);
  return tar;
}

void unpack(const fs::path& folder, const NamedBytes& members) {
  for (const auto& [name, bytes] : members) {
    if (!name.ends_with('/')) write_bytes(folder / name, bytes);
  }
}

void check_binary(const fs::path& path) {
  const auto train = open_cifar10(path);
  REQUIRE(train->size() == 7);
  CHECK(train->get(6).label == 6);
  CHECK(train->num_classes() == 10);
  CHECK(train->get(0).label == 3);
  CHECK(train->get(1).label == 0);
  CHECK(train->get(2).label == 9);
  CHECK(train->get(0).image.pixels == plain(32, 32, {13, 23, 33}).pixels);
  CHECK(train->get(2).image.pixels == plain(32, 32, {19, 29, 39}).pixels);
  CHECK(train->describe(1).ends_with("data_batch_1.bin record 1"));
  CHECK(train->left_out() == "no image is of the classes 5, 7, 8");
  const auto test = open_cifar10(path, "test");
  REQUIRE(test->size() == 1);
  CHECK(test->get(0).label == 5);
}

void check_tree(const fs::path& path) {
  const auto train = open_cifar10(path);
  REQUIRE(train->size() == 3);
  CHECK(train->num_classes() == 10);
  CHECK(train->get(0).label == 3);
  CHECK(train->get(0).image.pixels[0] == 30);
  CHECK(train->get(1).image.pixels[0] == 31);
  CHECK(train->get(2).label == 9);
  CHECK(train->describe(2).ends_with("train/truck/0000.png"));
  CHECK(train->left_out() == "no image is of the classes 0, 1, 2, 4, 5 and 3 more");
  const auto test = open_cifar10(path, "test");
  REQUIRE(test->size() == 1);
  CHECK(test->get(0).label == 8);
}

}  // namespace

TEST_CASE("CIFAR-10's binary version is read from a folder, a tar and a tar.gz") {
  const TemporaryFolder folder;
  unpack(folder.path() / "all", binary_members());
  check_binary(folder.path() / "all");
  check_binary(folder.path() / "all" / "cifar-10-batches-bin" / "..");
  write_bytes(folder.path() / "set.tar", tar_of(binary_members()));
  check_binary(folder.path() / "set.tar");
  write_bytes(folder.path() / "set.tar.gz", gzip_of(tar_of(binary_members())));
  check_binary(folder.path() / "set.tar.gz");
}

TEST_CASE("CIFAR-10 as a tree of image files is read from a folder, a tar and a tar.gz") {
  const TemporaryFolder folder;
  unpack(folder.path() / "all", tree_members());
  check_tree(folder.path() / "all");
  write_bytes(folder.path() / "set.tar", tar_of(tree_members()));
  check_tree(folder.path() / "set.tar");
  write_bytes(folder.path() / "set.tgz", gzip_of(tar_of(tree_members())));
  check_tree(folder.path() / "set.tgz");
}

TEST_CASE("members with long names are found by these names") {
  const TemporaryFolder folder;
  const std::string name = std::string(120, 'x') + "/train/dog/0000.png";
  write_bytes(folder.path() / "set.tar", tar_of({{name, png_of(plain(32, 32, {1, 2, 3}))}}));
  const auto dataset = open_cifar10(folder.path() / "set.tar");
  CHECK(dataset->get(0).label == 5);
  CHECK(dataset->describe(0).ends_with(name));
}

TEST_CASE("channels = 1 gives grey CIFAR-10") {
  const TemporaryFolder folder;
  unpack(folder.path(), binary_members());
  const Image image = open_cifar10(folder.path(), "train", 1)->get(1).image;
  CHECK(image.channels == 1);
  CHECK(image.pixels == Bytes(1024, 18));  // (299 * 10 + 587 * 20 + 114 * 30) / 1000 = 18.15
}

TEST_CASE("damaged CIFAR-10 is refused by name") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set.tar.gz";
  const Bytes packed = gzip_of(tar_of(binary_members()));
  const auto complaint = [&](const Bytes& bytes) {
    write_bytes(path, bytes);
    return message_of<Error>([&] { open_cifar10(path); });
  };

  std::string message =
      complaint(Bytes(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(packed.size() / 2)));
  CHECK_MESSAGE(message.find("set.tar.gz cannot be read as a tar archive: it ends too early") != std::string::npos,
                message);

  Bytes flipped = packed;
  flipped[flipped.size() - 6] ^= 0x55;  // in gzip's checksum
  message = complaint(flipped);
  CHECK_MESSAGE(message.find("set.tar.gz cannot be read as a tar archive: ") != std::string::npos, message);

  Bytes tar = tar_of(binary_members());
  tar[513] ^= 1;  // in the name of the first file
  message = complaint(tar);
  CHECK_MESSAGE(message.find("set.tar.gz cannot be read as a tar archive: it is damaged: ") != std::string::npos,
                message);

  Bytes cut = tar_of(binary_members());
  cut.resize(3000);
  message = complaint(cut);
  CHECK_MESSAGE(message.find("it ends too early") != std::string::npos, message);

  message = complaint(bytes_of(std::string(2000, 'x')));
  CHECK_MESSAGE(message.find("it is not one, plain or gzipped") != std::string::npos, message);

  message = complaint({});
  CHECK_MESSAGE(message.find("it is too short to be one") != std::string::npos, message);

  Bytes batch = batch_of({1, 2});
  batch.pop_back();
  message = complaint(tar_of({{"data_batch_1.bin", batch}}));
  CHECK_MESSAGE(
      message.find("data_batch_1.bin is truncated or not a CIFAR-10 batch: it has 6145 bytes") != std::string::npos,
      message);

  message = complaint(tar_of({{"data_batch_1.bin", batch_of({1, 77})}}));
  CHECK_MESSAGE(message.find("record 1 has the label 77") != std::string::npos, message);

  message = complaint(tar_of({{"train/cta/0.png", png_of(plain(32, 32, {1, 1, 1}))}}));
  CHECK_MESSAGE(message.find("CIFAR-10 has no class \"cta\"") != std::string::npos, message);

  message = complaint(tar_of({{"train/cat/0.png", bytes_of("no image")}, {"train/cat/1.png", {}}}));
  CHECK(message == "nothing thrown");
  message = message_of<Error>([&] { open_cifar10(path)->get(0); });
  CHECK_MESSAGE(message.find("set.tar.gz:train/cat/0.png cannot be decoded: it is neither") != std::string::npos,
                message);
  message = message_of<Error>([&] { open_cifar10(path)->get(1); });
  CHECK_MESSAGE(message.find("set.tar.gz:train/cat/1.png cannot be decoded: the file is empty") != std::string::npos,
                message);
}

TEST_CASE("a missing training batch of CIFAR-10 is named") {
  const TemporaryFolder folder;
  NamedBytes members = binary_members();
  std::erase_if(members, [](const auto& member) {
    return member.first.ends_with("batch_2.bin") || member.first.ends_with("batch_5.bin");
  });
  unpack(folder.path(), members);
  const std::string message = message_of<Error>([&] { open_cifar10(folder.path()); });
  CHECK_MESSAGE(message.find("lacks data_batch_2.bin, data_batch_5.bin of CIFAR-10's 5 training batches; it holds "
                             "cifar-10-batches-bin/data_batch_1.bin, ") != std::string::npos,
                message);
  CHECK(open_cifar10(folder.path(), "test")->size() == 1);
}

TEST_CASE("CIFAR-10 with a duplicate file or a link is refused by name") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set.tar";
  const auto complaint = [&](const Bytes& tar) {
    write_bytes(path, tar);
    return message_of<Error>([&] { open_cifar10(path); });
  };
  const auto with = [](NamedBytes members, const std::string& name, const Bytes& bytes) {
    members.emplace_back(name, bytes);
    return members;
  };
  std::string message = complaint(tar_of(with(tree_members(), "train/cat/0000.png", {})));
  CHECK_MESSAGE(message.find("set.tar holds train/cat/0000.png twice") != std::string::npos, message);
  message = complaint(tar_of(with(binary_members(), "cifar-10-batches-bin/data_batch_1.bin", batch_of({3}))));
  CHECK_MESSAGE(message.find("set.tar holds data_batch_1.bin twice: cifar-10-batches-bin/data_batch_1.bin and "
                             "cifar-10-batches-bin/data_batch_1.bin") != std::string::npos,
                message);
  unpack(folder.path() / "all", binary_members());
  unpack(folder.path() / "all" / "copy", {{"data_batch_3.bin", batch_of({1})}});
  message = message_of<Error>([&] { open_cifar10(folder.path() / "all"); });
  CHECK_MESSAGE(message.find("holds data_batch_3.bin twice: ") != std::string::npos, message);
  CHECK(open_cifar10(folder.path() / "all", "test")->size() == 1);

  for (const char type : {'1', '2', '6'}) {
    const Bytes linked = with_type(tar_of(with(tree_members(), "train/dog/0.png", {})), "train/dog/0.png", type);
    message = complaint(linked);
    CHECK_MESSAGE(message.find("set.tar cannot be read as a tar archive: train/dog/0.png is a ") != std::string::npos,
                  message);
    CHECK(open_cifar10(path, "test")->size() == 1);
  }
  fs::create_symlink("/nowhere", folder.path() / "all" / "data_batch_6.bin");
  message = message_of<Error>([&] { open_cifar10(folder.path() / "all", "test"); });
  CHECK_MESSAGE(message.find("data_batch_6.bin is a link to /nowhere, which does not exist") != std::string::npos,
                message);
}

TEST_CASE("an archive or folder that claims more than CIFAR-10 can be is refused") {
  const TemporaryFolder folder;
  Bytes tar = tar_of({{"data_batch_1.bin", {}}});
  std::snprintf(reinterpret_cast<char*>(tar.data()) + 124, 12, "%011o", 0x7FFFFFFF);
  sign(tar.data(), '0');
  write_bytes(folder.path() / "set.tar.gz", gzip_of(tar));
  std::string message = message_of<Error>([&] { open_cifar10(folder.path() / "set.tar.gz"); });
  CHECK_MESSAGE(message.find("a member claims 2147483647 bytes; the limit is 268435456") != std::string::npos, message);

  // Sparse files of 130 MB each, in which all records are of class 0.
  for (int number = 1; number <= 5; ++number) {
    const fs::path batch = folder.path() / "all" / ("data_batch_" + std::to_string(number) + ".bin");
    write_bytes(batch, {});
    fs::resize_file(batch, std::uintmax_t{3073} * 42'400);
  }
  message = message_of<Error>([&] { open_cifar10(folder.path() / "all"); });
  CHECK_MESSAGE(message.ends_with("is not CIFAR-10: its train images take more than 512 MiB"), message);
}

TEST_CASE("a folder that claims more than CIFAR-100 can be is refused") {
  const TemporaryFolder folder;
  for (const char* copy : {"a", "b", "c", "d", "e"}) {
    const fs::path batch = folder.path() / copy / "train.bin";
    write_bytes(batch, {});
    fs::resize_file(batch, std::uintmax_t{3074} * 42'400);
  }
  const std::string message = message_of<Error>(
      [&] { make<Dataset>("cifar100", "path = \"" + folder.path().string() + "\"", {ImageShape::square(3, 32)}); });
  CHECK_MESSAGE(message.ends_with("is not CIFAR-100: its train images take more than 512 MiB"), message);
}

TEST_CASE("if CIFAR-10 is missing, the message says what was looked for") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "cifar-10" / "data_batch_1.txt", bytes_of("text"));
  std::string message = message_of<Error>([&] { open_cifar10(folder.path()); });
  CHECK_MESSAGE(message.find("looked for data_batch_*.bin, data_batch_* and train/<class>/*.jpg; it holds "
                             "cifar-10/data_batch_1.txt") != std::string::npos,
                message);

  message = message_of<ConfigError>([&] { open_cifar10(folder.path() / "none.tar.gz"); });
  CHECK_MESSAGE(message.find("expected CIFAR-10, as a folder or a tar archive") != std::string::npos, message);
}

TEST_CASE("an archive of very many other files is refused with a few names, without memory for all of them") {
  const TemporaryFolder folder;
  NamedBytes members;
  for (int i = 0; i < 1000; ++i) members.emplace_back(std::string(80, 'n') + std::to_string(1000 + i), Bytes());
  const Bytes archive = tar_of(members);
  const Bytes part = gzip_of({archive.begin(), archive.end() - 1024}), end = gzip_of(Bytes(1024));
  Bytes parts;
  for (int i = 0; i < 250; ++i) parts.insert(parts.end(), part.begin(), part.end());
  parts.insert(parts.end(), end.begin(), end.end());
  const fs::path path = folder.path() / "others.tar.gz";
  write_bytes(path, parts);
  const long before = peak_memory();
  const std::string message = message_of<Error>([&] { open_cifar10(path); });
  CHECK_MESSAGE(message.ends_with("1000 and 249994 more"), message);
  CHECK(peak_memory() - before < 16);
}

TEST_CASE("a pipe or a device in place of a data set is refused without blocking") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder.path() / "pipe").c_str(), 0600) == 0);
  for (const fs::path& path : {folder.path() / "pipe", fs::path("/dev/zero")}) {
    for (const std::string type : {"cifar10", "zip", "folder"}) {
      CAPTURE(type);
      CHECK_THROWS_WITH_AS(make<Dataset>(type, "path = \"" + path.string() + "\"", {ImageShape::square(3, 32)}),
                           doctest::Contains("neither a file nor a folder"), ConfigError);
    }
  }
}
