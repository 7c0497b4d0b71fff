#include "framework/interchange/recorded_options.h"

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::string_view kPrefix = "option.";

}  // namespace

void record_options(Metadata& metadata, const Value& options) {
  for (const auto& [name, value] : options.as_table()) metadata[std::string(kPrefix) + name] = to_json(value);
}

Value recorded_options(const Metadata& metadata, std::string_view source) {
  Value options{Value::Table{}};
  for (const auto& [key, recorded] : metadata) {
    if (!key.starts_with(kPrefix)) continue;
    try {
      options.set(key.substr(kPrefix.size()), from_json(recorded));
    } catch (const Error& error) {
      throw Error(text(source, ": the metadata ", quoted(key), " is damaged: ", error.what()));
    }
  }
  return options;
}

void check_recorded_options(const Metadata& metadata, const Value& options, std::string_view source,
                            std::string_view where) {
  std::vector<std::string> differences;
  const Value recorded_table = recorded_options(metadata, source);
  for (const auto& [name, recorded] : recorded_table.as_table()) {
    const Value* value = options.find(name);
    if (value == nullptr || to_json(*value) == to_json(recorded)) continue;
    differences.push_back(text(name, " = ", to_json(recorded), ", ", where, " has ", to_json(*value)));
  }
  if (differences.empty()) return;
  throw ConfigError(text(source, " holds weights for other options, though of the same shapes:\n  ",
                         join(differences, "\n  "), "\nSet them as recorded, or import the file again"));
}

}  // namespace casdm
