#include "framework/interchange/recorded_options.h"

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::string_view kPrefix = "option.";

}  // namespace

void record_options(Metadata& metadata, const Value& options, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (const Value* value = options.find(name)) metadata[std::string(kPrefix) + name] = to_json(*value);
  }
}

void check_recorded_options(const Metadata& metadata, const Value& options, std::string_view source,
                            std::string_view where) {
  std::vector<std::string> differences;
  for (const auto& [key, recorded] : metadata) {
    if (!key.starts_with(kPrefix)) continue;
    const std::string name = key.substr(kPrefix.size());
    const Value* value = options.find(name);
    if (value == nullptr || to_json(*value) == recorded) continue;
    differences.push_back(text(name, " = ", recorded, ", ", where, " has ", to_json(*value)));
  }
  if (differences.empty()) return;
  throw ConfigError(text(source, " holds weights for other options, though of the same shapes:\n  ",
                         join(differences, "\n  "), "\nSet them as recorded, or import the file again"));
}

}  // namespace casdm
