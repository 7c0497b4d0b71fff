#include "lmdb_dataset.h"

#include <lmdb.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "decoding.h"
#include "files.h"

namespace casdm::dataset_images {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFile = "data.mdb";
/// The number of entries whose values are checked when the data set is opened.
constexpr std::int64_t kLooks = 16;
/// Bytes of the smallest entry: its offset, 2, its header, 8, and a key of one character.
constexpr std::uint64_t kLeastEntry = 11;

std::string_view view(const MDB_val& value) { return {static_cast<const char*>(value.mv_data), value.mv_size}; }

Bytes bytes_of(std::string_view value) { return {reinterpret_cast<const std::uint8_t*>(value.data()), value.size()}; }

/// A readable form of a key: itself if it is text, else hexadecimal digits.
std::string shown(std::string_view key) {
  constexpr std::size_t most = 80;
  const auto is_plain = [](char c) { return std::isprint(static_cast<unsigned char>(c)) != 0; };
  if (std::all_of(key.begin(), key.end(), is_plain)) return std::string(key.substr(0, most));
  std::string digits = "0x";
  for (const char c : key.substr(0, most / 2)) {
    for (const int shift : {4, 0}) digits += "0123456789abcdef"[static_cast<unsigned char>(c) >> shift & 15];
  }
  return digits;
}

/// The address of a mapped file of `size` bytes that contains `inside`, which LMDB does not tell; 0 if there is none.
std::uintptr_t start_of_map(const char* inside, std::uint64_t size) {
  std::ifstream maps("/proc/self/maps");  // "7f0000000000-7f0000004000 r--s 00000000 08:01 1234 /path"
  if (!maps) throw Error("an LMDB cannot be checked without /proc/self/maps; mount /proc");
  const auto address = reinterpret_cast<std::uintptr_t>(inside);
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0, offset = 0;
    std::string access;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end >> access >> offset;
    if (address >= begin && address < end)
      return offset == 0 && end - begin == (size + page - 1) / page * page ? begin : 0;
  }
  return 0;
}

/// Subfolders that contain a database.
std::vector<std::string> databases_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    std::error_code ignored;
    if (fs::exists(entry.path() / kFile, ignored)) names.push_back(entry.path().filename().string());
  }
  return names;
}

}  // namespace

LmdbDataset::LmdbDataset(const LmdbOptions& options, const Spec& spec)
    : path_(options.path), form_{spec, options.exif_orientation} {
  require_channels(spec.image.channels);
  require_exists(path_, "a folder that holds data.mdb");
  if (!fs::is_directory(path_)) {
    if (path_.filename() != kFile) {
      throw ConfigError(text("path = '", path_.string(), "': expected a folder that holds data.mdb, got a file"));
    }
    path_ = path_.parent_path().empty() ? fs::path(".") : path_.parent_path();
  }
  if (!fs::is_regular_file(path_ / kFile)) {
    const std::vector<std::string> others = databases_in(path_);
    throw Error(text(path_.string(), " holds no data.mdb; it holds ", contents_of(path_),
                     others.empty() ? ". An LMDB is a folder with data.mdb, such as bedroom_train_lmdb after unzip"
                                    : text("; give one of the LMDBs below: ", some_of(others))));
  }
  open_environment();
  read_entries();
  require_images();
}

/// Opens without locks, which would need a writable folder, and maps no more than the file, whatever size its writer
/// asked for.
void LmdbDataset::open_environment() {
  const auto check = [&](int code) {
    if (code == MDB_SUCCESS) return;
    throw Error(text((path_ / kFile).string(), " cannot be read as an LMDB (is it whole?): ", mdb_strerror(code)));
  };
  MDB_env* environment = nullptr;
  check(mdb_env_create(&environment));
  environment_ = {environment, mdb_env_close};
  const std::uintmax_t size = fs::file_size(path_ / kFile);
  if (size == 0) throw Error(text((path_ / kFile).string(), " is empty"));
  check(mdb_env_set_mapsize(environment, size));
  check(mdb_env_open(environment, path_.c_str(), MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0));
  MDB_txn* transaction = nullptr;
  check(mdb_txn_begin(environment, nullptr, MDB_RDONLY, &transaction));
  transaction_ = {transaction, mdb_txn_abort};
  MDB_envinfo info{};
  MDB_stat status{};
  check(mdb_env_info(environment, &info));
  check(mdb_env_stat(environment, &status));
  last_change_ = info.me_last_txnid;
  const std::uint64_t needed = (info.me_last_pgno + 1) * std::uint64_t{status.ms_psize};
  if (needed > size) {  // reading the map beyond the end of the file would kill the process
    throw Error(text((path_ / kFile).string(), " is truncated: it has ", size, " of ", needed, " bytes"));
  }
}

