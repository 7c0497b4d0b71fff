#include "array_rows.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::dataset_images {

namespace {

/// Limit for a compressed array, which is held in memory, in bytes.
constexpr std::uint64_t kMaxUnpacked = std::uint64_t{1} << 32;
/// The header of a .npy file is within this many bytes.
constexpr std::size_t kHeaderBytes = (1 << 16) + 16;

/// Reads fewer than `size` bytes only at the end of the file.
std::size_t read_from(int file, void* data, std::size_t size, std::uint64_t offset, const std::string& name) {
  std::size_t filled = 0;
  while (filled < size) {
    const ssize_t got =
        ::pread(file, static_cast<char*>(data) + filled, size - filled, static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(text(name, " cannot be read: ", std::strerror(errno)));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  return filled;
}

std::int64_t integer_of(const std::uint8_t* bytes, std::size_t size, bool is_signed, const std::string& name) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) value = value << 8 | bytes[i];
  if (!is_signed && value > std::numeric_limits<std::int64_t>::max()) {
    throw Error(text(name, " holds ", value, ", a number larger than any class"));
  }
  const bool is_negative = is_signed && size < 8 && (bytes[size - 1] & 0x80) != 0;
  return static_cast<std::int64_t>(is_negative ? value | ~std::uint64_t{0} << (8 * size) : value);
}

}  // namespace

void ArrayRows::open(const std::filesystem::path& path) {
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file_ < 0) throw Error(text(name_, " cannot be read: ", std::strerror(errno)));
}

ArrayRows::ArrayRows(const std::filesystem::path& npy) : name_(npy.string()) {
  open(npy);
  try {
    version_ = version_of(file_, name_);
    if (!std::filesystem::is_regular_file(npy)) throw Error(text(name_, " is not a file"));
    std::string bytes(kHeaderBytes, '\0');
    bytes.resize(read_from(file_, bytes.data(), bytes.size(), 0, name_));
    try {
      header_ = parse_npy_header(bytes, start_);
    } catch (const Error& error) {
      throw Error(text(name_, " is not an .npy file: it ", error.what()));
    }
    check();
    const auto room = static_cast<std::uint64_t>(version_.size) - start_;
    if (static_cast<std::uint64_t>(npy_bytes(header_)) > room) {
      throw Error(text(name_, " is truncated: it has ", room, " bytes for ", shown(header_)));
    }
  } catch (...) {
    ::close(file_);
    throw;
  }
}

ArrayRows::ArrayRows(const std::filesystem::path& npz, const std::string& key)
    : name_(text(npz.string(), ":", key)), key_(key) {
  archive_ = std::make_unique<NpzReader>(npz);
  header_ = archive_->header(key);
  check();
  if (archive_->is_stored(key)) {
    open(npz);
    version_ = version_of(file_, name_);
    return;
  }
  if (static_cast<std::uint64_t>(npy_bytes(header_)) > kMaxUnpacked) {
    throw Error(text(name_, " is compressed and takes ", npy_bytes(header_) >> 20, " MiB in memory; the limit is ",
                     kMaxUnpacked >> 20, " MiB. Write it again by numpy.savez, which does not compress"));
  }
  held_ = archive_->bytes(key, kMaxUnpacked);
  archive_.reset();
}

ArrayRows::ArrayRows(ArrayRows&& other) noexcept
    : name_(std::move(other.name_)),
      header_(std::move(other.header_)),
      row_bytes_(other.row_bytes_),
      file_(std::exchange(other.file_, -1)),
      version_(other.version_),
      start_(other.start_),
      key_(std::move(other.key_)),
      archive_(std::move(other.archive_)),
      held_(std::move(other.held_)),
      mutex_(std::move(other.mutex_)) {}

ArrayRows::~ArrayRows() {
  if (file_ >= 0) ::close(file_);
}

void ArrayRows::check() {
  if (npy_item_bytes(header_.type) == 0 || header_.type.starts_with('>')) {
    throw Error(text(name_, " holds ", shown(header_),
                     ", which are not numbers in this machine's format; nothing but numbers ", "is read"));
  }
  if (header_.shape.empty() || header_.shape.front() == 0 || npy_bytes(header_) == 0) {
    throw Error(text(name_, " holds ", shown(header_), ": no rows"));
  }
  if (header_.is_fortran && header_.shape.size() > 1) {
    throw Error(text(name_, " has its columns first (fortran_order); write it again by numpy.ascontiguousarray"));
  }
  row_bytes_ = static_cast<std::size_t>(npy_bytes(header_) / size());
}

void ArrayRows::read(std::int64_t row, void* data) const {
  if (row < 0 || row >= size()) throw Error(text(name_, " has no row ", row));
  if (file_ < 0) {
    std::memcpy(data, held_.data() + static_cast<std::uint64_t>(row) * row_bytes_, row_bytes_);
    return;
  }
  const auto require_unchanged = [&] {
    if (version_of(file_, name_) != version_) fail_changed(name_);
  };
  try {
    read_stored(row, data);
  } catch (const Error&) {
    require_unchanged();
    throw;
  }
  require_unchanged();
}

void ArrayRows::read_stored(std::int64_t row, void* data) const {
  const std::uint64_t offset = static_cast<std::uint64_t>(row) * row_bytes_;
  if (archive_) {
    const std::lock_guard lock(*mutex_);
    return archive_->read_at(key_, offset, data, row_bytes_);
  }
  if (read_from(file_, data, row_bytes_, start_ + offset, name_) == row_bytes_) return;
  throw Error(text(name_, " ends within row ", row));
}

std::vector<std::int64_t> ArrayRows::integers() const {
  const auto item = static_cast<std::size_t>(npy_item_bytes(header_.type));
  const char kind = header_.type[1];
  if ((kind != 'i' && kind != 'u') || item > 8 || row_bytes_ != item) {
    throw Error(text(name_, " holds ", shown(header_), "; expected a class number for each image, such as int64 [",
                     size(), "]", row_bytes_ != item ? ". Of one-hot rows, write argmax(1)" : ""));
  }
  std::vector<std::int64_t> values;
  std::vector<std::uint8_t> bytes(item);
  for (std::int64_t row = 0; row < size(); ++row) {
    read(row, bytes.data());
    values.push_back(integer_of(bytes.data(), item, kind == 'i', name_));
  }
  return values;
}

Image image_of(std::vector<std::uint8_t> row, const ImageLayout& layout) {
  Image image{layout.width, layout.height, layout.channels, {}};
  if (!layout.is_planar || layout.channels == 1) {
    image.pixels = std::move(row);
    return image;
  }
  const auto channels = static_cast<std::size_t>(layout.channels);
  const std::size_t plane = row.size() / channels;
  image.pixels.resize(row.size());
  for (std::size_t i = 0; i < plane; ++i) {
    for (std::size_t c = 0; c < channels; ++c) image.pixels[i * channels + c] = row[c * plane + i];
  }
  return image;
}

}  // namespace casdm::dataset_images
