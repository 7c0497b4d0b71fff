#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace casdm {

/// data.cache = "auto" caches images that need less.
inline constexpr double kMostCachedBytes = std::int64_t{1} << 30;

/// An image as the networks see it, with its label.
struct PreparedImage {
  std::vector<std::uint8_t> pixels;  ///< in the order of a tensor, [C, H, W]: uint8, or the bytes of float32
  std::int64_t label = -1;
  std::vector<std::vector<std::uint8_t>> extras = {};  ///< in the order of Dataset::extras; bytes of float32 or int64
};

/// Prepared images by index, each written once. Thread-safe without locks.
class ImageCache {
 public:
  /// @param count        of images
  /// @param image_bytes  of each of them
  /// Throws std::bad_alloc if there is no room for them.
  ImageCache(std::int64_t count, std::size_t image_bytes);

  /// False if the image has not been written yet.
  bool read(std::int64_t index, PreparedImage& image) const;

  /// Does nothing if another thread is writing or has written the image.
  void write(std::int64_t index, const PreparedImage& image);

 private:
  enum class State : std::uint8_t { absent, writing, ready };
  std::size_t image_bytes_;
  std::unique_ptr<std::uint8_t[]> pixels_;  ///< uninitialised, so memory is used only as images arrive
  std::vector<std::int64_t> labels_;
  std::vector<std::atomic<State>> states_;
};

}  // namespace casdm
