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

/// What NumPy's .npy format says of an array.
struct NpyHeader {
  std::string type;  ///< NumPy's: "|u1", "<f8"
  std::vector<std::int64_t> shape;
  bool is_fortran = false;  ///< columns first
};

/// Bytes of one element of `type`: "<i8" has 8; 0 for a type that is not numeric.
std::int64_t npy_item_bytes(const std::string& type);

/// Bytes of the whole array. Throws Error (without a file's name) when they are more than an int64 counts.
std::int64_t npy_bytes(const NpyHeader& header);

/// "<f8" [2, 3], for messages.
std::string shown(const NpyHeader& header);

/// Reads the header at the start of an .npy file: `bytes` must hold all of it.
/// @param size  is set to the header's length
/// Throws Error (without a file's name) when it is not one.
NpyHeader parse_npy_header(const std::string& bytes, std::size_t& size);

/// A NumPy .npz, stored or compressed, for reading. Never executes anything: arrays of objects, which NumPy pickles,
/// are refused. Every function throws Error that names the file: truncated, damaged (CRC-32), not there.
class NpzReader {
 public:
  explicit NpzReader(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }

  /// The arrays' names, without ".npy", in the order of the archive.
  const std::vector<std::string>& names() const { return names_; }
  bool has(const std::string& name) const;

  /// Refuses sizes that the file has no room for.
  NpyHeader header(const std::string& name) const;

  /// The text of a member that is not an array; nothing: there is none of that name.
  std::optional<std::string> text_of(const std::string& member) const;

  /// A whole array of floating-point numbers, as float64 in C order.
  at::Tensor numbers(const std::string& name) const;

  /// The bytes of a whole array as they are written, without its header; at most `limit`.
  std::vector<std::uint8_t> bytes(const std::string& name, std::uint64_t limit) const;

  /// Whether the array is stored without compression, so that it can be read from anywhere.
  bool is_stored(const std::string& name) const;

  /// Reads `size` bytes of an array that is stored, `offset` bytes behind its header. For one thread at a time; the
  /// checksum is not compared.
  void read_at(const std::string& name, std::uint64_t offset, void* data, std::size_t size) const;

 private:
  friend class NpzImages;
  std::shared_ptr<zip_file> open(const std::string& name) const;
  NpyHeader read_header(zip_file* file, const std::string& name) const;
  void require_room(const NpyHeader& header, const std::string& name) const;
  void read(zip_file* file, void* data, std::size_t size, const std::string& name) const;
  void require_end(zip_file* file, const std::string& name) const;
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path path_;
  std::shared_ptr<zip> archive_;
  std::vector<std::string> names_;
  mutable std::map<std::string, std::pair<std::shared_ptr<zip_file>, std::uint64_t>>
      stored_;  ///< and their headers' sizes
};

/// The images of `arr_0`, uint8 [N, H, W, C], as guided-diffusion and `casdm sample` write them; read one after another
/// in little memory.
class NpzImages {
 public:
  /// Throws Error when `arr_0` is missing or holds anything but square images of 8 bit, RGB or grey.
  explicit NpzImages(const std::filesystem::path& path);

  std::int64_t size() const { return header_.shape[0]; }
  std::int64_t image_size() const { return header_.shape[1]; }
  std::int64_t channels() const { return header_.shape[3]; }

  /// The image of an index, uint8 [C, H, W]. An index below the one before begins at the start of the file again.
  /// At the last image the file's checksum is compared.
  at::Tensor read(std::int64_t index);

 private:
  void rewind();

  NpzReader archive_;
  NpyHeader header_;
  std::shared_ptr<zip_file> file_;
  std::int64_t next_ = 0;
};

}  // namespace casdm
