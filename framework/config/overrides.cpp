#include "framework/config/overrides.h"

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/parse_toml.h"

namespace casdm {

namespace {

struct Override {
  std::vector<std::string> path;
  Value value;
};

void place(Value& value, const Location& location) {
  value.set_location(location);
  if (value.is_table()) {
    for (auto& [key, member] : value.as_table()) {
      place(member, {location.file, 0, 0, key_path(location.key, key)});
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      place(value.as_array()[i], {location.file, 0, 0, key_path(location.key, std::to_string(i))});
    }
  }
}

/// As TOML, else as a bare string. What begins like a string, array or table but is none is a slip.
Value parse_value(const std::string& written, const Location& location) {
  try {
    return parse_toml_value(written);
  } catch (const ConfigError& error) {
    if (written.find_first_of("\"'[{") == 0) fail_at(location, text("no valid TOML value: ", error.what()));
    return written;
  }
}

Override parse_override(const std::string& written) {
  Location location{text("--set ", written), 0, 0, ""};
  const std::size_t equals = written.find('=');
  if (equals == std::string::npos) fail_at(location, "expected KEY=VALUE, as in train.batch_size=64");
  const auto trimmed = [](std::string value) {
    value.erase(0, std::min(value.find_first_not_of(' '), value.size()));
    value.erase(value.find_last_not_of(' ') + 1);
    return value;
  };
  Override result;
  result.path = split_key_path(trimmed(written.substr(0, equals)));
  if (result.path.empty())
    fail_at(location, "the key before '=' is malformed; write it as in train.batch_size or metrics[0].weight");
  if (result.path.front() == "include") fail_at(location, "include belongs into a file");
  for (const std::string& part : result.path) location.key = key_path(location.key, part);
  result.value = parse_value(trimmed(written.substr(equals + 1)), location);
  place(result.value, location);
  return result;
}

/// The element or member `part` of `parent`, made when there is none.
Value& child(Value& parent, const std::string& part, const Location& location) {
  if (parent.is_array()) {
    Value::Array& array = parent.as_array();
    const std::optional<std::size_t> index = index_of(part);
    if (!index || *index > array.size()) {
      fail_at(location, text("'", parent.location().key, "' is an array of ", array.size(),
                             "; expected an index up to that, got '", part, "'"));
    }
    if (*index == array.size()) array.emplace_back();
    return array[*index];
  }
  if (!parent.is_table() && !parent.is_null()) {
    fail_at(location, text("'", parent.location().key, "' is ", parent.type_name(), ", and has no key '", part, "'"));
  }
  if (parent.find(part) == nullptr) parent.set(part, Value());
  return *parent.find(part);
}

void apply(Value& document, const Override& override) {
  const Location& location = override.value.location();
  const OptionSchema* host = &host_schema();
  Value* target = &document;
  std::string path;
  for (std::size_t i = 0; i + 1 < override.path.size(); ++i) {
    if (!target->is_array()) host = host_fields(host, override.path[i]);
    target = &child(*target, override.path[i], location);
    path = key_path(path, override.path[i]);
    if (target->is_null()) {
      *target = Value(Value::Table{});
      target->set_location({location.file, 0, 0, path});
    }
  }
  if (target->is_table() && override.path.back() == "type") drop_old_component(*target, override.value, host);
  child(*target, override.path.back(), location) = override.value;
}

}  // namespace

void apply_overrides(Value& document, const std::vector<std::string>& overrides) {
  std::vector<Override> parsed;
  for (const std::string& override : overrides) parsed.push_back(parse_override(override));
  std::stable_partition(parsed.begin(), parsed.end(), [](const Override& o) { return o.path.back() == "type"; });
  for (const Override& override : parsed) apply(document, override);
}

}  // namespace casdm
