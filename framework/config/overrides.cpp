#include "framework/config/overrides.h"

#include <algorithm>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/limits.h"
#include "framework/config/merge.h"
#include "framework/config/parse_toml.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

constexpr std::size_t kLongestOverride = 200;  // of an override in messages; each of its values stores it

struct Override {
  std::vector<KeyPart> path;
  Value value;
};

/// Parsed as TOML, or else taken as a bare string. A malformed string, array or table is an error.
Value parse_value(const std::string& written, const Location& location) {
  try {
    return parse_toml_value(written);
  } catch (const ConfigError& error) {
    if (written.find_first_of("\"'[{") == 0) fail_at(location, text("not a valid TOML value: ", error.what()));
    return written;
  }
}

std::string trimmed(std::string value) {
  value.erase(0, std::min(value.find_first_not_of(' '), value.size()));
  value.erase(value.find_last_not_of(' ') + 1);
  return value;
}

/// The form of an override in messages.
std::string shown(const std::string& written) {
  if (written.find_first_of("\n\t") != std::string::npos) return "--set " + quoted(written, kLongestOverride);
  return text("--set ", printable(written.substr(0, kLongestOverride)), written.size() > kLongestOverride ? "..." : "");
}

/// @param place  its location, without a key; if there is only a file name, it is from the command line
Override parse_override(const std::string& written, const Location& place) {
  Location location = place;
  const std::size_t equals = written.find('=');
  if (equals == std::string::npos) fail_at(location, "expected KEY=VALUE, as in train.batch_size=64");
  Override result;
  result.path = split_key_path(trimmed(written.substr(0, equals)));
  if (result.path.empty())
    fail_at(location, "the key before '=' is malformed; write it as in train.batch_size or metrics[0].weight");
  if (result.path.front().name == "include") fail_at(location, "`include` is only allowed in files");
  if (result.path.size() > kDeepestNesting)
    fail_at(location, text("the key has more than ", kDeepestNesting, " parts"));
  for (const KeyPart& part : result.path) location.key = key_path(location.key, part.name);
  if (location.key.size() > kLongestKeyPath) fail_at(place, text("the key is longer than ", kLongestKeyPath, " bytes"));
  result.value = parse_value(trimmed(written.substr(equals + 1)), location);
  set_locations(result.value, location);
  return result;
}

std::string a_type(const Value& value) { return with_article(value.type_name()); }

/// The element or member `part` of `parent`, created if it does not exist.
Value& child(Value& parent, const KeyPart& part, const Location& location) {
  const std::string& parent_key = parent.location().key;
  if (parent.is_array()) {
    Value::Array& array = parent.as_array();
    const std::optional<std::size_t> index = index_of(part.name);
    if (!index || *index > array.size()) {
      const std::string range = array.empty() ? text("has no element yet; begin with ", parent_key, "[0]")
                                              : text("has ", array.size(), array.size() == 1 ? " element" : " elements",
                                                     "; expected an index up to ", array.size(), ", which appends");
      fail_at(location, text("'", parent_key, "' is an array and ", range, ", got ", quoted(part.name)));
    }
    if (*index == array.size()) array.emplace_back();
    return array[*index];
  }
  if (!parent.is_table() || part.in_brackets) {
    fail_at(location, text("'", parent_key, "' is ", a_type(parent), ", and has no ",
                           part.in_brackets ? "element [" : "key '", part.name, part.in_brackets ? "]" : "'"));
  }
  if (parent.find(part.name) == nullptr) parent.set(part.name, Value());
  return *parent.find(part.name);
}

/// The container for `part` if there is none yet: for an index the host's default array, else a table.
/// @param spec  the host's declaration; null: there is none
Value container_for(const KeyPart& part, bool is_last, const OptionSpec* spec, const Location& location) {
  const bool is_host_array = spec != nullptr && spec->type == OptionType::array;
  if (is_host_array && (part.in_brackets || index_of(part.name))) {
    return spec->default_value.is_array() ? spec->default_value : Value(Value::Array{});
  }
  if (!part.in_brackets) return Value::Table{};
  if (is_last) {
    fail_at(location, text("it is not set, and only its plugin knows the default; set the whole array: ", location.key,
                           "=[...]"));
  }
  return Value::Array{};
}

const OptionSpec* member_spec(const OptionSchema* fields, const std::string& key) {
  if (fields == nullptr) return nullptr;
  const auto found = std::find_if(fields->begin(), fields->end(), [&](const OptionSpec& s) { return s.name == key; });
  return found == fields->end() ? nullptr : &*found;
}

