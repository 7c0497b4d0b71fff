#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <thread>

#include "casdm/error.h"
#include "casdm/text.h"
#include "image_makers.h"
#include "lmdb_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<Dataset> open_lmdb(const fs::path& path, std::int64_t size = 8) {
  return make<Dataset>("lmdb", "path = \"" + path.string() + "\"", {ImageShape::square(3, size)});
}

std::string complaint(const fs::path& path) {
  return message_of<Error>([&] { open_lmdb(path); });
}

/// Images whose keys are not in sorted order.
NamedBytes entries() {
  return {{"cc3c6a", jpeg_of(plain(16, 16, {90, 90, 90}))},
          {"aa36f1", webp_of(pattern(8, 8, 1))},
          {"bb0017", png_of(pattern(8, 8, 2))}};
}

/// Larger than a page, so that values get their own pages.
NamedBytes large_entries() {
  NamedBytes entries;
  for (int i = 0; i < 50; ++i) entries.emplace_back("key" + std::to_string(100 + i), png_of(pattern(64, 64, i)));
  return entries;
}

/// `database` with another size of the value of `key`, in every copy of its entry: the size is six bytes before the
/// length of the key.
Bytes with_value_size(Bytes database, const std::string& key, std::size_t size) {
  const std::string entry = text(std::string{static_cast<char>(key.size()), 0}, key);
  std::size_t copies = 0;
  for (auto at = database.begin() + 6;; ++at, ++copies) {
    at = std::search(at, database.end(), entry.begin(), entry.end());
    if (at == database.end()) break;
    for (std::ptrdiff_t byte = 0; byte < 4; ++byte) at[byte - 6] = static_cast<std::uint8_t>(size >> (8 * byte));
  }
  REQUIRE(copies > 0);
  return database;
}

}  // namespace

TEST_CASE("an LMDB of WebP, JPEG and PNG files is read in the order of its keys") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "bedroom_train_lmdb";
  write_lmdb(path, entries());
  for (const fs::path& given : {path, path / "data.mdb"}) {
    const auto data = open_lmdb(given);
    REQUIRE(data->size() == 3);
    CHECK(data->num_classes() == 0);
    CHECK(data->get(0).image.pixels == pattern(8, 8, 1).pixels);
    CHECK(data->get(1).image.pixels == pattern(8, 8, 2).pixels);
    CHECK(data->get(2).image.width == 8);
    CHECK(data->describe(2) == path.string() + ":cc3c6a");
  }
}

TEST_CASE("an LMDB is read whatever map size its writer used, from a read-only folder, and twice at once") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set_lmdb";
  write_lmdb(path, large_entries(), std::size_t{1} << 40);
  fs::remove(path / "lock.mdb");
  fs::permissions(path / "data.mdb", fs::perms::owner_read);
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_exec);
  const auto first = open_lmdb(path, 64), second = open_lmdb(path, 64);
  REQUIRE(first->size() == 50);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i)
        wrong[t] += (t % 2 == 0 ? first : second)->get(i).image.pixels != pattern(64, 64, i).pixels ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
  fs::permissions(path, fs::perms::owner_all);
  CHECK(!fs::exists(path / "lock.mdb"));
}

TEST_CASE("for a folder without an LMDB the message says what it contains, and which LMDBs are below it") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "some" / "image.webp", {});
  std::string message = complaint(folder.path() / "some");
  CHECK_MESSAGE(message.find("some holds no data.mdb; it holds image.webp. An LMDB is a folder") != std::string::npos,
                message);
  write_lmdb(folder.path() / "all" / "church_train_lmdb", entries());
  message = complaint(folder.path() / "all");
  CHECK_MESSAGE(message.ends_with("give one of the LMDBs below: church_train_lmdb"), message);
}

