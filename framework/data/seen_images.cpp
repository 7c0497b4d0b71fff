#include "framework/data/seen_images.h"

#include <algorithm>
#include <iterator>

#include "casdm/error.h"
#include "casdm/hex.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/loading/plugin_call.h"

namespace casdm {

namespace {

constexpr std::size_t kHashDigits = 16;  // of a hash
constexpr std::int64_t kMostPlaces = std::int64_t{1} << 20;

/// The smallest ones, ascending, without repetitions.
template <class Hash>
std::vector<Hash> smallest(std::vector<Hash> hashes) {
  std::sort(hashes.begin(), hashes.end());
  hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
  hashes.resize(std::min(hashes.size(), SeenImages::kMost));
  return hashes;
}

/// The hashes up to `limit`; empty: all.
std::vector<std::string> up_to(const std::string& limit, const SeenImages& images) {
  const auto end =
      limit.empty() ? images.hashes.end() : std::upper_bound(images.hashes.begin(), images.hashes.end(), limit);
  return {images.hashes.begin(), end};
}

std::vector<std::string> common(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

/// The largest hash up to which both sets are known in full; empty: there is no limit.
std::string common_limit(const SeenImages& a, const SeenImages& b) {
  std::string limit;
  for (const SeenImages* images : {&a, &b}) {
    if (images->hashes.size() < SeenImages::kMost) continue;
    if (limit.empty() || images->hashes.back() < limit) limit = images->hashes.back();
  }
  return limit;
}

}  // namespace

SeenImages seen_images(std::int64_t count, const std::function<std::string(std::int64_t)>& place_of) {
  const std::uint64_t seed = derive_seed(0, "seen images");  // not the hashes by which parts are chosen
  const std::int64_t places = std::min(count, kMostPlaces);
  std::vector<std::uint64_t> hashes;
  for (std::int64_t i = 0; i < places; ++i) {
    const std::string place = place_of(i * count / places);
    if (place.starts_with('/')) hashes.push_back(derive_seed(seed, place));
  }
  SeenImages images;
  for (const std::uint64_t hash : smallest(std::move(hashes))) images.hashes.push_back(hexadecimal(hash));
  return images;
}

SeenImages seen_images(const Dataset& dataset, const DataOptions& options) {
  return call_plugin(options.dataset, [&] {
    return seen_images(dataset.size(), [&](std::int64_t index) { return dataset.describe(index); });
  });
}

SeenImages merged(const SeenImages& a, const SeenImages& b) {
  std::vector<std::string> hashes = a.hashes;
  hashes.insert(hashes.end(), b.hashes.begin(), b.hashes.end());
  return {smallest(std::move(hashes))};
}

Value to_value(const SeenImages& images) { return Value(join(images.hashes, "")); }

SeenImages seen_images_from(const Value& value) {
  if (!value.is_string() || value.as_string().size() % kHashDigits != 0) {
    throw Error("the record of the images that were trained with is not a list of hashes");
  }
  const std::string& all = value.as_string();
  std::vector<std::string> hashes;
  for (std::size_t at = 0; at < all.size(); at += kHashDigits) hashes.push_back(all.substr(at, kHashDigits));
  return {smallest(std::move(hashes))};
}

bool have_common(const SeenImages& a, const SeenImages& b) { return !common(a.hashes, b.hashes).empty(); }

std::string remark_on(const SeenImages& seen, const SeenImages& reference, const std::string& name) {
  const std::string limit = common_limit(seen, reference);
  const std::vector<std::string> trained = up_to(limit, seen), judged = up_to(limit, reference);
  const std::vector<std::string> both = common(trained, judged);
  if (both.empty() || both.size() == trained.size()) return "";
  const std::string images = text(both.size(), " of the ", judged.size());
  return text("the run was trained with ",
              limit.empty() ? text(images, " images of the reference, ", name)
                            : text("images of the reference, ", name, ", ", images, " that were looked up"),
              ": the scores do not say how near it comes to images that it has not seen. Adding, removing or "
              "renaming images can change the parts of a data set");
}

}  // namespace casdm
