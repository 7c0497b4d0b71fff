#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/reporting/npz_file.h"

namespace casdm {

/// Files of a folder of samples: how they were made, and all of them as one array.
inline constexpr const char* kSamplingRecord = "sampling.json";
inline constexpr const char* kSamplesFile = "samples.npz";

inline constexpr std::int64_t kSamplingFormat = 1;

/// The record of the sampling in `folder`; nothing if there is none. Throws Error, without the file's name, if it is
/// damaged or of another format.
std::optional<Value> read_sampling(const std::filesystem::path& folder);

/// The checksum of samples.npz in the record of a complete sampling; nothing if an earlier version wrote the record.
std::optional<NpzFile::Sum> kept_sum(const Value& record);

/// Adds "  sampler.eta: 0.0 there, 1.0 now" for each setting in which the two differ.
/// @param path  of the tables compared; empty: the whole settings
void collect_differences(const Value& there, const Value& now, const std::string& path,
                         std::vector<std::string>& lines);

}  // namespace casdm
