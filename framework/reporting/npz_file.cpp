#include "framework/reporting/npz_file.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::size_t kPiece = 1 << 20;
constexpr const char* kImageArray = "arr_0.npy";
constexpr const char* kLabels = "arr_1.npy";

/// The header of NumPy's .npy format, version 1.0, for an array in C order.
std::string npy_header(const std::string& type, const std::vector<std::int64_t>& shape) {
  std::string sizes;
  for (const std::int64_t size : shape) sizes += text(size, ",");
  std::string header = text("{'descr': '", type, "', 'fortran_order': False, 'shape': (", sizes, "), }");
  constexpr std::size_t kPrefix = 10, kAlignment = 64;
  const std::size_t total = (kPrefix + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(total - kPrefix - 1, ' ');
  header += '\n';
  const std::size_t length = header.size();
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(length & 0xFF) + static_cast<char>(length >> 8) +
         header;
}

/// Appends a number to a zip record in `bytes` bytes, little-endian.
void put(std::string& record, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) record += static_cast<char>(value >> (8 * i) & 0xFF);
}

constexpr std::uint64_t kZip64 = 45;              // version of the format that a reader must know
constexpr std::uint64_t kUnix = 3 << 8 | kZip64;  // and the system that wrote it
constexpr std::uint64_t kNoDate = 0x21;           // 1 January 1980, the earliest that the format has
constexpr std::uint64_t kInExtra = 0xFFFFFFFF;    // "see the zip64 field"
constexpr std::uint64_t kMode = 0100644ULL << 16;

}  // namespace

/// What the records of an archive contain for one member.
struct NpzFile::Member {
  std::string name;
  std::uint32_t checksum = 0;
  std::int64_t size = 0;
  std::int64_t offset = 0;  ///< of its local header

  std::int64_t header_size() const { return 30 + static_cast<std::int64_t>(name.size()) + 20; }

  std::string local_header() const {
    std::string record;
    put(record, 0x04034b50, 4);
    common(record);
    put(record, 20, 2);
    record += name;
    put(record, 1, 2);
    put(record, 16, 2);
    put_sizes(record);
    return record;
  }

  std::string directory_entry() const {
    std::string record;
    put(record, 0x02014b50, 4);
    put(record, kUnix, 2);
    common(record);
    put(record, 28, 2);
    put(record, 0, 2 + 2 + 2);  // comment, disk, internal attributes
    put(record, kMode, 4);
    put(record, kInExtra, 4);
    record += name;
    put(record, 1, 2);
    put(record, 24, 2);
    put_sizes(record);
    put(record, static_cast<std::uint64_t>(offset), 8);
    return record;
  }

 private:
  /// Version, flags, method (stored), time, date, checksum, sizes, length of the name.
  void common(std::string& record) const {
    put(record, kZip64, 2);
    put(record, 0, 2 + 2 + 2);
    put(record, kNoDate, 2);
    put(record, checksum, 4);
    put(record, kInExtra, 4);
    put(record, kInExtra, 4);
    put(record, name.size(), 2);
  }
  void put_sizes(std::string& record) const {
    put(record, static_cast<std::uint64_t>(size), 8);
    put(record, static_cast<std::uint64_t>(size), 8);
  }
};

NpzFile::NpzFile(std::filesystem::path path, std::int64_t count, std::int64_t channels, std::int64_t image_size)
    : path_(std::move(path)),
      part_(path_.string() + ".part"),
      count_(count),
      channels_(channels),
      image_size_(image_size),
      header_(npy_header("|u1", {count, image_size, image_size, channels})),
      first_byte_(Member{kImageArray}.header_size() + static_cast<std::int64_t>(header_.size())) {}

NpzFile::~NpzFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void NpzFile::fail(const char* what) const {
  throw Error(text(opened_.string(), " cannot be ", what, ": ", std::strerror(errno)));
}

void NpzFile::open(const std::filesystem::path& path, int flags) {
  if (descriptor_ >= 0) ::close(descriptor_);
  opened_ = path;
  descriptor_ = ::open(path.c_str(), O_NONBLOCK | O_CLOEXEC | flags, 0644);
  images_ = 0;
  checksum_ = 0;
}

