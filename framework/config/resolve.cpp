#include "framework/config/resolve.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/example.h"
#include "framework/config/key_path.h"
#include "framework/config/limits.h"
#include "framework/config/named_tables.h"
#include "framework/config/option_pattern.h"
#include "framework/config/parse_toml.h"
#include "framework/config/problems.h"
#include "framework/config/resolve_named.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

constexpr std::string_view kWorkingDirectoryKey = "run.directory";
constexpr std::int64_t kLargestExact = std::int64_t{1} << 53;  // beyond, floats skip integers
constexpr std::size_t kLongestMatched = 200;                   // with a pattern, whose cost grows with the text
constexpr std::size_t kLongestFileName = 200;
constexpr std::string_view kTemporaryPrefix = ".tmp-";  // files with this prefix are removed once their writer is gone

bool has_no_float(const Value& value) {
  return value.is_integer() && (value.as_integer() > kLargestExact || value.as_integer() < -kLargestExact);
}

bool is_file_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.starts_with(kTemporaryPrefix)) return false;
  return name.size() <= kLongestFileName && name.find_first_of("/\n\t") == std::string::npos && printable(name) == name;
}

/// One walk over a document; collects problems instead of stopping at the first.
class Resolver {
 public:
  Resolver(const ComponentCatalog& catalog, const std::string& whole, Missing missing)
      : catalog_(catalog), whole_(whole), missing_(missing) {}

  /// @param owner  for messages: who declares the keys that do not belong to a component
  Value table(const Value& value, const OptionSpec& spec, const Value& defaults, const std::string& owner) {
    if (!value.is_table()) {
      problems_.add(value.location(), text("expected a table, got ", got(value), declared()));
      return value;
    }
    if (!spec.component_kind.empty() && depth_ == kDeepestComponents) {
      problems_.add(value.location(), nested_too_deeply(spec, plugin_));
      problems_.finish();
    }
    const Component chosen = component(value, spec);
    if (chosen.is_kept) return value;
    Value result{Value::Table{}};
    result.set_location(value.location());
    if (chosen.entry != nullptr) {
      Value type = chosen.full_name;
      if (const Value* given = value.find("type")) type.set_location(given->location());
      result.set("type", std::move(type));
    }
    fields(value, spec.fields, defaults, owner, result);
    if (chosen.entry != nullptr) {
      const std::string outer = std::exchange(plugin_, chosen.owner);
      ++depth_;
      fields(value, chosen.entry->options, Value(), chosen.owner, result);
      --depth_;
      plugin_ = outer;
    }
    if (const OptionSpec* named = find_named_tables(spec.fields)) named_tables(value, spec, *named, chosen, result);
    unknown_keys(value, spec, chosen, owner);
    return result;
  }

  void finish() { problems_.finish(); }

 private:
  /// The component that a table's `type` names; no entry if it cannot be found.
  struct Component {
    const ComponentEntry* entry = nullptr;
    std::string full_name;
    std::string owner;     ///< "NAME (plugin ID)"
    bool is_kept = false;  ///< although it is missing
  };

  /// The end of a message: who declares the current option, unless it is the host.
  std::string declared(const std::string& hint = "") const {
    if (plugin_.empty()) return hint;
    return text(hint, hint.ends_with('?') ? " It is an option of " : "; it is an option of ", plugin_);
  }

  std::string available(const std::string& kind) const {
    const std::vector<std::string> names = catalog_.names(kind);
    return names.empty() ? "no plugin with one was found" : join(names, ", ");
  }

  std::string default_component(const std::string& kind) const {
    const std::string recommended = recommended_component(kind, catalog_);
    return recommended.empty() ? simplest_component(kind, catalog_) : recommended;
  }

