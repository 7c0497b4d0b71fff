#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "casdm/dataset.h"
#include "files.h"
#include "sdk/arrays/npz_reader.h"

namespace casdm::dataset_images {

/// An array of numbers in a .npy or .npz file from which single rows are read: everything with the same first index. A
/// compressed array of an .npz is held in memory. Thread-safe.
class ArrayRows {
 public:
  /// Opens a .npy file. Every constructor throws Error with the file's name if it does not exist, is truncated or
  /// damaged, or is in Fortran order.
  explicit ArrayRows(const std::filesystem::path& npy);

  ArrayRows(const std::filesystem::path& npz, const std::string& key);
  ~ArrayRows();
  ArrayRows(ArrayRows&&) noexcept;

  const NpyHeader& header() const { return header_; }
  std::int64_t size() const { return header_.shape.front(); }
  std::size_t row_bytes() const { return row_bytes_; }

  /// Throws Error if the file was written to since it was opened.
  /// @param data  takes row_bytes() bytes
  void read(std::int64_t row, void* data) const;

  /// The values of an array of whole numbers, [N] or [N, 1]. Throws Error for other arrays.
  std::vector<std::int64_t> integers() const;

  /// "set.npz:labels", for messages.
  const std::string& name() const { return name_; }

 private:
  void open(const std::filesystem::path& path);
  void check();
  void read_stored(std::int64_t row, void* data) const;

  std::string name_;
  NpyHeader header_;
  std::size_t row_bytes_ = 0;
  int file_ = -1;          ///< a .npy, or the archive of an array that is not in memory
  FileVersion version_;    ///< of it, when it was opened
  std::size_t start_ = 0;  ///< of the rows in a .npy
  std::string key_;        ///< of an .npz
  std::unique_ptr<NpzReader> archive_;
  std::vector<std::uint8_t> held_;
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();  ///< of the archive
};

/// The layout of an image in a row of bytes.
struct ImageLayout {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 3;  ///< 1 or 3
  bool is_planar = false;     ///< [C, H, W], not [H, W, C]
};

/// Converts a row to an image.
Image image_of(std::vector<std::uint8_t> row, const ImageLayout& layout);

}  // namespace casdm::dataset_images
