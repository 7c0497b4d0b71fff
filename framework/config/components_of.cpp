#include "framework/config/components_of.h"

#include <algorithm>

#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/walk.h"

namespace casdm {

std::vector<std::pair<std::string, const Value*>> components_of(std::string_view kind, const Value& experiment,
                                                                const std::vector<std::string>& without,
                                                                const ComponentCatalog& catalog) {
  OptionSchema schema = host_schema();
  std::erase_if(schema, [&](const OptionSpec& option) {
    return std::find(without.begin(), without.end(), option.name) != without.end();
  });
  std::vector<std::pair<std::string, const Value*>> found;
  Visitors visitors;
  visitors.component = [&](const Value& table, std::string_view other, const std::string& key) {
    if (kind.empty() || other == kind) found.emplace_back(key, &table);
  };
  walk(experiment, schema, catalog, visitors);
  return found;
}

std::vector<ComponentConfig> components_below(const std::string& key, const Value& experiment,
                                              const ComponentCatalog& catalog) {
  std::vector<ComponentConfig> found;
  for (const auto& [own, table] : components_of("", experiment, {}, catalog)) {
    if (is_at_or_below(own, key)) found.push_back({table->find("type")->as_string(), *table});
  }
  return found;
}

}  // namespace casdm
