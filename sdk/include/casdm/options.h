#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "casdm/api.h"
#include "casdm/value.h"

/// Typed options, declared once per component.
///
///     struct DdimOptions {
///       double eta = 0.0;
///       std::string spacing = "leading";
///
///       static void describe(casdm::Schema<DdimOptions>& s) {
///         s.option("eta", &DdimOptions::eta, "Noise of a step: 0 deterministic, 1 like DDPM.").range(0, 1);
///         s.option("spacing", &DdimOptions::spacing, "Which timesteps are kept.")
///             .choices({"leading", "linspace", "trailing"});
///       }
///     };
///
/// The declaration serves five uses: validation of the experiment file, `casdm plugins inspect`,
/// the reference pages, the JSON Schema for editors and `casdm config init`. Defaults are the
/// member initialisers. A key that is not declared is an error in the experiment file.
namespace casdm CASDM_API {

enum class OptionType {
  boolean,
  integer,
  number,  ///< a float; integers are taken too
  count,   ///< a whole number, or a string with a suffix k, M or G: "200k"
  string,
  path,  ///< a string; relative ones are resolved against the file they stand in
  array,
  table,
};

std::string_view to_string(OptionType type);

/// A condition on another option, without which this one has no effect; see `OptionSpec::only_with` and `not_with`.
struct OptionCondition {
  std::string option;         ///< of the same table; with a dot, a key path of the experiment
  std::vector<Value> values;  ///< it must be one of them; if `is_excluded`, none of them, and its default if empty
  bool is_excluded = false;   ///< of `not_with`
};

/// What is known of one key. Built by Schema, carried as JSON in a plugin's note.
struct OptionSpec {
  OptionSpec();
  OptionSpec(const OptionSpec& other);
  OptionSpec(OptionSpec&& other) noexcept;
  OptionSpec& operator=(const OptionSpec& other);
  OptionSpec& operator=(OptionSpec&& other) noexcept;
  ~OptionSpec();

  std::string name;
  OptionType type = OptionType::string;
  std::string doc;
  std::string unit;
  Value default_value;  ///< null: the key may be absent and has no default
  bool is_required = false;
  std::optional<double> minimum;  ///< inclusive, unless `exclusive_minimum`
  std::optional<double> maximum;  ///< inclusive, unless `exclusive_maximum`
  bool exclusive_minimum = false;
  bool exclusive_maximum = false;
  bool allows_infinite = false;  ///< numbers: else only finite ones are taken; NaN never is
  std::vector<Value> allowed;    ///< strings or integers: the only values taken
  std::string pattern;  ///< strings: a regular expression (ECMAScript) that all of the value matches; "" always does
  std::string at_most_key;    ///< see `at_most`
  bool must_exist = false;    ///< paths: see `existing_path`
  bool is_file_name = false;  ///< strings: see `file_name`
  std::vector<OptionCondition> conditions;
  std::vector<Value> examples;
  std::optional<std::size_t> length;  ///< arrays: exact number of elements
  std::vector<OptionSpec> element;    ///< arrays: exactly one entry, the element's spec
  std::vector<OptionSpec> fields;     ///< tables: the keys
  std::string component_kind;         ///< tables: with `type`, also the options of that component

  OptionSpec& range(double low, double high);
  OptionSpec& at_least(double low);
  OptionSpec& greater_than(double low);
  OptionSpec& less_than(double high);
  OptionSpec& may_be_infinite();
  OptionSpec& choices(std::vector<std::string> values);
  OptionSpec& choices(std::initializer_list<std::int64_t> values);
  OptionSpec& matching(std::string regular_expression);

  /// An experiment that has a number at the key path `key` ("noise.num_train_timesteps") refuses a
  /// greater one here. Of a string, the sum of the whole numbers in it counts: "10,15,20" is 45.
  OptionSpec& at_most(std::string key);

  /// There must be a file or folder at the path when a training starts; `config check` looks, too.
  /// An empty path is not looked for.
  OptionSpec& existing_path();

  /// The string names a file or folder: it is one component of a path, no more than 200 bytes.
  OptionSpec& file_name();

  /// The option has an effect only while `option`, of the same table or at a key path such as "head.type", is one of
  /// `values`. Otherwise `config check`, and a training when it begins, refuse any value but the default.
  OptionSpec& only_with(std::string option, std::vector<Value> values);

