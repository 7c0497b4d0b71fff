#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace casdm::dataset_images {

/// Reads a tar archive (ustar, GNU or pax long names), plain or gzipped, once from beginning to end, and passes on the
/// content of each regular file whose name `wanted` accepts. Throws Error with the archive's name if it is damaged,
/// ends too early or is not a tar, or if a wanted member is larger than an image file may be (decoding.h) or is a link
/// or anything else without content of its own.
void read_tar(const std::filesystem::path& path, const std::function<bool(const std::string& name)>& wanted,
              const std::function<void(std::string name, std::vector<std::uint8_t> content)>& receive);

/// A file inside a tar archive.
struct TarMember {
  std::string name;
  std::uint64_t offset;  ///< of its content, in the archive
  std::uint64_t size;
};

/// The files of an uncompressed tar archive, in their order. Throws Error with the archive's name if it is damaged,
/// ends too early, is not a tar, or contains a link or anything else without content of its own.
std::vector<TarMember> index_tar(const std::filesystem::path& path);

}  // namespace casdm::dataset_images
