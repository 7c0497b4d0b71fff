#include "framework/config/components_of.h"

#include <algorithm>

#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

class Search {
 public:
  Search(std::string_view kind, const ComponentCatalog& catalog) : kind_(kind), catalog_(catalog) {}

  void members(const Value& table, const OptionSchema& schema, const std::string& key) {
    for (const OptionSpec& spec : schema) {
      if (const Value* value = table.find(spec.name)) one(*value, spec, key_path(key, spec.name));
    }
  }

  std::vector<std::pair<std::string, const Value*>> found;

 private:
  void one(const Value& value, const OptionSpec& spec, const std::string& key) {
    if (value.is_array()) {
      const OptionSpec element = element_of(spec);
      for (std::size_t i = 0; i < value.as_array().size(); ++i) {
        one(value.as_array()[i], element, text(key, '[', i, ']'));
      }
    } else if (value.is_table()) {
      members(value, spec.fields, key);
      const Value* type = value.find("type");
      if (spec.component_kind.empty() || type == nullptr || !type->is_string()) return;
      if (spec.component_kind == kind_) found.emplace_back(key, &value);
      members(value, catalog_.component(spec.component_kind, type->as_string()).options, key);
    }
  }

  std::string_view kind_;
  const ComponentCatalog& catalog_;
};

}  // namespace

std::vector<std::pair<std::string, const Value*>> components_of(std::string_view kind, const Value& experiment,
                                                                const std::vector<std::string>& without,
                                                                const ComponentCatalog& catalog) {
  OptionSchema schema = host_schema();
  std::erase_if(schema, [&](const OptionSpec& option) {
    return std::find(without.begin(), without.end(), option.name) != without.end();
  });
  Search search(kind, catalog);
  search.members(experiment, schema, "");
  return std::move(search.found);
}

}  // namespace casdm
