#include "framework/config/starter.h"

#include <algorithm>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/example.h"
#include "framework/config/key_path.h"
#include "framework/config/named_tables.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

constexpr std::size_t kLineWidth = 100;

/// `content` as comment lines; all but the first start with `hang`.
std::string comment(const std::string& content, const std::string& hang = "") {
  std::string result;
  std::istringstream lines(wrapped(content, kLineWidth - 2 - hang.size()));
  for (std::string line; std::getline(lines, line);) result += text("# ", result.empty() ? "" : hang, line, "\n");
  return result;
}

std::string commented_out(const std::string& block) {
  std::string result;
  std::istringstream lines(block);
  for (std::string line; std::getline(lines, line);) {
    result += line.empty() || line.front() == '#' ? line + "\n" : "# " + line + "\n";
  }
  return result;
}

class Starter {
 public:
  Starter(const ComponentCatalog& catalog, const std::map<std::string, std::string>& chosen)
      : catalog_(catalog), chosen_(chosen) {}

  std::string keys_and_tables(const OptionSchema& options, const std::string& path, const Value& defaults) {
    std::string result;
    for (const OptionSpec& option : options) {
      if (option.type != OptionType::table && !is_table_array(option)) result += key(option, defaults);
    }
    for (const OptionSpec& option : options) {
      const std::string inner = key_path(path, option.name);
      const Value* own = defaults.find(option.name);
      if (is_named_tables(option)) {
        result += text("\n", comment(option.doc));
      } else if (option.type == OptionType::table) {
        const std::string table =
            block(option, text("[", inner, "]"), inner, option.doc, own != nullptr ? *own : option.default_value);
        const bool is_left_out =
            option.component_kind.empty() && !option.is_required && option.default_value.is_null() && own == nullptr;
        result += path.empty() || !is_left_out || is_chosen_in(inner) ? table : commented_out(table);
      } else if (is_table_array(option)) {
        const std::string tables = block(option.element.front(), text("[[", inner, "]]"), inner, option.doc, Value());
        const bool is_asked_for = path.empty() || option.is_required || is_chosen_in(inner);
        result += is_asked_for ? tables : commented_out(tables);
      }
    }
    return result;
  }

  void finish() const {
    for (const auto& [path, type] : chosen_) {
      if (!used_.contains(path))
        throw ConfigError(text(path, ": no table of this experiment chooses a component there"));
    }
  }

 private:
  std::string key(const OptionSpec& option, const Value& defaults) const {
    const Value* own = defaults.find(option.name);
    const Value& value = own != nullptr ? *own : option.default_value;
    const std::string content = text(option.doc, " (", join(option_facts(option), "; "), ")");
    const bool is_absent = value.is_null() && !option.is_required;
    return text(comment(content), is_absent ? "# " : "", to_toml_key(option.name), " = ",
                to_toml_value(value.is_null() ? example_value(option, catalog_) : value), "\n");
  }

  /// A table with its header; commented out if it is an array element that was not asked for.
  std::string block(const OptionSpec& table, const std::string& header, const std::string& path, const std::string& doc,
                    const Value& defaults) {
    std::string result = text("\n", comment(doc));
    std::string type_line;
    std::string own;  // the component itself, which is not recommended, nor its options written, within itself
    OptionSchema options = table.fields;
    if (!table.component_kind.empty()) {
      const std::string type = choose(table.component_kind, path);
      if (type.empty())
        return text(result, comment(text("No plugin with ", with_article(table.component_kind), " was found.")), "# ",
                    header, "\n");
      const ComponentEntry& component = catalog_.component(table.component_kind, type);
      for (const std::string& name : catalog_.names(table.component_kind)) {
        result += comment(text(name, ": ", catalog_.component(table.component_kind, name).doc), "  ");
      }
      own = text(table.component_kind, "/", type);
      type_line = text("type = ", to_toml_value(type), "\n");
      options.insert(options.end(), component.options.begin(), component.options.end());
    }
    const bool is_outermost = own.empty() || open_.insert(own).second;
    const std::string inside = is_outermost || is_chosen_in(path) ? keys_and_tables(options, path, defaults) : "";
    if (is_outermost) open_.erase(own);
    const std::string body = text(header, "\n", type_line, inside);
    return result + (is_written(table, path, header.starts_with("[[")) ? body : commented_out(body));
  }

  /// Optional components, and array elements that are not components, are commented out unless chosen. Metrics are
  /// elements with components, so they are always written.
  bool is_written(const OptionSpec& table, const std::string& path, bool is_element) const {
    const bool is_component = !table.component_kind.empty();
    if (is_element) return is_component;
    return !is_component || table.is_required || table.default_value.is_table() || chosen_.contains(path);
  }

  /// Whether the user chose a component in this table or in one inside it.
  bool is_chosen_in(const std::string& path) const {
    return std::any_of(chosen_.begin(), chosen_.end(), [&](const auto& choice) {
      return choice.first == path || choice.first.starts_with(path + ".");
    });
  }

  std::string choose(const std::string& kind, const std::string& path) {
    const auto wanted = chosen_.find(path);
    if (wanted != chosen_.end()) {
      used_.insert(path);
      return wanted->second;
    }
    const std::string recommended = recommended_component(kind, catalog_);
    if (!recommended.empty() && !open_.contains(text(kind, "/", recommended))) return recommended;
    return simplest_component(kind, catalog_);
  }

  const ComponentCatalog& catalog_;
  const std::map<std::string, std::string>& chosen_;
  std::set<std::string> used_;
  std::set<std::string> open_;  ///< "kind/component" of the tables being written
};

}  // namespace

std::string starter_experiment(const OptionSchema& schema, const ComponentCatalog& catalog,
                               const std::map<std::string, std::string>& chosen) {
  Starter starter(catalog, chosen);
  const std::string tables = starter.keys_and_tables(schema, "", Value());
  starter.finish();
  return "# An experiment with every key at its default; keys that you leave out keep it.\n"
         "# For an editor: `casdm config schema --out casdm.schema.json`, and #:schema ./casdm.schema.json as first "
         "line.\n"
         "# Parts can be shared: include = [\"base/data.toml\"], relative to this file, later wins.\n"
         "# `casdm train FILE --dry-run` creates all components and says which of them do not fit together.\n" +
         tables;
}

}  // namespace casdm
