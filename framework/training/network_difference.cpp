#include "framework/training/network_difference.h"

#include <cmath>
#include <vector>

#include "casdm/text.h"

namespace casdm {

namespace {

constexpr double kRounding =
    1e-4;  // tolerance for values that a component computes at creation, between different machines

bool is_alike(const Value& a, const Value& b) {
  if (!a.is_array() || !b.is_array()) return a == b;
  if (a.as_array().size() != b.as_array().size()) return false;
  for (std::size_t i = 0; i < a.as_array().size(); ++i) {
    const Value &one = a.as_array()[i], &other = b.as_array()[i];
    if (!one.is_number() || !other.is_number()) return false;
    if (!(std::abs(one.as_number() - other.as_number()) < kRounding)) return false;
  }
  return true;
}

}  // namespace

std::string difference_of_networks(const Value& then, const Value& now) {
  std::vector<std::string> found;
  for (const auto& [name, was] : then.as_table()) {
    const Value* is = now.find(name);
    if (is != nullptr && !is_alike(was, *is)) found.push_back(name);
  }
  return join(found, ", ");
}

}  // namespace casdm
