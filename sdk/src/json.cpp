#include <nlohmann/json.hpp>

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

constexpr int kDeepest = 64;

Value from_tree(const Json& tree, int depth = 0) {
  if (depth > kDeepest) throw Error(text("JSON nests deeper than ", kDeepest));
  switch (tree.type()) {
    case Json::value_t::boolean: return tree.get<bool>();
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned: return tree.get<std::int64_t>();
    case Json::value_t::number_float: return tree.get<double>();
    case Json::value_t::string: return tree.get<std::string>();
    case Json::value_t::array: {
      Value::Array array;
      for (const Json& element : tree) array.push_back(from_tree(element, depth + 1));
      return array;
    }
    case Json::value_t::object: {
      Value::Table table;
      for (const auto& [key, member] : tree.items()) table.emplace_back(key, from_tree(member, depth + 1));
      return table;
    }
    default: return {};
  }
}

}  // namespace

std::string to_json(const Value& value, int indent) {
  return to_tree(value).dump(indent, ' ', false, Json::error_handler_t::replace);
}

Value from_json(std::string_view json) {
  try {
    return from_tree(Json::parse(json));
  } catch (const Json::exception& error) {
    throw Error(text("not JSON: ", error.what()));
  }
}

}  // namespace casdm
