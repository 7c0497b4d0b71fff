#include "sdk/arrays/npz_reader.h"

#include <ATen/ATen.h>
#include <zip.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr const char* kImageArray = "arr_0";
constexpr const char* kEnding = ".npy";
constexpr std::size_t kMagic = 6;
constexpr std::uint64_t kMostDeflated = 1032;  // maximum number of bytes that one byte of a deflated file can stand for
constexpr std::uint64_t kLongestText = 16 << 20;
constexpr std::size_t kMostDimensions = 64;  // NumPy's
constexpr std::size_t kLongestHeader = 1 << 16;
constexpr std::int64_t kLargestArray = std::int64_t{1} << 31;  // bytes; limit for an array that is read at once

/// The text after `key` and a colon in the header's dict.
std::string_view after(std::string_view dict, std::string_view key) {
  const std::size_t found = dict.find(text('\'', key, "':"));
  if (found == std::string_view::npos) throw Error(text("has an array without '", key, "'"));
  dict.remove_prefix(found + key.size() + 3);
  dict.remove_prefix(std::min(dict.find_first_not_of(' '), dict.size()));
  return dict;
}

std::vector<std::int64_t> sizes_in(std::string_view tuple) {
  std::vector<std::int64_t> sizes;
  if (!tuple.starts_with('(')) throw Error("has an array whose shape is not a tuple");
  tuple.remove_prefix(1);
  while (true) {
    tuple.remove_prefix(std::min(tuple.find_first_not_of(" ,"), tuple.size()));
    if (tuple.starts_with(')')) return sizes;
    std::int64_t size = 0;
    const auto [end, failure] = std::from_chars(tuple.data(), tuple.data() + tuple.size(), size);
    if (failure != std::errc() || size < 0) throw Error("has an array whose shape is not a tuple of sizes");
    if (sizes.size() == kMostDimensions)
      throw Error("has an array of more than 64 dimensions, which NumPy does not write");
    sizes.push_back(size);
    tuple.remove_prefix(static_cast<std::size_t>(end - tuple.data()));
  }
}

/// As NumPy does, refuses sides that are too large even if another is 0.
std::int64_t elements(const NpyHeader& header) {
  std::int64_t count = 1;
  bool is_empty = false;
  for (const std::int64_t size : header.shape) {
    const std::int64_t side = std::max<std::int64_t>(size, 1);
    if (count > std::numeric_limits<std::int64_t>::max() / side / 64)
      throw Error(text("has an array too large, ", shown(header)));
    count *= side;
    is_empty = is_empty || size == 0;
  }
  return is_empty ? 0 : count;
}

/// "a, b, c and 12 more".
std::string few_of(const std::vector<std::string>& parts) {
  constexpr std::size_t most = 8;
  const std::size_t rest = parts.size() - std::min(parts.size(), most);
  const std::string first = join({parts.begin(), parts.end() - static_cast<std::ptrdiff_t>(rest)}, ", ");
  return rest == 0 ? first : text(first, " and ", rest, " more");
}

}  // namespace

std::int64_t npy_item_bytes(const std::string& type) {
  if (type.size() < 3 || std::string_view("iuf").find(type[1]) == std::string_view::npos) return 0;
  std::int64_t bytes = 0;
  const auto [end, failure] = std::from_chars(type.data() + 2, type.data() + type.size(), bytes);
  return failure == std::errc() && end == type.data() + type.size() && bytes >= 1 && bytes <= 16 ? bytes : 0;
}

std::int64_t npy_bytes(const NpyHeader& header) { return elements(header) * npy_item_bytes(header.type); }

std::string shown(const NpyHeader& header) {
  std::vector<std::string> sizes;
  for (const std::int64_t size : header.shape) sizes.push_back(std::to_string(size));
  return text(quoted(header.type), " [", few_of(sizes), "]");
}

NpyHeader parse_npy_header(const std::string& bytes, std::size_t& size) {
  if (bytes.size() < kMagic + 4 || bytes.substr(0, kMagic) != "\x93NUMPY")
    throw Error("holds a member that is not an array");
  const auto byte = [&](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes.at(at))); };
  const bool is_long = byte(kMagic) >= 2;
  const std::size_t start = kMagic + (is_long ? 6 : 4);
  std::size_t length = byte(8) | byte(9) << 8;
  if (is_long && bytes.size() >= start) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kLongestHeader || bytes.size() < start + length) throw Error("has an array whose header does not end");
  const std::string_view dict = std::string_view(bytes).substr(start, length);
  NpyHeader header;
  const std::string_view type = after(dict, "descr");
  const std::size_t end = type.find('\'', 1);
  if (!type.starts_with('\'') || end == std::string_view::npos) throw Error("has an array of records, not of numbers");
  header.type = type.substr(1, end - 1);
  header.is_fortran = after(dict, "fortran_order").starts_with("True");
  header.shape = sizes_in(after(dict, "shape"));
  elements(header);  // refuses too many
  size = start + length;
  return header;
}

