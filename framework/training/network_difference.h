#pragma once

#include <string>

#include "casdm/value.h"

namespace casdm {

/// How `now`, a record of `fixed_networks`, differs from the earlier one `then` in the entries that both have, by name;
/// empty: not at all. Differences that may come from another machine's rounding do not count.
std::string difference_of_networks(const Value& then, const Value& now);

}  // namespace casdm