  /// Likewise for an option that has no effect while `option` is one of `values`; without values, which a key path
  /// needs, while `option` is not its default. Throws Error for a key path without values.
  OptionSpec& not_with(std::string option, std::vector<Value> values = {});

  OptionSpec& in_unit(std::string value);
  OptionSpec& example(Value value);
  OptionSpec& required();
};

/// The options of one component, in the order of their declaration.
using OptionSchema = std::vector<OptionSpec>;

Value to_value(const OptionSchema& schema);
OptionSchema schema_from_value(const Value& value);

/// A component chosen in the experiment file: `type` and the table it stands in.
struct ComponentConfig {
  std::string type;  ///< "plugin/component" or, where unique, "component"
  Value table;       ///< all keys of the table, validated and with defaults filled in
};

/// A whole number that may be written with a suffix: 50000, "50k", "1.5M".
struct Count {
  std::int64_t value = 0;
  Count() = default;
  Count(std::int64_t number) : value(number) {}
  operator std::int64_t() const { return value; }
};

/// Throws ConfigError when `value` is neither a whole number nor such a string.
Count read_count(const Value& value);

template <class T>
class Schema;

/// T declares its options by a static `describe(Schema<T>&)`.
template <class T>
concept Describable = requires(Schema<T>& schema) {
  T::describe(schema);
};

template <class T>
Schema<T> describe();

template <class T>
OptionSchema schema_of();

/// A T with defaults, overwritten by the keys of `table` that T declares. `table` has been
/// validated: a wrong type throws ConfigError with its location.
template <class T>
T read_options(const Value& table);

/// The keys of `options` as a table that `read_options` reads back.
template <class T>
Value write_options(const T& options);

namespace detail {

/// Appends the spec of an option to a schema; the reference holds until the next one is added.
OptionSpec& add_option(OptionSchema& schema, OptionSpec spec, const std::string& name, const std::string& doc);

/// How one C++ type maps to an OptionSpec and to a Value.
template <class M>
struct OptionTraits;

template <OptionType kType>
struct ScalarTraits {
  static OptionSpec spec() {
    OptionSpec spec;
    spec.type = kType;
    return spec;
  }
};

template <>
struct OptionTraits<bool> : ScalarTraits<OptionType::boolean> {
  static Value write(bool value) { return value; }
  static bool read(const Value& value) { return value.as_boolean(); }
};

template <>
struct OptionTraits<std::int64_t> : ScalarTraits<OptionType::integer> {
  static Value write(std::int64_t value) { return value; }
  static std::int64_t read(const Value& value) { return value.as_integer(); }
};

template <>
struct OptionTraits<double> : ScalarTraits<OptionType::number> {
  static Value write(double value) { return value; }
  static double read(const Value& value) { return value.as_number(); }
};

template <>
struct OptionTraits<Count> : ScalarTraits<OptionType::count> {
  static Value write(Count value) { return value.value; }
  static Count read(const Value& value) { return read_count(value); }
};

template <>
struct OptionTraits<std::string> : ScalarTraits<OptionType::string> {
  static Value write(const std::string& value) { return value; }
  static std::string read(const Value& value) { return value.as_string(); }
};

template <>
struct OptionTraits<std::filesystem::path> : ScalarTraits<OptionType::path> {
  static Value write(const std::filesystem::path& value) { return value.string(); }
  static std::filesystem::path read(const Value& value) { return value.as_string(); }
};

/// No default: the key may be absent.
template <class M>
struct OptionTraits<std::optional<M>> {
  static OptionSpec spec() { return OptionTraits<M>::spec(); }
  static Value write(const std::optional<M>& value) { return value ? OptionTraits<M>::write(*value) : Value(); }
  static std::optional<M> read(const Value& value) { return OptionTraits<M>::read(value); }
};

template <class M>
struct OptionTraits<std::vector<M>> {
  static OptionSpec spec() {
    OptionSpec spec;
    spec.type = OptionType::array;
    spec.element.push_back(OptionTraits<M>::spec());
    return spec;
  }
  static Value write(const std::vector<M>& value) {
    Value::Array array;
    for (const M& element : value) array.push_back(OptionTraits<M>::write(element));
    return array;
  }
  static std::vector<M> read(const Value& value) {
    std::vector<M> result;
    for (const Value& element : value.as_array()) result.push_back(OptionTraits<M>::read(element));
    return result;
  }
};

template <class M, std::size_t N>
struct OptionTraits<std::array<M, N>> {
  static OptionSpec spec() {
    OptionSpec spec = OptionTraits<std::vector<M>>::spec();
    spec.length = N;
    return spec;
  }
  static Value write(const std::array<M, N>& value) {
    return OptionTraits<std::vector<M>>::write(std::vector<M>(value.begin(), value.end()));
  }
  static std::array<M, N> read(const Value& value) {
    std::array<M, N> result{};
    for (std::size_t i = 0; i < N; ++i) result[i] = OptionTraits<M>::read(value.as_array().at(i));
    return result;
  }
};

template <Describable M>
struct OptionTraits<M> {
  static OptionSpec spec() {
    const Schema<M> schema = describe<M>();
    OptionSpec spec;
    spec.type = OptionType::table;
    spec.fields = schema.specs();
    spec.component_kind = schema.component_kind();
    return spec;
  }
  static Value write(const M& value) { return write_options(value); }
  static M read(const Value& value) { return read_options<M>(value); }
};

}  // namespace detail

/// Collects the declarations of T's options; see the example at the top.
template <class T>
class Schema {
 public:
  /// One key bound to one member. M: bool, int64_t, double, Count, string, path, a struct that
  /// describes itself (a table), or a vector, array or optional of these.
  template <class M>
  OptionSpec& option(const std::string& name, M T::*member, const std::string& doc) {
    using Traits = detail::OptionTraits<M>;
    OptionSpec& spec = detail::add_option(specs_, Traits::spec(), name, doc);
    spec.default_value = Traits::write(defaults_.*member);
    setters_.push_back([name, member](T& target, const Value& table) {
      if (const Value* value = table.find(name)) target.*member = Traits::read(*value);
    });
    writers_.push_back([name, member](const T& source, Value& table) {
      Value value = Traits::write(source.*member);
      if (!value.is_null()) table.set(name, std::move(value));
    });
    return spec;
  }

