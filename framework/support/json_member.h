#pragma once

#include <string_view>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"

namespace casdm {

/// The member `key` of a table read from a file. Throws Error if there is none.
inline const Value& json_member(const Value& table, std::string_view key) {
  const Value* value = table.find(key);
  if (value == nullptr) throw Error(text("its record has no ", quoted(key)));
  return *value;
}

}  // namespace casdm
