#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace casdm {

/// Samples as guided-diffusion's scripts save them, for evaluators to read: a NumPy .npz (stored, not compressed) with
/// `arr_0` uint8 [N, H, W, C] and, where there are labels, `arr_1` int64 [N].
///
/// It is written piece by piece, so any number of images takes the memory of one piece. PATH.part holds the images
/// until `finish` makes the file of it; another process can go on with it. Like NumPy's, the members have zip64 sizes,
/// so there is no limit; they hold no time of writing, so the same samples make the same bytes.
///
/// Every function throws Error that names the file when reading or writing fails.
class NpzFile {
 public:
  /// Of a finished file.
  struct Sum {
    std::int64_t bytes = 0;
    std::uint32_t crc32 = 0;
  };

  /// Opens nothing yet.
  NpzFile(std::filesystem::path path, std::int64_t count, std::int64_t channels, std::int64_t image_size);
  ~NpzFile();
  NpzFile(const NpzFile&) = delete;
  NpzFile& operator=(const NpzFile&) = delete;

  const std::filesystem::path& part() const { return part_; }

  /// Begins a new PATH.part, with room for all images where the file system can reserve it.
  void start();

  /// Goes on after the first `images` of PATH.part. False when it does not hold them, by their `checksum`.
  bool resume(std::int64_t images, std::uint32_t checksum);

  /// Opens the finished PATH, to `read` it. False when it is not as `finish` made it: by `sum`, and where that was not
  /// kept by the archive's own checksum of the images.
  bool reopen(const std::optional<Sum>& sum);

  /// Adds images, uint8 [n, C, H, W] on any device, and syncs them.
  void append(const at::Tensor& images);

  /// How many there are, and their CRC-32.
  std::int64_t images() const { return images_; }
  std::uint32_t checksum() const { return checksum_; }

  /// Images first..first+count-1 of those there are, uint8 [count, C, H, W] on the CPU.
  at::Tensor read(std::int64_t first, std::int64_t count) const;

  /// Completes the file, syncs it and gives it its name.
  /// @param label     of the image of an index; empty: no `arr_1`
  /// @param metadata  goes into the archive as a member of the name `metadata_name`
  /// @param arrays    more arrays, float64, by name
  void finish(const std::function<std::int64_t(std::int64_t)>& label, const std::string& metadata_name,
              const std::string& metadata, const std::vector<std::pair<std::string, at::Tensor>>& arrays = {});

  /// After `finish` or `reopen`.
  const Sum& sum() const { return sum_; }

 private:
  struct Member;
  using Sink = std::function<void(const void* data, std::size_t size)>;

  void open(const std::filesystem::path& path, int flags);
  std::int64_t bytes_of(std::int64_t images) const { return images * channels_ * image_size_ * image_size_; }
  std::uint32_t checksum_at(std::int64_t offset, std::int64_t size) const;
  Sum sum_of(std::int64_t size) const;
  Member images_member() const;
  void write_at(std::int64_t offset, const void* data, std::size_t size) const;
  void read_at(std::int64_t offset, void* data, std::size_t size) const;
  void add(std::vector<Member>& members, const std::string& name, std::int64_t size,
           const std::function<void(const Sink&)>& content);
  void write_directory(const std::vector<Member>& members);
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  std::filesystem::path part_;
  std::int64_t count_;
  std::int64_t channels_;
  std::int64_t image_size_;
  std::string header_;       ///< of arr_0.npy
  std::int64_t first_byte_;  ///< of the images
  std::filesystem::path opened_;
  int descriptor_ = -1;
  std::int64_t images_ = 0;
  std::uint32_t checksum_ = 0;
  std::int64_t end_ = 0;  ///< of what was written of the archive, in `finish`
  Sum sum_;
};

}  // namespace casdm
