#include "tar_reader.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "casdm/error.h"
#include "casdm/text.h"
#include "decoding.h"

namespace casdm::dataset_images {

namespace {

constexpr std::size_t kBlock = 512;
/// Of a long name; a damaged header may claim anything.
constexpr std::uint64_t kMaxName = std::uint64_t{1} << 20;

/// Bytes of a gzip file, or of a plain one: zlib tells them apart.
class GzipStream {
 public:
  explicit GzipStream(const std::filesystem::path& path)
      : path_(path.string()), file_(gzopen(path.c_str(), "rb"), gzclose_r) {
    if (!file_) throw Error(text(path_, " cannot be read: ", std::strerror(errno)));
    gzbuffer(file_.get(), 1 << 18);
  }

  /// Fewer than `size` bytes at the end of the file only.
  std::size_t read(std::uint8_t* target, std::size_t size) {
    std::size_t filled = 0;
    while (filled < size) {
      const auto part = static_cast<unsigned>(std::min<std::size_t>(size - filled, 1 << 20));
      const int got = gzread(file_.get(), target + filled, part);
      check();
      if (got <= 0) break;
      filled += static_cast<std::size_t>(got);
    }
    return filled;
  }

  void read_all(std::uint8_t* target, std::size_t size) {
    if (read(target, size) != size) fail("it ends too early");
  }

  void skip(std::uint64_t size) {
    std::array<std::uint8_t, 16 * kBlock> waste;
    for (; size > 0; size -= std::min<std::uint64_t>(size, waste.size())) {
      read_all(waste.data(), std::min<std::uint64_t>(size, waste.size()));
    }
  }

  [[noreturn]] void fail(std::string_view reason) const {
    throw Error(text(path_, " cannot be read as a tar archive: ", reason));
  }

 private:
  void check() const {
    int code = Z_OK;
    const char* reason = gzerror(file_.get(), &code);
    if (code == Z_ERRNO) fail(std::strerror(errno));
    if (code == Z_BUF_ERROR) fail("it ends too early");
    if (code != Z_OK && code != Z_STREAM_END) fail(reason);
  }

  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

/// A member's header block: fields at the offsets of POSIX ustar.
struct Header {
  std::array<std::uint8_t, kBlock> bytes;

  std::string_view field(std::size_t offset, std::size_t size) const {
    const std::string_view whole(reinterpret_cast<const char*>(bytes.data()) + offset, size);
    return whole.substr(0, whole.find('\0'));
  }
  std::uint64_t octal(std::size_t offset, std::size_t size) const {
    std::uint64_t value = 0;
    for (const char digit : field(offset, size)) {
      if (digit >= '0' && digit <= '7') value = value * 8 + static_cast<std::uint64_t>(digit - '0');
    }
    return value;
  }
  /// Sizes above 8 GiB stand in base 256, marked by the first bit.
  std::uint64_t size() const {
    if ((bytes[124] & 0x80) == 0) return octal(124, 12);
    std::uint64_t value = 0;
    for (std::size_t i = 128; i < 136; ++i) value = value << 8 | bytes[i];
    return value;
  }
  char type() const { return static_cast<char>(bytes[156]); }
  std::string name() const {
    const bool is_ustar = field(257, 6) == "ustar";  // GNU's older form has other fields in the prefix's place
    const std::string_view prefix = is_ustar ? field(345, 155) : std::string_view();
    return prefix.empty() ? std::string(field(0, 100)) : text(prefix, "/", field(0, 100));
  }
  bool is_zero() const {
    return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
  }
  bool checksum_fits() const {
    std::uint64_t sum = 8 * ' ';
    for (std::size_t i = 0; i < kBlock; ++i) sum += i >= 148 && i < 156 ? 0 : bytes[i];
    return sum == octal(148, 8);
  }
};

bool is_file(char type) { return type == '0' || type == '\0' || type == '7'; }

std::string words_for(char type) {
  if (type == '1' || type == '2') return "link, which has no content";
  return text("member of the type ", quoted(std::string(1, type)), ", no file");
}

std::uint64_t padding(std::uint64_t size) { return (kBlock - size % kBlock) % kBlock; }

/// The value of `key` in a pax header's "length key=value\n" records; empty when it is not there.
std::string pax_value(std::string_view records, std::string_view key) {
  while (!records.empty()) {
    const std::size_t space = records.find(' ');
    std::size_t length = 0;
    for (const char digit : records.substr(0, space)) length = length * 10 + static_cast<std::size_t>(digit - '0');
    if (space == std::string_view::npos || length <= space + 1 || length > records.size()) break;
    const std::string_view record = records.substr(space + 1, length - space - 2);
    if (record.starts_with(key) && record.substr(key.size()).starts_with('=')) {
      return std::string(record.substr(key.size() + 1));
    }
    records.remove_prefix(length);
  }
  return {};
}

}  // namespace

void read_tar(const std::filesystem::path& path, const std::function<bool(const std::string& name)>& wanted,
              const std::function<void(std::string name, std::vector<std::uint8_t> content)>& receive) {
  GzipStream stream(path);
  std::string long_name;
  Header header;
  for (bool is_first = true;; is_first = false) {
    const std::size_t got = stream.read(header.bytes.data(), kBlock);
    if (got == 0 && !is_first) break;  // some writers leave out the closing blocks
    if (got != kBlock) stream.fail(is_first ? "it is too short to be one" : "it ends too early");
    if (header.is_zero()) break;
    if (!header.checksum_fits()) stream.fail(is_first ? "it is not one, plain or gzipped" : "a header is damaged");

    const std::uint64_t size = header.size();
    const auto read_content = [&](std::uint64_t limit) {
      if (size > limit) stream.fail(text("a member claims ", size, " bytes; the limit is ", limit));
      std::vector<std::uint8_t> content(size);
      stream.read_all(content.data(), content.size());
      stream.skip(padding(size));
      return content;
    };
    const char type = header.type();
    if (type == 'L' || type == 'x') {  // the name of the next member: GNU's form, pax's form
      const std::vector<std::uint8_t> content = read_content(kMaxName);
      const std::string_view name(reinterpret_cast<const char*>(content.data()), content.size());
      const std::string given = type == 'L' ? std::string(name.substr(0, name.find('\0'))) : pax_value(name, "path");
      if (!given.empty()) long_name = given;
      continue;
    }
    const bool is_of_next = type == 'K' || type == 'g';  // a link's target; attributes of all that follow
    std::string name = long_name.empty() ? header.name() : long_name;
    if (!is_of_next) long_name.clear();
    if (is_of_next || type == '5' || !wanted(name)) {
      stream.skip(size);
      stream.skip(padding(size));
      continue;
    }
    if (!is_file(type)) {
      stream.fail(text(name, " is a ", words_for(type), "; make the archive again, with tar --dereference and ",
                       "--hard-dereference"));
    }
    receive(std::move(name), read_content(kMaxFileBytes));
  }
  std::array<std::uint8_t, kBlock> rest;
  while (stream.read(rest.data(), rest.size()) > 0) {  // to the end, where gzip's checksum stands
  }
}

}  // namespace casdm::dataset_images
