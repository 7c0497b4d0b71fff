#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"

namespace casdm {

namespace {

using Json = nlohmann::ordered_json;

Json to_tree(const Value& value) {
  if (value.is_boolean()) return value.as_boolean();
  if (value.is_integer()) return value.as_integer();
  if (value.is_floating()) return value.as_number();
  if (value.is_string()) return value.as_string();
  if (value.is_array()) {
    Json array = Json::array();
    for (const Value& element : value.as_array()) array.push_back(to_tree(element));
    return array;
  }
  if (value.is_table()) {
    Json object = Json::object();
    for (const auto& [key, member] : value.as_table()) object[key] = to_tree(member);
    return object;
  }
  return nullptr;
}

constexpr std::size_t kDeepest = 64;

/// Builds a Value while the text is read, without a tree of the parser's own between them: the notes
/// of many plugins are read at each start. Throws Error on what a Value cannot hold.
class ValueBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit ValueBuilder(Value& root) : root_(root) {}

  bool null() override { return add({}); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(std::int64_t value) override { return add(value); }
  bool number_unsigned(std::uint64_t value) override {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      throw Error(text("not JSON that can be used: ", value, " does not fit into 64 bits with a sign"));
    }
    return add(static_cast<std::int64_t>(value));
  }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Value::Table{}); }
  bool key(std::string& name) override {
    keys_.back() = std::move(name);
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Value::Array{}); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    throw Error(text("not JSON: ", error.what()));
  }

 private:
  /// Puts `value` where the text is; the place stays valid until its parent gets another member.
  Value& place(Value value) {
    if (open_.empty()) return root_ = std::move(value);
    Value& parent = *open_.back();
    if (parent.is_array()) return parent.as_array().emplace_back(std::move(value));
    if (Value* old = parent.find(keys_.back())) return *old = std::move(value);
    return parent.as_table().emplace_back(std::move(keys_.back()), std::move(value)).second;
  }

  bool add(Value value) {
    place(std::move(value));
    return true;
  }

  bool open(Value container) {
    if (open_.size() >= kDeepest) throw Error(text("JSON nests deeper than ", kDeepest));
    open_.push_back(&place(std::move(container)));
    keys_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  Value& root_;
  std::vector<Value*> open_;
  std::vector<std::string> keys_;  ///< of each open container, the key that is read
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
