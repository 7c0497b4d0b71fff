#pragma once

#include <cstdint>
#include <filesystem>

#include "framework/evaluation/reference.h"

namespace casdm {

inline constexpr std::int64_t kReferenceFormat = 2;
inline constexpr const char* kReferenceNote =
    "casdm_reference";                                      ///< of the record in the metadata of a safetensors file
inline constexpr const char* kStatisticsOf = "statistics";  ///< in an NPZ's record: the extractor of each mean

/// Writes the states of all judges and what they were made from, as safetensors. Throws Error.
void write_states(const std::filesystem::path& path, const Reference& reference, const Judges& judges);

/// Throws ConfigError if write_reference could not write `path` for these judges, or would replace a file that it did
/// not write, so that this is known before the work.
void require_reference_form(const std::filesystem::path& path, const Judges& judges);

/// Writes a reference for later use: as safetensors, the states of all judges and what they were made from; or as
/// guided-diffusion's NPZ, if `path` has that extension: mu and sigma, mu_s and sigma_s if there is a judge with a
/// spatial feature, and arr_0 with at most 10,000 of the images. Throws Error.
/// @param images  for arr_0
void write_reference(const std::filesystem::path& path, const Reference& reference, const Judges& judges,
                     const ImageStream& images);

}  // namespace casdm
