#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

struct zip;
struct zip_file;

namespace casdm {

/// The header of an array in NumPy's .npy format.
struct NpyHeader {
  std::string type;  ///< NumPy's: "|u1", "<f8"
  std::vector<std::int64_t> shape;
  bool is_fortran = false;  ///< column-major order
};

/// Bytes of one element of `type`: "<i8" has 8; 0 for a type that is not numeric.
std::int64_t npy_item_bytes(const std::string& type);

/// The size of the whole array in bytes. Throws Error (without a file's name) if it exceeds an int64.
std::int64_t npy_bytes(const NpyHeader& header);

/// "<f8" [2, 3], for messages.
std::string shown(const NpyHeader& header);

/// Parses the header at the start of a .npy file; `bytes` must contain all of it.
/// @param size  set to the header's length
/// Throws Error (without a file's name) if it is not valid.
NpyHeader parse_npy_header(const std::string& bytes, std::size_t& size);

/// Reads a NumPy .npz, stored or compressed. Never executes anything: arrays of objects, which NumPy pickles, are
/// refused. Every function throws Error with the file's name if the file is missing, truncated or damaged (CRC-32), or
/// holds a name twice.
class NpzReader {
 public:
  explicit NpzReader(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }

  /// The names of the arrays, without ".npy", in the order of the archive.
  const std::vector<std::string>& names() const { return names_; }
  bool has(const std::string& name) const;

  /// Refuses sizes that exceed what the file can contain.
  NpyHeader header(const std::string& name) const;

  /// The text of a member that is not an array; nothing if there is none of that name.
  std::optional<std::string> text_of(const std::string& member) const;

  /// A whole array of floating-point numbers, as float64 in C order.
  at::Tensor numbers(const std::string& name) const;

  /// The raw bytes of a whole array, without its header; at most `limit`.
  std::vector<std::uint8_t> bytes(const std::string& name, std::uint64_t limit) const;

  /// Whether the array is stored without compression, so that any part of it can be read directly.
  bool is_stored(const std::string& name) const;

  /// Reads `size` bytes of a stored array, starting `offset` bytes after its header. Not thread-safe; the checksum is
  /// not verified.
  void read_at(const std::string& name, std::uint64_t offset, void* data, std::size_t size) const;

 private:
  friend class NpzImages;
  std::uint64_t index_of(const std::string& name) const;
  std::shared_ptr<zip_file> open(const std::string& name) const;
  NpyHeader read_header(zip_file* file, const std::string& name) const;
  void require_room(const NpyHeader& header, const std::string& name) const;
  void read(zip_file* file, void* data, std::size_t size, const std::string& name) const;
  void require_end(zip_file* file, const std::string& name) const;
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path path_;
  std::shared_ptr<zip> archive_;
  std::vector<std::string> names_;
  std::map<std::string, std::uint64_t> members_;  ///< the index of each, by its name in the archive
  mutable std::map<std::string, std::pair<std::shared_ptr<zip_file>, std::uint64_t>>
      stored_;  ///< and the size of each header
};

/// The images of `arr_0`, uint8 [N, H, W, C], in the format of guided-diffusion and `casdm sample`; read one after
/// another with little memory.
class NpzImages {
 public:
  /// Throws Error if `arr_0` is missing or contains anything but square 8-bit images, RGB or grey.
  explicit NpzImages(const std::filesystem::path& path);

  std::int64_t size() const { return header_.shape[0]; }
  std::int64_t image_size() const { return header_.shape[1]; }
  std::int64_t channels() const { return header_.shape[3]; }

  /// The image at an index, uint8 [C, H, W]. An index below the previous one starts again at the beginning of the file.
  /// With the last image, the file's checksum is verified.
  at::Tensor read(std::int64_t index);

 private:
  void rewind();

  NpzReader archive_;
  NpyHeader header_;
  std::shared_ptr<zip_file> file_;
  std::int64_t next_ = 0;
};

}  // namespace casdm
