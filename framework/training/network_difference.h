#pragma once

#include <string>

#include "casdm/value.h"

namespace casdm {

/// The entries of `networks`, the record of `fixed_networks` of a run with the experiment `before`, that the experiment
/// `now` has, too, with the same options of their components.
Value unchanged_networks(const Value& networks, const Value& before, const Value& now);

/// How `now`, a record of `fixed_networks`, differs from the earlier one `then` in the entries that both have, by name;
/// empty: not at all. Differences that may come from another machine's rounding do not count.
std::string difference_of_networks(const Value& then, const Value& now);

}  // namespace casdm