NpzReader::NpzReader(std::filesystem::path path) : path_(std::move(path)) {
  int code = 0;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path_, ignored)) fail("is not a file");
  zip* archive = zip_open(path_.c_str(), ZIP_RDONLY, &code);
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail(text("cannot be read as an NPZ (is it truncated?): ", reason));
  }
  archive_ = {archive, zip_discard};
  const auto count = static_cast<std::uint64_t>(zip_get_num_entries(archive, 0));
  for (std::uint64_t i = 0; i < count; ++i) {
    const char* raw = zip_get_name(archive, i, 0);
    const std::string name = raw != nullptr ? raw : "";
    if (!members_.emplace(name, i).second) {
      fail(text("holds ", quoted(name), " twice, and readers differ in which of the two they use; make the archive ",
                "again, with different names"));
    }
    if (name.ends_with(kEnding)) names_.push_back(name.substr(0, name.size() - std::string_view(kEnding).size()));
  }
}

void NpzReader::fail(const std::string& what) const { throw Error(text(path_.string(), " ", what)); }

bool NpzReader::has(const std::string& name) const { return members_.contains(name + kEnding); }

std::uint64_t NpzReader::index_of(const std::string& name) const {
  const auto found = members_.find(name + kEnding);
  if (found == members_.end()) fail(text("holds no array ", quoted(name), "; it holds ", few_of(names_)));
  return found->second;
}

std::shared_ptr<zip_file> NpzReader::open(const std::string& name) const {
  zip_file_t* file = zip_fopen_index(archive_.get(), index_of(name), 0);
  if (file == nullptr) fail(text("cannot be read: ", zip_strerror(archive_.get())));
  return {file, zip_fclose};
}

void NpzReader::read(zip_file* file, void* data, std::size_t size, const std::string& name) const {
  char* next = static_cast<char*>(data);
  while (size > 0) {
    const zip_int64_t got = zip_fread(file, next, size);
    if (got < 0) fail(text("cannot be read, ", quoted(name), ": ", zip_file_strerror(file)));
    if (got == 0) fail(text("ends within the array ", quoted(name)));
    next += got;
    size -= static_cast<std::size_t>(got);
  }
}

NpyHeader NpzReader::read_header(zip_file* file, const std::string& name) const {
  std::string bytes(kMagic + 6, '\0');
  read(file, bytes.data(), kMagic + 4, name);
  const auto byte = [&](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[at])); };
  std::size_t length = byte(8) | byte(9) << 8;
  std::size_t start = kMagic + 4;
  if (byte(kMagic) >= 2) {
    read(file, bytes.data() + start, 2, name);
    length |= byte(10) << 16 | byte(11) << 24;
    start += 2;
  }
  bytes.resize(start + std::min(length, kLongestHeader));
  read(file, bytes.data() + start, bytes.size() - start, name);
  std::size_t size = 0;
  try {
    return parse_npy_header(bytes, size);
  } catch (const Error& error) {
    fail(text(error.what(), ": ", quoted(name)));
  }
}

NpyHeader NpzReader::header(const std::string& name) const {
  NpyHeader header = read_header(open(name).get(), name);
  require_room(header, name);
  return header;
}

void NpzReader::require_room(const NpyHeader& header, const std::string& name) const {
  const std::size_t digit = header.type.find_first_of("123456789");
  const std::int64_t bytes = digit == std::string::npos ? 1 : header.type[digit] - '0';
  zip_stat_t entry;
  zip_stat_init(&entry);
  if (zip_stat_index(archive_.get(), index_of(name), 0, &entry) != 0) fail(zip_strerror(archive_.get()));
  // Both sizes are only claims, but the size of the file itself is known.
  const std::uint64_t room = std::min(entry.size, std::min<std::uint64_t>(entry.comp_size, 1ULL << 50) * kMostDeflated);
  if (static_cast<std::uint64_t>(elements(header)) > room / static_cast<std::uint64_t>(bytes)) {
    fail(text("is damaged or truncated: it has ", room, " bytes for ", quoted(name), ", which is to hold ",
              shown(header)));
  }
}

std::vector<std::uint8_t> NpzReader::bytes(const std::string& name, std::uint64_t limit) const {
  const std::shared_ptr<zip_file> file = open(name);
  const NpyHeader header = read_header(file.get(), name);
  require_room(header, name);
  const auto size = static_cast<std::uint64_t>(npy_bytes(header));
  if (size > limit) {
    fail(text("holds ", size >> 20, " MiB as ", quoted(name), "; at most ", limit >> 20, " MiB are read into memory"));
  }
  std::vector<std::uint8_t> content(size);
  read(file.get(), content.data(), content.size(), name);
  require_end(file.get(), name);
  return content;
}

bool NpzReader::is_stored(const std::string& name) const {
  zip_stat_t entry;
  zip_stat_init(&entry);
  if (zip_stat_index(archive_.get(), index_of(name), 0, &entry) != 0) fail(zip_strerror(archive_.get()));
  return entry.comp_method == ZIP_CM_STORE && entry.encryption_method == ZIP_EM_NONE;
}