  Component component(const Value& table, const OptionSpec& spec) {
    if (spec.component_kind.empty()) return {};
    const Value* type = table.find("type");
    if (type == nullptr) type = spec.default_value.find("type");
    if (type == nullptr) {
      problems_.add(table.location(), text("`type` is missing; it chooses the ", spec.component_kind, ": ",
                                           available(spec.component_kind)));
      return {};
    }
    const bool is_default = table.find("type") == nullptr;
    const Location& location = is_default ? table.location() : type->location();
    const Value chosen_by_default(is_default ? default_component(spec.component_kind) : "");
    if (is_default && *type == Value("")) type = &chosen_by_default;
    if (*type == Value("") && is_default) {
      problems_.add(location, text("there is no ", spec.component_kind, " to use: ", available(spec.component_kind)));
      return {};
    }
    if (!type->is_string()) {
      problems_.add(location, text("expected a string, got ", got(*type)));
      return {};
    }
    try {
      Component result;
      result.entry = &catalog_.component(spec.component_kind, type->as_string());
      result.full_name = catalog_.full_name(spec.component_kind, type->as_string());
      result.owner = with_plugin(result.full_name);
      collisions(*result.entry, spec, result.full_name.substr(0, result.full_name.find('/')), location);
      return result;
    } catch (const Error& error) {
      if (missing_ == Missing::kept && !plugin_.empty()) return {nullptr, "", "", true};
      problems_.add(location, error.what());
      return {};
    }
  }

  void collisions(const ComponentEntry& entry, const OptionSpec& spec, const std::string& plugin,
                  const Location& location) {
    for (const OptionSpec& option : entry.options) {
      const bool is_host = option.name == "type" || std::any_of(spec.fields.begin(), spec.fields.end(),
                                                                [&](const auto& f) { return f.name == option.name; });
      if (!is_host) continue;
      problems_.add(location,
                    text("plugin ", plugin, " is at fault: ", entry.name, " declares the option '", option.name,
                         "', which is a key of the host in this table; the plugin must rename it"));
    }
  }

  bool is_option(const Component& component, const std::string& key) const {
    if (component.entry == nullptr) return false;
    const OptionSchema& options = component.entry->options;
    return std::any_of(options.begin(), options.end(), [&](const OptionSpec& option) { return option.name == key; });
  }

  /// Resolves the tables in `value` whose names the user chose. Only the given keys are written, so the rest follows
  /// the outer table; if the component differs from the outer one, all its options are.
  void named_tables(const Value& value, const OptionSpec& spec, const OptionSpec& named, const Component& outer,
                    Value& result) {
    for (const auto& [key, table] : value.as_table()) {
      if (!is_named_table(spec.fields, key, table) || is_option(outer, key)) continue;
      const Component chosen = table.find("type") == nullptr ? outer : component(table, named);
      Value own{Value::Table{}};
      own.set_location(table.location());
      if (const Value* type = table.find("type"); type != nullptr && chosen.entry != nullptr) {
        own.set("type", chosen.full_name);
        own.find("type")->set_location(type->location());
      }
      const std::string owner = table_name(table.location().key);
      given_fields(table, named.fields, own);
      if (chosen.entry != nullptr) {
        const std::string outer_plugin = std::exchange(plugin_, chosen.owner);
        if (chosen.full_name == outer.full_name) {
          given_fields(table, chosen.entry->options, own);
        } else {
          fields(table, chosen.entry->options, Value(), chosen.owner, own);
        }
        plugin_ = outer_plugin;
      }
      unknown_keys(table, named, chosen, owner);
      result.set(key, std::move(own));
    }
  }

  void given_fields(const Value& table, const OptionSchema& specs, Value& result) {
    for (const OptionSpec& spec : specs) {
      if (const Value* value = table.find(spec.name)) result.set(spec.name, one(*value, spec, Value()));
    }
  }

  void fields(const Value& table, const OptionSchema& specs, const Value& defaults, const std::string& owner,
              Value& result) {
    for (const OptionSpec& spec : specs) {
      if (is_named_tables(spec)) continue;
      const Value* value = table.find(spec.name);
      const Value* outer = defaults.find(spec.name);
      const Value& default_value = outer != nullptr ? *outer : spec.default_value;
      if (value != nullptr) {
        result.set(spec.name, one(*value, spec, default_value));
      } else if (spec.is_required) {
        missing(table, spec, owner);
      } else if (default_value.is_table() && (spec.component_kind.empty() || default_value.find("type") != nullptr)) {
        Value empty{Value::Table{}};
        // If a default component is not available, the problem is reported at the table that leaves it out.
        Location location = spec.component_kind.empty() ? Location() : table.location();
        location.key = key_path(table.location().key, spec.name);
        empty.set_location(std::move(location));
        result.set(spec.name, one(empty, spec, default_value));
      } else if (!default_value.is_null()) {
        result.set(spec.name, default_value);
      }
    }
  }

