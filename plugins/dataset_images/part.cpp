#include "part.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "casdm/error.h"
#include "casdm/random.h"
#include "sdk/arrays/shared_place.h"

namespace casdm::dataset_images {

namespace {

/// Hashes of the images' names, ascending, each with the index of its image.
using Hashes = std::vector<std::pair<std::uint64_t, std::int64_t>>;

/// @param name_of  the part of a key that counts
template <class NameOf>
Hashes hashes_of(const std::vector<std::string>& keys, const NameOf& name_of) {
  Hashes hashes;
  for (const std::string& key : keys) hashes.emplace_back(derive_seed(0, name_of(key)), std::ssize(hashes));
  std::sort(hashes.begin(), hashes.end());
  return hashes;
}

bool has_equal(const Hashes& hashes) {
  const auto is_equal = [](const auto& a, const auto& b) { return a.first == b.first; };
  return std::adjacent_find(hashes.begin(), hashes.end(), is_equal) != hashes.end();
}

/// All images, sorted by a hash of their file names, which stay the same if images are added in another folder; if two
/// images have one name, by a hash of their keys below the folder that all share.
std::vector<std::int64_t> shuffled(const std::vector<std::string>& keys) {
  Hashes hashes = hashes_of(keys, [](std::string_view key) { return key.substr(key.find_last_of(kPlaceEndings) + 1); });
  if (has_equal(hashes)) {
    const std::size_t place = shared_place(
        std::ssize(keys), [&](std::int64_t i) -> const std::string& { return keys[static_cast<std::size_t>(i)]; });
    hashes = hashes_of(keys, [place](std::string_view key) { return key.substr(place); });
  }
  std::vector<std::int64_t> order;
  for (const auto& [hash, index] : hashes) order.push_back(index);
  return order;
}

/// The first `fraction` of `order`. Rounds halves down, also where the product lies above one by rounding, and
/// test_fraction rounds them up, so that both fit.
std::vector<std::int64_t> some(std::vector<std::int64_t> order, double fraction) {
  constexpr double kRounding = 1e-9;  // relative
  const double share = fraction * static_cast<double>(order.size());
  const auto count = static_cast<std::size_t>(std::ceil(share * (1 - kRounding) - 0.5));
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
