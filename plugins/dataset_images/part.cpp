#include "part.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "casdm/error.h"
#include "casdm/random.h"
#include "sdk/arrays/shared_place.h"

namespace casdm::dataset_images {

namespace {

/// All images, sorted by a hash of their keys below the folder that all share.
std::vector<std::int64_t> shuffled(const std::vector<std::string>& keys) {
  const std::size_t place = shared_place(
      std::ssize(keys), [&](std::int64_t i) -> const std::string& { return keys[static_cast<std::size_t>(i)]; });
  std::vector<std::pair<std::uint64_t, std::int64_t>> hashes;
  for (const std::string& key : keys) {
    hashes.emplace_back(derive_seed(0, std::string_view(key).substr(place)), std::ssize(hashes));
  }
  std::sort(hashes.begin(), hashes.end());
  std::vector<std::int64_t> order;
  for (const auto& [hash, index] : hashes) order.push_back(index);
  return order;
}

/// The first `fraction` of `order`. Rounds halves down, and test_fraction rounds them up, so that both fit.
std::vector<std::int64_t> some(std::vector<std::int64_t> order, double fraction) {
  const auto count = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(order.size()) - 0.5));
  order.resize(std::clamp<std::size_t>(count, 1, order.size()));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

std::vector<std::int64_t> chosen(const std::vector<std::string>& keys, const FractionOptions& options) {
  return some(shuffled(keys), options.fraction);
}

std::vector<std::int64_t> chosen(const std::vector<std::string>& keys, const PartOptions& options) {
  std::vector<std::int64_t> order = shuffled(keys);
  const auto tests = static_cast<std::size_t>(std::llround(options.test_fraction * static_cast<double>(order.size())));
  if (options.split == Part::train) order.resize(order.size() - tests);
  if (options.split == Part::test) order.erase(order.begin(), order.end() - static_cast<std::ptrdiff_t>(tests));
  if (order.empty()) {
    throw ConfigError(text("split = \"", to_string(options.split),
                           "\" with test_fraction = ", number(options.test_fraction), " has none of the ", keys.size(),
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
