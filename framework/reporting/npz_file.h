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

/// Samples in the format of guided-diffusion's scripts, for evaluators: a NumPy .npz (stored, not compressed) with
/// `arr_0` uint8 [N, H, W, C] and, if there are labels, `arr_1` int64 [N].
///
/// It is written piece by piece, so any number of images needs only the memory of one piece. PATH.part holds the images
/// until `finish` makes the file from it; another process can continue it. Like NumPy's, the members have zip64 sizes,
/// so there is no size limit; they contain no timestamps, so the same samples give the same bytes.
///
/// Every function throws Error with the file's name if reading or writing fails.
class NpzFile {
 public:
  /// The checksum of a finished file.
  struct Sum {
    std::int64_t bytes = 0;
    std::uint32_t crc32 = 0;
  };

  /// Does not open a file yet.
  NpzFile(std::filesystem::path path, std::int64_t count, std::int64_t channels, std::int64_t image_size);
  ~NpzFile();
  NpzFile(const NpzFile&) = delete;
  NpzFile& operator=(const NpzFile&) = delete;

  const std::filesystem::path& part() const { return part_; }

  /// Begins a new PATH.part and reserves the space for all images if the file system can.
  void start();

  /// Continues after the first `images` images of PATH.part. False if it does not contain them, according to their
  /// `checksum`.
  bool resume(std::int64_t images, std::uint32_t checksum);

  /// Opens the finished PATH for `read`. False if it is not as `finish` made it, according to `sum` or, without one, to
  /// the archive's own checksum of the images.
  bool reopen(const std::optional<Sum>& sum);

  /// Adds images, uint8 [n, C, H, W] on any device, and syncs them.
  void append(const at::Tensor& images);

  /// The number of images written, and their CRC-32.
  std::int64_t images() const { return images_; }
  std::uint32_t checksum() const { return checksum_; }

  /// Images first..first+count-1 of those written, uint8 [count, C, H, W] on the CPU.
  at::Tensor read(std::int64_t first, std::int64_t count) const;

  /// Completes the file, syncs it and renames it to its final name.
  /// @param label     the label of the image at an index; empty: no `arr_1`
  /// @param metadata  stored in the archive as the member `metadata_name`
  /// @param arrays    additional float64 arrays by name
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
  std::int64_t end_ = 0;  ///< of the part of the archive written so far, in `finish`
  Sum sum_;
};

}  // namespace casdm
