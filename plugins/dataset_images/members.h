#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "files.h"

namespace casdm::dataset_images {

/// One file of a folder or of an archive.
struct Member {
  std::string name;
  std::vector<std::uint8_t> bytes;  ///< for a file of an archive
  std::filesystem::path path;       ///< for a file of a folder, which has not been read yet
};

/// Passes on the files below a folder, or in a tar archive, plain or gzipped, whose names `wanted` accepts. Returns all
/// names. Throws like list_files and read_tar.
SomeNames read_members(const std::filesystem::path& path, const std::function<bool(const std::string& name)>& wanted,
                       const std::function<void(Member)>& take);

/// The content of a member, from memory or from disk.
std::vector<std::uint8_t> content_of(const Member& member);

}  // namespace casdm::dataset_images