void apply(Value& document, const Override& override) {
  const Location& location = override.value.location();
  const OptionSchema* fields =
      &host_schema();  ///< the host's declarations for the table `target`, or for the tables in the array `target`
  const OptionSpec* spec = nullptr;  ///< of `target`
  Value* target = &document;
  std::string path;
  for (const KeyPart& part : override.path) {
    const bool is_last = &part == &override.path.back();
    if (target->is_null()) {
      const Location here{location.file, location.line, location.column, path};
      *target = container_for(part, is_last, spec, here);
      set_locations(*target, here);
    }
    if (is_last && target->is_table() && part.name == "type") drop_old_component(*target, override.value, fields);
    const bool is_element = target->is_array();
    target = &child(*target, part, location);
    if (is_element) {
      spec = spec != nullptr && !spec->element.empty() ? &spec->element.front() : nullptr;
    } else {
      spec = member_spec(fields, part.name);
      fields = host_fields(fields, part.name);
    }
    path = key_path(path, part.name);
  }
  *target = override.value;
}

bool is_same(const KeyPart& a, const KeyPart& b) { return a.name == b.name; }

bool begins_with(const std::vector<KeyPart>& path, const std::vector<KeyPart>& start) {
  return start.size() <= path.size() && std::equal(start.begin(), start.end(), path.begin(), is_same);
}

/// In the order of application: as given, except that the type of a component comes before the options given for it.
std::vector<Override> ordered(std::vector<Override> overrides) {
  std::vector<Override> result;
  for (Override& override : overrides) {
    auto place = result.end();
    const std::vector<KeyPart> component(override.path.begin(), override.path.end() - 1);
    for (auto at = result.end(); override.path.back().name == "type" && at != result.begin();) {
      --at;
      if (begins_with(component, at->path) || begins_with(at->path, override.path)) break;
      if (begins_with(at->path, component)) place = at;
    }
    result.insert(place, std::move(override));
  }
  return result;
}

/// Whether `later` sets the key of `earlier`, or a table or array that contains it.
bool replaces(const Override& later, const Override& earlier) {
  const bool is_repeated = later.path.size() == earlier.path.size() && later.value == earlier.value;
  return !is_repeated && begins_with(earlier.path, later.path);
}

/// The last one wins, as in most programs, but a mistake should be visible.
void say_what_is_replaced(const std::vector<Override>& overrides) {
  for (auto earlier = overrides.begin(); earlier != overrides.end(); ++earlier) {
    const auto later =
        std::find_if(earlier + 1, overrides.end(), [&](const Override& o) { return replaces(o, *earlier); });
    if (later == overrides.end()) continue;
    std::cerr << "warning: " << earlier->value.location().file << " has no effect: " << later->value.location().file
              << " comes after it\n";
  }
}

}  // namespace

Location override_location(const std::string& override) { return {shown(override), 0, 0, ""}; }

void apply_overrides(Value& document, const std::vector<std::string>& overrides) {
  std::vector<Override> parsed;
  for (const std::string& written : overrides) parsed.push_back(parse_override(written, override_location(written)));
  parsed = ordered(std::move(parsed));
  say_what_is_replaced(parsed);
  for (const Override& override : parsed) apply(document, override);
}

void apply_override_lines(Value& document, const std::vector<Value>& lines) {
  std::vector<Override> parsed;
  for (const Value& line : lines) {
    const Location& place = line.location();
    parsed.push_back(parse_override(line.as_string(), {place.file, place.line, place.column, ""}));
  }
  for (const Override& override : ordered(std::move(parsed))) apply(document, override);
}

void refuse_set_twice(const std::string& option, const std::string& key, const std::vector<std::string>& overrides) {
  const std::vector<KeyPart> path = split_key_path(key);
  for (const std::string& written : overrides) {
    const std::vector<KeyPart> other = split_key_path(trimmed(written.substr(0, written.find('='))));
    if (other.empty() || !(begins_with(path, other) || begins_with(other, path))) continue;
    throw ConfigError(text(printable(option), " and ", shown(written), " both set ", key, "; give one of them"));
  }
}

bool sets(const std::string& override, const std::string& key, const Location& place) {
  const Override parsed = parse_override(override, {place.file, place.line, place.column, ""});
  const std::vector<KeyPart> path = split_key_path(key);
  if (begins_with(parsed.path, path)) return true;
  if (!begins_with(path, parsed.path)) return false;
  const Value* value = &parsed.value;
  for (auto part = path.begin() + static_cast<std::ptrdiff_t>(parsed.path.size());
       value != nullptr && part != path.end(); ++part) {
    value = value->find(part->name);
  }
  return value != nullptr;
}

}  // namespace casdm
