#pragma once

#include <algorithm>
#include <filesystem>

#include "casdm/value.h"
#include "framework/config/experiment.h"

namespace casdm {

/// What of the table [data] decides the pixels of its images: with names in place of absolute paths, since the location
/// does not matter, and with the keys that only a training uses (random_flip, workers, ...) at their defaults. For a
/// data set that no experiment names, what stands in place of the table.
inline Value reading_of(const DataOptions& options) {
  Value table = options.dataset.table;
  if (!table.is_table()) return table;
  const OptionSchema own = schema_of<DataOptions>();
  for (auto& [name, value] : table.as_table()) {
    const std::string& key = name;
    const auto option = std::find_if(own.begin(), own.end(), [&](const OptionSpec& spec) { return spec.name == key; });
    if (option != own.end() && key != "image_size" && key != "channels") value = option->default_value;
    if (!value.is_string() || !std::filesystem::path(value.as_string()).is_absolute()) continue;
    const std::filesystem::path path = std::filesystem::path(value.as_string()).lexically_normal();
    value = Value((path.has_filename() ? path : path.parent_path()).filename().string());
  }
  return table;
}

}  // namespace casdm
