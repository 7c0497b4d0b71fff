#include "framework/data/fingerprint.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "casdm/hex.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/loading/plugin_call.h"
#include "sdk/arrays/shared_place.h"

namespace casdm {

namespace {

/// The number of images read if labels are used, and if not: each may be a large photo.
constexpr std::int64_t kMostLabels = 64;
constexpr std::int64_t kMostContents = 16;
constexpr std::int64_t kMostNames = std::int64_t{1} << 20;

std::string hash_of_names(const Dataset& dataset, std::int64_t count) {
  const std::int64_t names = std::min(count, kMostNames);
  const auto name_of = [&](std::int64_t i) { return dataset.describe(i * count / names); };
  const std::size_t place = shared_place(names, name_of);
  std::uint64_t hash = 0;
  for (std::int64_t i = 0; i < names; ++i) hash = derive_seed(hash, std::string_view(name_of(i)).substr(place));
  return hexadecimal(hash);
}

std::string_view raw_bytes(const auto& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(numbers[0])};
}

std::string content_of(const Image& image) {
  return hexadecimal(derive_seed(derive_seed(0, raw_bytes(image.pixels)), raw_bytes(image.values)));
}

std::string content_of(const std::map<std::string, ExtraArray>& extras) {
  std::uint64_t hash = 0;
  for (const auto& [name, array] : extras) {
    hash = derive_seed(derive_seed(derive_seed(hash, name), raw_bytes(array.values)), raw_bytes(array.integers));
  }
  return hexadecimal(hash);
}

/// Reads some images, spread evenly, for their content, their extras and, if labels are used, for their labels.
void look_at(const Dataset& dataset, bool uses_labels, DataFingerprint& result) {
  const std::int64_t looks = std::min(result.count, uses_labels ? kMostLabels : kMostContents);
  const bool has_extras = !dataset.extras().empty();
  for (std::int64_t i = 0; i < looks; ++i) {
    std::int64_t label = DataFingerprint::kUnreadable;
    std::string content, extras;
    try {
      const Example example = dataset.get(i * result.count / looks);
      label = example.label;
      content = content_of(example.image);
      extras = content_of(example.extras);
    } catch (const std::exception&) {  // training reports what is wrong with it
    }
    if (uses_labels) result.labels.push_back(label);
    result.content.push_back(std::move(content));
    if (has_extras) result.extras.push_back(std::move(extras));
  }
}

}  // namespace

DataFingerprint fingerprint(const Dataset& dataset, const DataOptions& options) {
  return call_plugin(options.dataset, [&] {
    const std::int64_t count = dataset.size();
    DataFingerprint result{count,
                           dataset.num_classes(),
                           {options.channels, options.image_size, options.image_size},
                           hash_of_names(dataset, count),
                           {},
                           {},
                           {}};
    look_at(dataset, options.use_labels, result);
    return result;
  });
}

}  // namespace casdm
