#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "image_makers.h"

namespace casdm::testing {

/// Writes an LMDB into the folder, in LSUN's format: files of images by key.
void write_lmdb(const std::filesystem::path& folder, const NamedBytes& entries,
                std::size_t map_size = std::size_t{1} << 24);

/// Removes an entry; its pages stay in the file, unused.
void remove_from_lmdb(const std::filesystem::path& folder, const std::string& key);

}  // namespace casdm::testing
