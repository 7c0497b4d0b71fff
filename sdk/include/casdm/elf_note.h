#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "casdm/api.h"

namespace casdm CASDM_API {

/// Name, type and layout of a plugin's ELF note: what `plugins list` reads instead of loading.
inline constexpr const char* kNoteName = "casdm";
inline constexpr std::uint32_t kNoteType = 0x63617364;  // "casd"
inline constexpr std::uint32_t kNoteLayout = 1;

/// What a library says about itself without being loaded.
struct ElfNote {
  std::string json;                 ///< stamp, plugin and components; see plugin_description.h
  std::string build_id;             ///< hexadecimal GNU build id; empty when the library has none
  std::vector<std::string> needed;  ///< names of the libraries it is linked to (DT_NEEDED), in their order
};

/// Reads the note of the ELF64 shared library `path` with every access checked against the
/// file's size. Returns nothing when the file is a shared library without a casdm note.
/// Throws PluginError when it is not an ELF shared library of this machine, is truncated or
/// inconsistent, or its note has another layout.
std::optional<ElfNote> read_elf_note(const std::filesystem::path& path);

/// The libraries that the ELF64 file `path` is linked to (DT_NEEDED), in their order; for files that are not plugins.
/// Throws PluginError as read_elf_note does.
std::vector<std::string> read_needed(const std::filesystem::path& path);

/// Like read_elf_note(path) for a file already in memory; `name` is used in messages.
std::optional<ElfNote> read_elf_note(const unsigned char* data, std::size_t size, const std::string& name);

}  // namespace casdm
