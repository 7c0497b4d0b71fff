#include "part.h"

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/random.h"

namespace casdm::dataset_images {

namespace {

/// All images, sorted by a hash of their names.
std::vector<std::int64_t> shuffled(const std::vector<std::string>& names) {
  std::vector<std::pair<std::uint64_t, std::int64_t>> keys;
  for (const std::string& name : names) keys.emplace_back(derive_seed(0, name), std::ssize(keys));
  std::sort(keys.begin(), keys.end());
  std::vector<std::int64_t> order;
  for (const auto& [hash, index] : keys) order.push_back(index);
  return order;
}

std::vector<std::int64_t> some(std::vector<std::int64_t> order, double fraction) {
  const auto count = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(order.size())));
  order.resize(std::clamp<std::size_t>(count, 1, order.size()));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

std::vector<std::int64_t> chosen(const std::vector<std::string>& names, const FractionOptions& options) {
  return some(shuffled(names), options.fraction);
}

std::vector<std::int64_t> chosen(const std::vector<std::string>& names, const PartOptions& options) {
  std::vector<std::int64_t> order = shuffled(names);
  if (options.split == Part::all) return some(std::move(order), options.fraction);
  const auto tests =
      static_cast<std::ptrdiff_t>(std::llround(options.test_fraction * static_cast<double>(order.size())));
  if (options.split == Part::test) {
    order.resize(static_cast<std::size_t>(tests));
  } else {
    order.erase(order.begin(), order.begin() + tests);
  }
  if (order.empty()) {
    throw ConfigError(text("split = \"", to_string(options.split),
                           "\" with test_fraction = ", number(options.test_fraction), " has none of the ", names.size(),
                           " images; expected a test_fraction that leaves some on both sides"));
  }
  return some(std::move(order), options.fraction);
}

bool is_part(const FractionOptions& options) { return options.fraction < 1; }
bool is_part(const PartOptions& options) { return options.fraction < 1 || options.split != Part::all; }

std::string words_for(const FractionOptions& options) { return text("fraction = ", number(options.fraction)); }

std::string words_for(const PartOptions& options) {
  std::vector<std::string> words;
  if (options.split != Part::all) words.push_back(text("split = \"", to_string(options.split), "\""));
  if (options.fraction < 1) words.push_back(words_for(static_cast<const FractionOptions&>(options)));
  return join(words, ", ");
}

}  // namespace casdm::dataset_images
