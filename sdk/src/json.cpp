#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "json_problem.h"

namespace casdm {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNumberKey = "$numberDouble";
constexpr std::pair<const char*, double> kNotFinite[] = {{"Infinity", std::numeric_limits<double>::infinity()},
                                                         {"-Infinity", -std::numeric_limits<double>::infinity()},
                                                         {"NaN", std::numeric_limits<double>::quiet_NaN()}};

Json number_tree(double value) {
  if (std::isfinite(value)) return value;
  const char* name = std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  return Json::object({{kNumberKey, name}});
}

/// The number that `table`, read from JSON, stands for; null if it is an ordinary table.
const double* number_in(const Value& table) {
  const Value::Table& members = table.as_table();
  if (members.size() != 1 || members.front().first != kNumberKey || !members.front().second.is_string()) return nullptr;
  for (const auto& [name, value] : kNotFinite) {
    if (members.front().second.as_string() == name) return &value;
  }
  return nullptr;
}

Json to_tree(const Value& value) {
  if (value.is_boolean()) return value.as_boolean();
  if (value.is_integer()) return value.as_integer();
  if (value.is_floating()) return number_tree(value.as_number());
  if (value.is_string()) return value.as_string();
  if (value.is_array()) {
    Json array = Json::array();
    for (const Value& element : value.as_array()) array.push_back(to_tree(element));
    return array;
  }
  if (value.is_table()) {
    // Uses the list behind an ordered object, whose own method for adding a member compares all keys before it.
    Json object = Json::object();
    auto& members = static_cast<std::vector<Json::object_t::value_type>&>(object.get_ref<Json::object_t&>());
    for (const auto& [key, member] : value.as_table()) members.emplace_back(key, to_tree(member));
    return object;
  }
  return nullptr;
}

constexpr std::size_t kDeepest = 64;
constexpr std::size_t kMostCompared = 32;

/// Builds a Value while the text is parsed, without the parser's own tree in between: the notes of many plugins are
/// read at every start. Throws Error for anything that a Value cannot represent.
class ValueBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit ValueBuilder(Value& root) : root_(root) {}

  bool null() override { return add({}); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(std::int64_t value) override { return add(value); }
  bool number_unsigned(std::uint64_t value) override {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      throw Error(text("unusable JSON: ", value, " does not fit into 64 bits with a sign"));
    }
    return add(static_cast<std::int64_t>(value));
  }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Value::Table{}); }
  bool key(std::string& name) override {
    open_.back().key = std::move(name);
    return true;
  }
  bool end_object() override {
    Value& table = *open_.back().container;
    if (const double* number = number_in(table)) table = *number;
    return close();
  }
  bool start_array(std::size_t) override { return open(Value::Array{}); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    throw Error(text("not JSON: ", quoted(json_problem(error), 200)));
  }

 private:
  struct Open {
    Value* container;
    std::string key = {};                                      ///< for a table: the key of the current member
    std::unordered_map<std::string, std::size_t> places = {};  ///< for a large table: the index of each key
  };

  /// Adds `value` at the current position; the reference stays valid until its parent gets another member.
  Value& place(Value value) {
    if (open_.empty()) return root_ = std::move(value);
    Open& parent = open_.back();
    if (parent.container->is_array()) return parent.container->as_array().emplace_back(std::move(value));
    if (Value* old = member(parent)) return *old = std::move(value);
    return parent.container->as_table().emplace_back(std::move(parent.key), std::move(value)).second;
  }

  /// The existing member of `table` with the current key: a few keys are compared, many are looked up.
  static Value* member(Open& table) {
    Value::Table& members = table.container->as_table();
    if (members.size() < kMostCompared) return table.container->find(table.key);
    for (std::size_t i = table.places.size(); i < members.size(); ++i) table.places.emplace(members[i].first, i);
    const auto found = table.places.find(table.key);
    return found == table.places.end() ? nullptr : &members[found->second].second;
  }

  bool add(Value value) {
    place(std::move(value));
    return true;
  }

  bool open(Value container) {
    if (open_.size() >= kDeepest) throw Error(text("JSON nests deeper than ", kDeepest));
    open_.push_back({&place(std::move(container))});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  Value& root_;
  std::vector<Open> open_;
};

}  // namespace

std::string to_json(const Value& value, int indent) {
  return to_tree(value).dump(indent, ' ', false, Json::error_handler_t::replace);
}

Value from_json(std::string_view json) {
  Value result;
  ValueBuilder builder(result);
  Json::sax_parse(json, &builder);
  return result;
}

}  // namespace casdm