  void missing(const Value& table, const OptionSpec& spec, const std::string& owner) {
    Location location = table.location();
    location.key = key_path(location.key, spec.name);
    std::string what =
        spec.component_kind.empty() ? expected(spec) : text("a table that chooses ", with_article(spec.component_kind));
    if (!spec.component_kind.empty()) what += text(" by `type`: ", available(spec.component_kind));
    problems_.add(location, text("missing; ", owner.empty() ? whole_ : owner, " needs it: ", what));
  }

  void unknown_keys(const Value& table, const OptionSpec& spec, const Component& chosen, const std::string& owner) {
    if (!spec.component_kind.empty() && chosen.entry == nullptr) return;
    std::vector<std::string> known;
    if (!spec.component_kind.empty()) known.push_back("type");
    for (const OptionSpec& field : spec.fields) {
      if (!is_named_tables(field)) known.push_back(field.name);
    }
    if (chosen.entry != nullptr) {
      for (const OptionSpec& option : chosen.entry->options) known.push_back(option.name);
    }
    std::string of = chosen.owner;
    if (of.empty() || !spec.fields.empty()) of += text(of.empty() ? "" : " and of ", owner.empty() ? whole_ : owner);
    for (const auto& [key, value] : table.as_table()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      if (is_named_table(spec.fields, key, value)) continue;
      const std::vector<std::string> likely = nearest(key, known, 1);
      const std::string hint = !likely.empty() ? text("; did you mean '", likely.front(), "'?")
                               : known.empty() ? "; it takes none"
                                               : text("; known are ", join(known, ", "));
      problems_.add(keys_.location(value.location()), text("unknown key of ", of, hint));
    }
  }

  Value one(const Value& value, const OptionSpec& spec, const Value& defaults) {
    Value result = value;
    switch (spec.type) {
      case OptionType::table:
        return table(value, spec, defaults,
                     text(table_name(value.location().key), plugin_.empty() ? "" : " of ", plugin_));
      case OptionType::array:
        return array(value, spec);
      case OptionType::boolean:
        if (!value.is_boolean()) wrong(value, spec);
        return result;
      case OptionType::integer:
        if (!value.is_integer() || !is_within(value.as_number(), spec) || !is_allowed(value, spec)) wrong(value, spec);
        return result;
      case OptionType::number:
        if (!value.is_number() || !is_within(value.as_number(), spec)) return wrong(value, spec);
        if (has_no_float(value)) return wrong(value, spec);
        result = Value(value.as_number());
        break;
      case OptionType::count:
        try {
          const Count count = read_count(value);
          if (!is_within(static_cast<double>(count.value), spec)) return wrong(value, spec);
          result = Value(count.value);
        } catch (const ConfigError&) {
          return wrong(value, spec);
        }
        break;
      case OptionType::string:
        if (!value.is_string() || !is_allowed(value, spec) || !is_formed(value.as_string(), spec)) wrong(value, spec);
        return result;
      case OptionType::path:
        if (!value.is_string()) return wrong(value, spec);
        if (const std::string problem = path_problem(value); !problem.empty()) {
          problems_.add(value.location(), text(quoted(value.as_string()), " ", problem, declared()));
          return value;
        }
        result = Value(value.location().key == kWorkingDirectoryKey ? value.as_string() : absolute_path(value));
        break;
    }
    result.set_location(value.location());
    return result;
  }

  Value array(const Value& value, const OptionSpec& spec) {
    if (!value.is_array()) return wrong(value, spec);
    const Value::Array& elements = value.as_array();
    if (spec.length && elements.size() != *spec.length) {
      problems_.add(value.location(), text("expected ", expected(spec), ", got ", elements.size(),
                                           elements.size() == 1 ? " element" : " elements", declared()));
      return value;
    }
    const OptionSpec element = element_of(spec);
    Value::Array result;
    for (const Value& item : elements) result.push_back(one(item, element, Value()));
    Value checked(std::move(result));
    checked.set_location(value.location());
    return checked;
  }