  /// A sub-table that chooses a component of `kind` by its `type`: `[head.theta] type = "unet"`.
  OptionSpec& component(const std::string& name, ComponentConfig T::*member, std::string_view kind,
                        const std::string& doc) {
    OptionSpec& spec = detail::add_option(specs_, detail::ScalarTraits<OptionType::table>::spec(), name, doc);
    spec.component_kind = kind;
    setters_.push_back([name, member](T& target, const Value& table) {
      if (const Value* value = table.find(name)) (target.*member) = read_component(*value);
    });
    return spec;
  }

  /// The table of T itself chooses a component of `kind`: its `type` and options stand beside
  /// T's own keys, as in `[[metrics]] type = "ssim"  weight = 0.1`.
  void flatten_component(ComponentConfig T::*member, std::string_view kind) {
    component_kind_ = kind;
    setters_.push_back([member](T& target, const Value& table) { (target.*member) = read_component(table); });
  }

  const OptionSchema& specs() const { return specs_; }
  const std::string& component_kind() const { return component_kind_; }
  void read(T& target, const Value& table) const {
    for (const auto& setter : setters_) setter(target, table);
  }
  void write(const T& source, Value& table) const {
    for (const auto& writer : writers_) writer(source, table);
  }

 private:
  static ComponentConfig read_component(const Value& table) {
    const Value* type = table.find("type");
    return {type ? type->as_string() : std::string(), table};
  }

  T defaults_{};
  OptionSchema specs_;
  std::string component_kind_;
  std::vector<std::function<void(T&, const Value&)>> setters_;
  std::vector<std::function<void(const T&, Value&)>> writers_;
};

template <class T>
Schema<T> describe() {
  Schema<T> schema;
  T::describe(schema);
  return schema;
}

template <class T>
OptionSchema schema_of() {
  return describe<T>().specs();
}

template <class T>
T read_options(const Value& table) {
  T result{};
  describe<T>().read(result, table);
  return result;
}

template <class T>
Value write_options(const T& options) {
  Value table{Value::Table{}};
  describe<T>().write(options, table);
  return table;
}

}  // namespace casdm
