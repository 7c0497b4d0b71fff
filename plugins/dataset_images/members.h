#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace casdm::dataset_images {

/// One file of a folder or of an archive.
struct Member {
  std::string name;
  std::vector<std::uint8_t> bytes;  ///< of an archive's
  std::filesystem::path path;       ///< of a folder's, which is not read yet
};

/// Hands over the files below a folder, or in a tar archive, plain or gzipped, whose names `wanted` accepts. Returns
/// all names. Throws as list_files and read_tar do.
std::vector<std::string> read_members(const std::filesystem::path& path,
                                      const std::function<bool(const std::string& name)>& wanted,
                                      const std::function<void(Member)>& take);

/// The content of a member, wherever it is.
std::vector<std::uint8_t> content_of(const Member& member);

}  // namespace casdm::dataset_images
