#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// The experiment in `file`: the files it `include`s (a string or an array of them, relative to the including file)
/// merged in order, the file itself over them, `overrides` on top. Every value
/// carries file, line, column and key path.
///
/// Merging: later wins; tables merge key by key; everything else, arrays of tables too, is
/// replaced. A table whose `type` changes loses the keys of its old component, since they mean
/// nothing or something else to the new one; the keys that the host itself declares there
/// (`data.image_size`, `metrics.0.weight`) stay.
///
/// An override is "key.path=value": elements of arrays as `metrics.0.weight` or
/// `metrics[0].weight`, one past the end appends; the value as in TOML, or else a bare string.
/// Overrides of a `type` are applied before the others, whatever their order.
///
/// Throws ConfigError on syntax errors, include cycles, files that are missing or not regular,
/// malformed overrides, and beyond the limits of limits.h.
Value load_document(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});

/// The same for text; messages call it `name` (after `folder`, unless that is the working directory), and relative
/// paths are relative to `folder`.
Value parse_document(const std::string& toml, const std::string& name, const std::filesystem::path& folder);

/// Why `path` cannot be the path of a file, as the end of a sentence ("is not a path: ..."); empty: it can.
std::string path_problem(const std::string& path);

/// The same for a path as an experiment writes it.
std::string path_problem(const Value& written);

/// The string `value` as an absolute path: a relative path is resolved against the folder of the file that contains it
/// or, if it comes from an override, against the working directory. An empty path, and one without a location (a
/// default), is returned unchanged.
std::string absolute_path(const Value& value);

/// `value` (a table) as a TOML document that load_document reads back to an equal value, up to the
/// order of keys: in each table the plain ones come before tables. Nulls are left out.
std::string to_toml(const Value& value);

/// One value in the form used to the right of `=`, on one line: `[1, 2]`, `{ a = "b" }`.
std::string to_toml_value(const Value& value);

/// `key` in the form used to the left of `=`.
std::string to_toml_key(const std::string& key);

}  // namespace casdm
