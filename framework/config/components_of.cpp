#include "framework/config/components_of.h"

#include <algorithm>

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
    if (other == kind) found.emplace_back(key, &table);
  };
  walk(experiment, schema, catalog, visitors);
  return found;
}

}  // namespace casdm
