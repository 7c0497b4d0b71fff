#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// The experiment in `file`: its `include`d pieces merged under it (later wins, tables merge key by
/// key, arrays replace, a table whose `type` changes replaces the old one whole), then
/// `overrides` ("train.batch_size=8") on top. Every value carries file, line, column and key path.
/// Throws ConfigError on syntax errors, include cycles, missing files and malformed overrides.
Value load_document(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});

/// The same from text; `name` stands for the file in messages, relative paths are relative to `folder`.
Value parse_document(const std::string& toml, const std::string& name, const std::filesystem::path& folder);

/// `value` (a table) as a TOML document that load_document reads back to an equal value.
std::string to_toml(const Value& value);

}  // namespace casdm