void NpzFile::start() {
  std::error_code ignored;
  std::filesystem::remove(part_, ignored);
  open(part_, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW);
  if (descriptor_ < 0) fail("written");
  const std::int64_t size = first_byte_ + bytes_of(count_);
  const bool has_room = ::fallocate(descriptor_, 0, 0, size) == 0 || errno == EOPNOTSUPP || errno == ENOSYS;
  if (has_room) return;
  const int reason = errno;
  std::filesystem::remove(part_, ignored);
  throw Error(
      text(part_.string(), " cannot be written: ", count_, " images take ", size, " bytes: ", std::strerror(reason)));
}

bool NpzFile::resume(std::int64_t images, std::uint32_t checksum) {
  open(part_, O_RDWR | O_NOFOLLOW);
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if (images < 0 || images > count_ || status.st_size < first_byte_ + bytes_of(images)) return false;
  if (checksum_at(first_byte_, bytes_of(images)) != checksum) return false;
  images_ = images;
  checksum_ = checksum;
  return true;
}

bool NpzFile::reopen(const std::optional<Sum>& sum) {
  open(path_, O_RDONLY);
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if (status.st_size < first_byte_ + bytes_of(count_)) return false;
  images_ = count_;
  checksum_ = checksum_at(first_byte_, bytes_of(count_));
  sum_ = sum_of(status.st_size);
  if (sum) return sum_.bytes == sum->bytes && sum_.crc32 == sum->crc32;
  const std::string expected = images_member().local_header() + header_;
  std::string found(expected.size(), '\0');
  read_at(0, found.data(), found.size());
  return found == expected;
}

/// CRC-32 of the `size` bytes from `offset` on.
std::uint32_t NpzFile::checksum_at(std::int64_t offset, std::int64_t size) const {
  std::vector<unsigned char> piece(kPiece);
  std::uint32_t found = 0;
  for (std::int64_t done = 0; done < size;) {
    const auto length = static_cast<std::size_t>(std::min<std::int64_t>(kPiece, size - done));
    read_at(offset + done, piece.data(), length);
    found = static_cast<std::uint32_t>(::crc32_z(found, piece.data(), length));
    done += static_cast<std::int64_t>(length);
  }
  return found;
}

/// The CRC-32 of the whole file of `size` bytes, without reading the images again.
NpzFile::Sum NpzFile::sum_of(std::int64_t size) const {
  const std::int64_t images = bytes_of(images_), rest = size - first_byte_ - images;
  const auto start = ::crc32_combine(checksum_at(0, first_byte_), checksum_, images);
  return {size, static_cast<std::uint32_t>(::crc32_combine(start, checksum_at(first_byte_ + images, rest), rest))};
}

NpzFile::Member NpzFile::images_member() const {
  const std::int64_t bytes = bytes_of(images_);
  Member images{kImageArray};
  images.size = static_cast<std::int64_t>(header_.size()) + bytes;
  const auto of_header = ::crc32_z(0, reinterpret_cast<const Bytef*>(header_.data()), header_.size());
  images.checksum = static_cast<std::uint32_t>(::crc32_combine(of_header, checksum_, bytes));
  return images;
}

void NpzFile::append(const at::Tensor& images) {
  const at::IntArrayRef sizes = images.sizes();
  const bool fits = images.scalar_type() == at::kByte && images.dim() == 4 && sizes[1] == channels_ &&
                    sizes[2] == image_size_ && sizes[3] == image_size_ && images_ + sizes[0] <= count_;
  if (!fits) {
    throw Error(text(part_.string(), ": expected at most ", count_ - images_, " images of Byte [", channels_, ", ",
                     image_size_, ", ", image_size_, "], got ", images.scalar_type(), " ", sizes));
  }
  const at::Tensor rows = images.permute({0, 2, 3, 1}).cpu().contiguous();
  const auto* bytes = rows.data_ptr<std::uint8_t>();
  write_at(first_byte_ + bytes_of(images_), bytes, rows.nbytes());
  if (::fdatasync(descriptor_) != 0) fail("written");
  checksum_ = static_cast<std::uint32_t>(::crc32_z(checksum_, bytes, rows.nbytes()));
  images_ += sizes[0];
}

at::Tensor NpzFile::read(std::int64_t first, std::int64_t count) const {
  const at::Tensor rows = at::empty({count, image_size_, image_size_, channels_}, at::kByte);
  read_at(first_byte_ + bytes_of(first), rows.data_ptr(), rows.nbytes());
  return rows.permute({0, 3, 1, 2}).contiguous();
}

