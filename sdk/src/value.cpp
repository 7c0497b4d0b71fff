#include "casdm/value.h"

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

std::string to_string(const Location& location) {
  if (location.line == 0) return location.file;
  return text(location.file, ":", location.line, ":", location.column);
}

Value::Value() = default;
Value::Value(bool value) : data_(value) {}
Value::Value(int value) : data_(std::int64_t{value}) {}
Value::Value(std::int64_t value) : data_(value) {}
Value::Value(double value) : data_(value) {}
Value::Value(const char* value) : data_(std::string(value)) {}
Value::Value(std::string value) : data_(std::move(value)) {}
Value::Value(Array value) : data_(std::move(value)) {}
Value::Value(Table value) : data_(std::move(value)) {}
Value::Value(const Value& other) = default;
Value::Value(Value&& other) noexcept = default;
Value& Value::operator=(const Value& other) = default;
Value& Value::operator=(Value&& other) noexcept = default;
Value::~Value() = default;

void Value::set_location(Location location) { location_ = std::move(location); }

bool Value::operator==(const Value& other) const { return data_ == other.data_; }

std::string_view Value::type_name() const {
  constexpr std::string_view names[] = {"nothing", "boolean", "integer", "float", "string", "array", "table"};
  return names[data_.index()];
}

namespace {

[[noreturn]] void wrong_type(const Value& value, std::string_view expected) {
  const std::string place = to_string(value.location());
  throw ConfigError(text(place, place.empty() ? "" : ": ", value.location().key,
                         value.location().key.empty() ? "" : ": ", "expected ", expected, ", got ", value.type_name()));
}

template <class T, class Variant>
auto& held(const Value& value, Variant& data, std::string_view expected) {
  if (auto* found = std::get_if<T>(&data)) return *found;
  wrong_type(value, expected);
}

}  // namespace

bool Value::as_boolean() const { return held<bool>(*this, data_, "a boolean"); }

std::int64_t Value::as_integer() const { return held<std::int64_t>(*this, data_, "an integer"); }

double Value::as_number() const {
  if (is_integer()) return static_cast<double>(std::get<std::int64_t>(data_));
  return held<double>(*this, data_, "a number");
}

const std::string& Value::as_string() const { return held<std::string>(*this, data_, "a string"); }
const Value::Array& Value::as_array() const { return held<Array>(*this, data_, "an array"); }
Value::Array& Value::as_array() { return held<Array>(*this, data_, "an array"); }
const Value::Table& Value::as_table() const { return held<Table>(*this, data_, "a table"); }
Value::Table& Value::as_table() { return held<Table>(*this, data_, "a table"); }

const Value* Value::find(std::string_view key) const {
  const auto* table = std::get_if<Table>(&data_);
  if (table == nullptr) return nullptr;
  const auto found =
      std::find_if(table->begin(), table->end(), [&](const Member& member) { return member.first == key; });
  return found == table->end() ? nullptr : &found->second;
}

Value* Value::find(std::string_view key) { return const_cast<Value*>(std::as_const(*this).find(key)); }

void Value::set(std::string_view key, Value value) {
  if (is_null()) data_ = Table{};
  if (Value* old = find(key)) {
    *old = std::move(value);
  } else {
    as_table().emplace_back(std::string(key), std::move(value));
  }
}

}  // namespace casdm