void LmdbDataset::read_entries() {
  const auto fail = [&](const std::string& reason) {
    throw Error(text((path_ / kFile).string(), " is damaged: ", reason));
  };
  const auto check = [&](int code) {
    if (code != MDB_SUCCESS) fail(mdb_strerror(code));
  };
  MDB_dbi database = 0;
  check(mdb_dbi_open(transaction_.get(), nullptr, 0, &database));
  MDB_stat status{};
  check(mdb_stat(transaction_.get(), database, &status));
  const std::uint64_t bytes = fs::file_size(path_ / kFile);
  if (status.ms_entries > bytes / kLeastEntry) {
    fail(text("it promises ", status.ms_entries, " entries, more than its ", bytes, " bytes can hold"));
  }
  MDB_cursor* opened = nullptr;
  check(mdb_cursor_open(transaction_.get(), database, &opened));
  const std::unique_ptr<MDB_cursor, void (*)(MDB_cursor*)> cursor(opened, mdb_cursor_close);
  MDB_val key{}, value{};
  int code = 0;
  while ((code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
    if (entries_.size() == status.ms_entries) fail(text("it promises ", status.ms_entries, " entries and has more"));
    entries_.push_back({view(key), view(value)});
  }
  if (code != MDB_NOTFOUND) check(code);
  if (entries_.size() != status.ms_entries) {
    fail(text("it promises ", status.ms_entries, " entries and has ", entries_.size()));
  }
  if (entries_.empty()) throw Error(text((path_ / kFile).string(), " is an LMDB without entries"));
  require_within_file();
}

/// LMDB checks where an entry begins, but not how long it claims to be.
void LmdbDataset::require_within_file() const {
  const std::uint64_t bytes = fs::file_size(path_ / kFile);
  const std::uintptr_t first = start_of_map(entries_.front().key.data(), bytes);
  const auto require = [&](std::string_view part, const auto& what) {
    const std::uint64_t at = reinterpret_cast<std::uintptr_t>(part.data()) - first;
    if (first != 0 && at <= bytes && part.size() <= bytes - at) return;
    throw Error(text((path_ / kFile).string(), " is damaged: ", what(), " ends beyond the file"));
  };
  for (std::int64_t i = 0; i < size(); ++i) {
    const Entry& entry = entries_[static_cast<std::size_t>(i)];
    require(entry.key, [&] { return text("the key of entry ", i); });
    require(entry.value, [&] { return text("the value of the key ", name(i)); });
  }
}

/// Some damaged images are no reason to refuse the others; they are reported where they are read.
void LmdbDataset::require_images() const {
  const std::int64_t looks = std::min(kLooks, size());
  std::vector<std::int64_t> others;
  for (std::int64_t i = 0; i < looks; ++i) {
    const std::int64_t index = i * size() / looks;
    if (!looks_like_image(bytes_of(entries_[static_cast<std::size_t>(index)].value))) others.push_back(index);
  }
  if (2 * std::ssize(others) < looks) return;
  const Entry& entry = entries_[static_cast<std::size_t>(others.front())];
  throw Error(text((path_ / kFile).string(), " is not laid out as LSUN's: the value of the key ", name(others.front()),
                   ", ", entry.value.size(), " bytes, is not a WebP, JPEG or PNG file"));
}

/// The reader holds no lock, so a program that writes to the database may reuse its pages.
void LmdbDataset::require_unchanged() const {
  MDB_envinfo info{};
  if (mdb_env_info(environment_.get(), &info) == MDB_SUCCESS && info.me_last_txnid == last_change_) return;
  fail_changed((path_ / kFile).string());
}

Example LmdbDataset::get(std::int64_t index) const {
  const Entry& entry = entries_.at(static_cast<std::size_t>(index));
  require_unchanged();
  if (entry.value.size() > kMaxFileBytes) {
    throw Error(text(describe(index), " has ", entry.value.size(), " bytes; the limit is ", kMaxFileBytes));
  }
  return decode_image(bytes_of(entry.value), form_, describe(index));
}

std::string LmdbDataset::key(std::int64_t index) const {
  return std::string(entries_.at(static_cast<std::size_t>(index)).key);
}

std::string LmdbDataset::name(std::int64_t index) const {
  return shown(entries_.at(static_cast<std::size_t>(index)).key);
}

std::string LmdbDataset::describe(std::int64_t index) const { return text(path_.string(), ":", name(index)); }

}  // namespace casdm::dataset_images
