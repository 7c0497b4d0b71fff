#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "casdm/api.h"

namespace casdm CASDM_API {

/// Where a value was written. `line` and `column` count from 1; 0 means "not from a file".
struct Location {
  std::string file;
  int line = 0;
  int column = 0;
  std::string key;  ///< key path from the root of the experiment: "head.theta.channels"
};

/// "file:line:column", as much of it as is known (the key is left to the message).
std::string to_string(const Location& location);

/// One node of a configuration: a TOML value with the place it came from.
/// A value type: copies are deep and share nothing.
class Value {
 public:
  using Array = std::vector<Value>;
  using Member = std::pair<std::string, Value>;
  using Table = std::vector<Member>;  ///< keys in the order they were written

  // Defined in one place: every plugin would otherwise compile the copies of a variant that holds itself.
  Value();
  Value(bool value);
  Value(int value);
  Value(std::int64_t value);
  Value(double value);
  Value(const char* value);
  Value(std::string value);
  Value(Array value);
  Value(Table value);
  Value(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(const Value& other);
  Value& operator=(Value&& other) noexcept;
  ~Value();

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_boolean() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_floating() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_integer() || is_floating(); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_array() const { return std::holds_alternative<Array>(data_); }
  bool is_table() const { return std::holds_alternative<Table>(data_); }

  /// The usual name of the type held: "boolean", "integer", "float", "string", ...
  std::string_view type_name() const;

  /// Each throws ConfigError (with the location) when another type is held.
  /// `as_number` takes integers too.
  bool as_boolean() const;
  std::int64_t as_integer() const;
  double as_number() const;
  const std::string& as_string() const;
  const Array& as_array() const;
  Array& as_array();
  const Table& as_table() const;
  Table& as_table();

  /// The member `key` of a table, or null when there is none (or this is not a table).
  const Value* find(std::string_view key) const;
  Value* find(std::string_view key);

  /// Sets a member of a table (a null value becomes a table); keeps the order of old keys.
  void set(std::string_view key, Value value);

  const Location& location() const { return location_; }
  void set_location(Location location);

  /// Equal data; locations do not count.
  bool operator==(const Value& other) const;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Table> data_;
  Location location_;
};

/// `value` as a compact JSON text (locations are left out), and back. What JSON has no number for is
/// written as MongoDB's Extended JSON has it: {"$numberDouble":"Infinity"}, "-Infinity", "NaN".
/// Throws Error on text that is not JSON, that nests deeper than 64 or holds a number that does not
/// fit into 64 bits.
std::string to_json(const Value& value, int indent = -1);
Value from_json(std::string_view json);

}  // namespace casdm
