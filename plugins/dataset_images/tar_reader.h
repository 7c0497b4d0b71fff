#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace casdm::dataset_images {

/// Reads a tar archive (ustar, GNU or pax long names), plain or gzipped, once from beginning to
/// end, and hands over the content of each regular file whose name `wanted` accepts.
/// Throws Error naming the archive when it is damaged, ends too early, is not a tar, or a member that is wanted is
/// larger than an image file may be (decoding.h), or is a link or anything else without its own content.
void read_tar(const std::filesystem::path& path, const std::function<bool(const std::string& name)>& wanted,
              const std::function<void(std::string name, std::vector<std::uint8_t> content)>& receive);

/// A file of a tar archive, in place.
struct TarMember {
  std::string name;
  std::uint64_t offset;  ///< of its content, in the archive
  std::uint64_t size;
};

/// The files of a tar archive that is not compressed, in their order. Throws Error naming the archive when it is
/// damaged, ends too early, is no tar, or holds a link or anything else without a content of its own.
std::vector<TarMember> index_tar(const std::filesystem::path& path);

}  // namespace casdm::dataset_images