TEST_CASE("a truncated or empty LMDB, another file, or one without images is refused by name") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set_lmdb", file = path / "data.mdb";
  write_lmdb(path, large_entries());
  const Bytes whole = read_bytes(file);
  const auto complain = [&](const Bytes& bytes) {
    write_bytes(file, bytes);
    return complaint(path);
  };
  std::string message = complain({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(whole.size() / 2)});
  CHECK_MESSAGE(message.find("data.mdb is truncated: it has ") != std::string::npos, message);
  message = complain({whole.begin(), whole.begin() + 3000});
  CHECK_MESSAGE(message.find("data.mdb cannot be read as an LMDB (is it whole?)") != std::string::npos, message);
  message = complain(Bytes(20000, 7));
  CHECK_MESSAGE(message.find("data.mdb cannot be read as an LMDB (is it whole?)") != std::string::npos, message);
  message = complain({});
  CHECK_MESSAGE(message.ends_with("data.mdb is empty"), message);

  fs::remove_all(path);
  write_lmdb(path, {});
  CHECK(complaint(path).ends_with("data.mdb is an LMDB without entries"));
  write_lmdb(path, {{"a", png_of(pattern(8, 8, 1))}, {std::string("b\1", 2), bytes_of("text")}});
  message = complaint(path);
  CHECK_MESSAGE(
      message.ends_with("is not laid out as LSUN's: the value of the key 0x6201, 4 bytes, is not a WebP, JPEG or "
                        "PNG file"),
      message);
}

TEST_CASE("an LMDB with some entries that are no images is opened, wherever they are, and each is reported when read") {
  const TemporaryFolder folder;
  for (const int damaged : {0, 3, 7}) {
    CAPTURE(damaged);
    NamedBytes some;
    for (int i = 0; i < 8; ++i) {
      some.emplace_back(std::to_string(i), i == damaged ? Bytes() : png_of(pattern(8, 8, i)));
    }
    const fs::path path = folder.path() / std::to_string(damaged);
    write_lmdb(path, some);
    const auto set = open_lmdb(path, 8);
    REQUIRE(set->size() == 8);
    for (int i = 0; i < 8; ++i) {
      if (i == damaged) {
        CHECK_THROWS_AS(set->get(i), Error);
      } else {
        CHECK(set->get(i).image.pixels == pattern(8, 8, i).pixels);
      }
    }
  }
}

TEST_CASE("an LMDB with a value that ends beyond the file or with a wrong number of entries is refused as damaged") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set_lmdb", file = path / "data.mdb";
  write_lmdb(path, large_entries());
  const Bytes whole = read_bytes(file);
  CHECK(open_lmdb(path, 64)->size() == 50);
  const auto complain = [&](const Bytes& bytes) {
    write_bytes(file, bytes);
    return complaint(path);
  };

  std::string message = complain(with_value_size(whole, "key149", whole.size() - 8192));  // it is near the end
  CHECK_MESSAGE(
      message.find("data.mdb is damaged: the value of the key key149 ends beyond the file") != std::string::npos,
      message);

  for (const std::uint64_t promised : {std::uint64_t{1} << 60, std::uint64_t{49}, std::uint64_t{51}}) {
    Bytes other = whole;
    for (const std::size_t page : {0, 4096}) std::memcpy(other.data() + page + 120, &promised, 8);
    message = complain(other);
    CHECK_MESSAGE(message.find(text("data.mdb is damaged: it promises ", promised, " entries")) != std::string::npos,
                  message);
    CHECK((message.find(" bytes can hold") != std::string::npos) == (promised > whole.size()));
  }
}

TEST_CASE("a value that ends beyond the file is found where the pages before the first entry are unused") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set_lmdb", file = path / "data.mdb";
  write_lmdb(path,
             {{"a", Bytes(1 << 20, 'x')}, {"key1", png_of(pattern(64, 64, 1))}, {"key2", png_of(pattern(64, 64, 2))}});
  remove_from_lmdb(path, "a");
  CHECK(open_lmdb(path, 64)->get(1).image.pixels == pattern(64, 64, 2).pixels);
  const Bytes whole = read_bytes(file);
  write_bytes(file, with_value_size(whole, "key2", whole.size() / 2));
  const std::string message = complaint(path);
  CHECK_MESSAGE(message.ends_with("data.mdb is damaged: the value of the key key2 ends beyond the file"), message);
}

TEST_CASE("if another program writes to an LMDB while it is read, that is noticed") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "set_lmdb";
  write_lmdb(path, entries());
  const auto data = open_lmdb(path);
  CHECK(data->get(0).image.width == 8);
  write_lmdb(path, {{"dd", png_of(pattern(8, 8, 3))}});
  const std::string message = message_of<Error>([&] { data->get(0); });
  CHECK_MESSAGE(message.find("data.mdb was changed by another program since it was opened") != std::string::npos,
                message);
  CHECK(open_lmdb(path)->size() == 4);
}
