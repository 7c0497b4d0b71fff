#pragma once

#include <initializer_list>

#include "casdm/value.h"

namespace casdm {

/// A table of these members, in this order.
inline Value table(std::initializer_list<Value::Member> members) { return {Value::Table(members)}; }

}  // namespace casdm