void NpzFile::finish(const std::function<std::int64_t(std::int64_t)>& label, const std::string& metadata_name,
                     const std::string& metadata, const std::vector<std::pair<std::string, at::Tensor>>& arrays) {
  const Member images = images_member();
  const std::string start = images.local_header() + header_;
  write_at(0, start.data(), start.size());
  end_ = first_byte_ + bytes_of(images_);
  std::vector<Member> members = {images};
  if (label) {
    const std::string header = npy_header("<i8", {images_});
    add(members, kLabels, static_cast<std::int64_t>(header.size()) + 8 * images_, [&](const Sink& sink) {
      sink(header.data(), header.size());
      std::vector<std::int64_t> piece;
      for (std::int64_t i = 0; i < images_; ++i) {
        piece.push_back(label(i));
        if (piece.size() * sizeof(std::int64_t) < kPiece && i + 1 < images_) continue;
        sink(piece.data(), piece.size() * sizeof(std::int64_t));
        piece.clear();
      }
    });
  }
  for (const auto& [name, array] : arrays) {
    const at::Tensor values = array.to(at::kCPU, at::kDouble).contiguous();
    const std::string header = npy_header("<f8", values.sizes().vec());
    const std::size_t size = header.size() + values.nbytes();
    add(members, name + ".npy", static_cast<std::int64_t>(size), [&, values = values](const Sink& sink) {
      sink(header.data(), header.size());
      sink(values.data_ptr(), values.nbytes());
    });
  }
  add(members, metadata_name, static_cast<std::int64_t>(metadata.size()),
      [&](const Sink& sink) { sink(metadata.data(), metadata.size()); });
  write_directory(members);
  sum_ = sum_of(end_);
  const bool good =
      ::ftruncate(descriptor_, end_) == 0 && ::fsync(descriptor_) == 0 && ::rename(part_.c_str(), path_.c_str()) == 0;
  if (!good) fail("written");
  sync_folder(path_.parent_path());
  ::close(descriptor_);
  descriptor_ = -1;
}

void NpzFile::add(std::vector<Member>& members, const std::string& name, std::int64_t size,
                  const std::function<void(const Sink&)>& content) {
  Member member{name, 0, size, end_};
  end_ += member.header_size();
  content([&](const void* data, std::size_t length) {
    write_at(end_, data, length);
    member.checksum = static_cast<std::uint32_t>(::crc32_z(member.checksum, static_cast<const Bytef*>(data), length));
    end_ += static_cast<std::int64_t>(length);
  });
  const std::string header = member.local_header();
  write_at(member.offset, header.data(), header.size());
  members.push_back(std::move(member));
}

void NpzFile::write_directory(const std::vector<Member>& members) {
  std::string record;
  for (const Member& member : members) record += member.directory_entry();
  const std::uint64_t size = record.size();
  const auto offset = static_cast<std::uint64_t>(end_);
  put(record, 0x06064b50, 4);  // the zip64 end of the central directory: 44 more bytes after this and the size
  put(record, 44, 8);
  put(record, kUnix, 2);
  put(record, kZip64, 2);
  put(record, 0, 4 + 4);  // disks
  put(record, members.size(), 8);
  put(record, members.size(), 8);
  put(record, size, 8);
  put(record, offset, 8);
  put(record, 0x07064b50, 4);  // the zip64 locator
  put(record, 0, 4);
  put(record, offset + size, 8);
  put(record, 1, 4);
  put(record, 0x06054b50, 4);  // the end of the central directory
  put(record, 0, 2 + 2);
  put(record, members.size(), 2);
  put(record, members.size(), 2);
  put(record, size, 4);
  put(record, kInExtra, 4);
  put(record, 0, 2);
  write_at(end_, record.data(), record.size());
  end_ += static_cast<std::int64_t>(record.size());
}

void NpzFile::write_at(std::int64_t offset, const void* data, std::size_t size) const {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::pwrite(descriptor_, next, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("written");
    next += written;
    offset += written;
    size -= static_cast<std::size_t>(written);
  }
}

void NpzFile::read_at(std::int64_t offset, void* data, std::size_t size) const {
  char* next = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t count = ::pread(descriptor_, next, size, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) throw Error(text(opened_.string(), " ends early"));
    if (count < 0) fail("read");
    next += count;
    offset += count;
    size -= static_cast<std::size_t>(count);
  }
}

}  // namespace casdm