void NpzReader::read_at(const std::string& name, std::uint64_t offset, void* data, std::size_t size) const {
  auto found = stored_.find(name);
  if (found == stored_.end()) {
    const std::shared_ptr<zip_file> file = open(name);
    read_header(file.get(), name);
    const auto start = static_cast<std::uint64_t>(zip_ftell(file.get()));
    found = stored_.emplace(name, std::pair(file, start)).first;
  }
  const auto& [file, start] = found->second;
  if (zip_fseek(file.get(), static_cast<zip_int64_t>(start + offset), SEEK_SET) != 0) {
    fail(text("cannot be read, ", quoted(name), ": ", zip_file_strerror(file.get())));
  }
  read(file.get(), data, size, name);
}

void NpzReader::require_end(zip_file* file, const std::string& name) const {
  char past = 0;
  if (zip_fread(file, &past, 1) == 0) return;
  fail(text("is damaged: ", quoted(name), " does not end where it should, or its checksum differs"));
}

std::optional<std::string> NpzReader::text_of(const std::string& member) const {
  const auto found = members_.find(member);
  if (found == members_.end()) return std::nullopt;
  zip_stat_t entry;
  zip_stat_init(&entry);
  if (zip_stat_index(archive_.get(), found->second, 0, &entry) != 0) fail(zip_strerror(archive_.get()));
  if (entry.size > kLongestText)
    fail(text("holds ", entry.size, " bytes as ", quoted(member), ", which is not text written by casdm"));
  const std::shared_ptr<zip_file> file(zip_fopen_index(archive_.get(), found->second, 0), [](zip_file* f) {
    if (f != nullptr) zip_fclose(f);
  });
  if (file == nullptr) fail(text("cannot be read: ", zip_strerror(archive_.get())));
  std::string content(entry.size, '\0');
  read(file.get(), content.data(), content.size(), member);
  require_end(file.get(), member);
  return content;
}

at::Tensor NpzReader::numbers(const std::string& name) const {
  const std::shared_ptr<zip_file> file = open(name);
  const NpyHeader header = read_header(file.get(), name);
  const bool is_double = header.type == "<f8";
  if (!is_double && header.type != "<f4") {
    fail(text("holds ", shown(header), " as ", quoted(name), "; expected numbers in floating point, <f8 or <f4"));
  }
  require_room(header, name);
  if (elements(header) > kLargestArray / 8)
    fail(text("holds an array ", quoted(name), " that is too large to be read"));
  std::vector<std::int64_t> shape = header.shape;
  if (header.is_fortran) std::reverse(shape.begin(), shape.end());
  at::Tensor values = at::empty(shape, is_double ? at::kDouble : at::kFloat);
  read(file.get(), values.data_ptr(), values.nbytes(), name);
  require_end(file.get(), name);
  if (header.is_fortran)
    values = values.permute([&] {
      std::vector<std::int64_t> order;
      for (std::int64_t i = values.dim(); i-- > 0;) order.push_back(i);
      return order;
    }());
  return values.to(at::kDouble).contiguous();
}

namespace {

/// What can be done about an array that is not as expected; empty: nothing is known.
std::string remedy(const NpyHeader& header) {
  if (header.is_fortran) return ". It is in Fortran order: save numpy.ascontiguousarray(array) instead";
  if (!header.shape.empty() && header.shape[0] == 0) return ". It holds no images";
  if (header.type.find('f') == std::string::npos) return "";
  return ". Save them as bytes: values in [-1, 1] as clip((x + 1) * 127.5, 0, 255), in [0, 1] as clip(255 x, 0, 255)";
}

}  // namespace

NpzImages::NpzImages(const std::filesystem::path& path) : archive_(path) {
  header_ = archive_.header(kImageArray);
  const std::vector<std::int64_t>& s = header_.shape;
  const bool fits = header_.type == "|u1" && !header_.is_fortran && s.size() == 4 && s[0] > 0 && s[1] == s[2] &&
                    s[1] > 0 && s[1] <= 4096 && (s[3] == 1 || s[3] == 3);
  if (fits) return;
  archive_.fail(text("holds ", shown(header_), " as \"arr_0\"; expected 8-bit images, uint8 [N, size, size, 3 or 1]",
                     remedy(header_)));
}

void NpzImages::rewind() {
  file_ = archive_.open(kImageArray);
  archive_.read_header(file_.get(), kImageArray);
  next_ = 0;
}

at::Tensor NpzImages::read(std::int64_t index) {
  if (!file_ || index < next_) rewind();
  at::Tensor rows = at::empty({image_size(), image_size(), channels()}, at::kByte);
  for (; next_ <= index; ++next_) archive_.read(file_.get(), rows.data_ptr(), rows.nbytes(), kImageArray);
  char past = 0;
  if (next_ == size() && zip_fread(file_.get(), &past, 1) != 0) archive_.fail("is damaged: its checksum differs");
  return rows.permute({2, 0, 1});
}

}  // namespace casdm