  static bool is_within(double value, const OptionSpec& spec) {
    if (std::isnan(value)) return false;
    if (spec.minimum && (spec.exclusive_minimum ? value <= *spec.minimum : value < *spec.minimum)) return false;
    if (std::isinf(value) && !spec.allows_infinite) return false;
    return !spec.maximum || (spec.exclusive_maximum ? value < *spec.maximum : value <= *spec.maximum);
  }

  static bool is_allowed(const Value& value, const OptionSpec& spec) {
    return spec.allowed.empty() || std::find(spec.allowed.begin(), spec.allowed.end(), value) != spec.allowed.end();
  }

  static bool is_formed(const std::string& value, const OptionSpec& spec) {
    if (spec.is_file_name && !is_file_name(value)) return false;
    if (spec.pattern.empty() || value.empty()) return true;
    return value.size() <= kLongestMatched && std::regex_match(value, compile_pattern(spec.pattern));
  }

  Value wrong(const Value& value, const OptionSpec& spec) {
    std::string hint;
    if (value.is_string() && !spec.allowed.empty()) {
      std::vector<std::string> choices;
      for (const Value& choice : spec.allowed) {
        if (choice.is_string()) choices.push_back(choice.as_string());
      }
      const std::vector<std::string> likely = nearest(value.as_string(), choices, 1);
      if (!likely.empty()) hint = text("; did you mean ", quoted_list(likely), "?");
    }
    if (value.is_floating() && !std::isfinite(value.as_number())) hint = "; it must be finite";
    if (spec.type == OptionType::number && has_no_float(value)) {
      hint = "; such integers have no float of the same value, so write a float";
    }
    const bool wants_text = spec.type == OptionType::string || spec.type == OptionType::path;
    if (wants_text && spec.allowed.empty() && (value.is_boolean() || value.is_number())) hint = "; in quotes it is one";
    problems_.add(value.location(), text("expected ", expected(spec), ", got ", got(value), declared(hint)));
    return value;
  }

  const ComponentCatalog& catalog_;
  const std::string& whole_;  ///< what the document is called in messages
  Missing missing_;
  Problems problems_;
  KeyFinder keys_;
  std::string plugin_;     ///< "NAME (plugin ID)" while its options are visited; empty: the host's
  std::size_t depth_ = 0;  ///< components whose options are being visited
};

/// Sets the key path of values that come from JSON and so have no other location.
void name_keys(Value& value, const std::string& key) {
  if (value.location().file.empty()) value.set_location({"", 0, 0, key});
  if (value.is_table()) {
    for (auto& [name, member] : value.as_table()) name_keys(member, key_path(key, name));
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      name_keys(value.as_array()[i], key_path(key, std::to_string(i)));
    }
  }
}

OptionSpec table_of(const OptionSchema& schema) {
  OptionSpec spec;
  spec.type = OptionType::table;
  spec.fields = schema;
  return spec;
}

Value resolve_table(Value value, const OptionSpec& spec, const ComponentCatalog& catalog, const std::string& whole,
                    Missing missing = Missing::refused) {
  if (value.location().file.empty()) name_keys(value, "");
  Resolver resolver(catalog, whole, missing);
  Value result = resolver.table(value, spec, Value(), "");
  resolver.finish();
  return result;
}

}  // namespace

Value resolve_named(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog,
                    const std::string& whole) {
  return resolve_table(document, table_of(schema), catalog, whole);
}

Value resolve(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog, Missing missing) {
  return resolve_table(document, table_of(schema), catalog, "an experiment", missing);
}

Value resolve_component(const Value& table, std::string_view kind, const ComponentCatalog& catalog) {
  OptionSpec spec;
  spec.type = OptionType::table;
  spec.component_kind = kind;
  return resolve_table(table, spec, catalog, "an experiment");
}

}  // namespace casdm
