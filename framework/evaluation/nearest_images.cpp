#include "framework/evaluation/nearest_images.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "casdm/text.h"
#include "framework/data/image_transform.h"
#include "framework/evaluation/gather.h"
#include "framework/report/html.h"
#include "framework/reporting/image_files.h"
#include "framework/reporting/progress.h"
#include "framework/support/number_format.h"
#include "framework/support/text_table.h"

namespace casdm {

namespace {

constexpr std::int64_t kSeenAtOnce = 64;
constexpr std::int64_t kShownPixels = 128;
constexpr std::int64_t kExactly = 2;  // mode of cdist without matrix products, which lose digits for similar images

struct Neighbour {
  std::int64_t place;  ///< index in the stream
  double distance;
  at::Tensor image = {};
};

/// Finds the nearest images to each of a few, while the others pass by.
class Nearest {
 public:
  Nearest(at::Tensor features, std::size_t each)
      : features_(std::move(features)), found_(static_cast<std::size_t>(features_.size(0))), each_(each) {}

  /// @param own  the index in the stream of each of the few images, so that it is not its own neighbour; empty: they
  ///             are not in it
  void look_at(const at::Tensor& images, const at::Tensor& features, std::int64_t first,
               const std::vector<std::int64_t>& own = {}) {
    const at::Tensor all = at::cdist(features_, features, 2, kExactly);
    const auto distance = all.accessor<double, 2>();
    for (std::size_t i = 0; i < found_.size(); ++i) {
      for (std::int64_t j = 0; j < images.size(0); ++j) {
        if (!own.empty() && own[i] == first + j) continue;
        add(found_[i], {first + j, distance[static_cast<std::int64_t>(i)][j]}, images[j]);
      }
    }
  }

  const std::vector<std::vector<Neighbour>>& found() const { return found_; }

 private:
  void add(std::vector<Neighbour>& nearest, Neighbour other, const at::Tensor& image) const {
    const auto at =
        std::upper_bound(nearest.begin(), nearest.end(), other.distance,
                         [](double distance, const Neighbour& neighbour) { return distance < neighbour.distance; });
    if (at == nearest.end() && nearest.size() == each_) return;
    other.image = image.clone();  // reading it again later could mean reading an archive from its start
    nearest.insert(at, std::move(other));
    if (nearest.size() > each_) nearest.pop_back();
  }

  at::Tensor features_;  ///< double [N, D]
  std::vector<std::vector<Neighbour>> found_;
  std::size_t each_;
};

/// The features as double [B, D], on the CPU.
at::Tensor flat_features(const Judges& judges, std::size_t judge, const at::Tensor& images, std::int64_t first) {
  return judges.features_of(judge, images, first).cpu().to(at::kDouble).flatten(1).contiguous();
}

/// @param chw  uint8, or floating point in [-1, 1]
std::string png_of(const at::Tensor& chw) {
  at::Tensor image = chw.scalar_type() == at::kByte ? chw : to_uint8(chw.unsqueeze(0)).squeeze(0);
  const std::int64_t larger = std::max(image.size(1), image.size(2));
  if (larger > kShownPixels) {
    const auto reduced = [&](std::int64_t size) { return std::max<std::int64_t>(1, size * kShownPixels / larger); };
    image = at::adaptive_avg_pool2d(image.to(at::kFloat), {reduced(image.size(1)), reduced(image.size(2))})
                .round()
                .to(at::kByte);
  }
  return base64(encode_png(to_image(image)));
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

}  // namespace

Value nearest_images(const ImageStream& images, const ImageStream& reference, const Judges& judges,
                     const NearestRequest& request) {
  const at::NoGradGuard no_grad;
  const std::int64_t count = std::min(request.count, images.count);
  const at::Tensor drawn = images.read(0, count);
  const std::vector<std::int64_t> probes = spread(std::min(count, reference.count), reference.count, "", "");
  std::vector<at::Tensor> real;
  for (const std::int64_t place : probes) real.push_back(reference.read(place, 1));

  Nearest of_images(flat_features(judges, request.judge, drawn, 0), NearestRequest::kEach);
  Nearest of_reference(flat_features(judges, request.judge, at::cat(real), 0), 1);
  Progress progress("nearest images", reference.count, "images");
  for (std::int64_t first = 0; first < reference.count; first += kSeenAtOnce) {
    if (request.is_cancelled && request.is_cancelled()) throw EvaluationStopped("interrupted");
    const at::Tensor read = reference.read(first, std::min(kSeenAtOnce, reference.count - first));
    const at::Tensor features = flat_features(judges, request.judge, read, first);
    of_images.look_at(read, features, first);
    of_reference.look_at(read, features, first, probes);
    progress.update(std::min(first + kSeenAtOnce, reference.count));
  }

  Value::Array entries;
  for (std::int64_t i = 0; i < count; ++i) {
    Value::Array nearest;
    for (const Neighbour& neighbour : of_images.found()[static_cast<std::size_t>(i)]) {
      nearest.emplace_back(Value::Table{{"index", request.indices.at(static_cast<std::size_t>(neighbour.place))},
                                        {"distance", neighbour.distance},
                                        {"image", png_of(neighbour.image)}});
    }
    const std::int64_t index = request.own.empty() ? i : request.own.at(static_cast<std::size_t>(i));
    entries.emplace_back(Value::Table{{"index", index}, {"image", png_of(drawn[i])}, {"nearest", std::move(nearest)}});
  }
  std::vector<double> between;
  for (const auto& found : of_reference.found()) {
    if (!found.empty()) between.push_back(found.front().distance);
  }
  const Judge& judge = judges.judges()[request.judge];
  return Value(Value::Table{{"what", "nearest"},
                            {"judge", judge.name},
                            {"feature", judge.feature.name},
                            {"dimension", judge.feature.dimension},
                            {"reference", reference.name},
                            {"reference_num", reference.count},
                            {"between_reference", between.empty() ? Value() : Value(median(std::move(between)))},
                            {"images", std::move(entries)}});
}

std::string nearest_table(const Value& result) {
  const auto word = [&](const char* key) { return result.find(key)->as_string(); };
  std::vector<std::vector<std::string>> rows{
      {"image", "nearest", "distance", "second", "distance", "third", "distance"}};
  for (const Value& image : result.find("images")->as_array()) {
    rows.push_back({text(image.find("index")->as_integer())});
    for (const Value& neighbour : image.find("nearest")->as_array()) {
      rows.back().push_back(text(neighbour.find("index")->as_integer()));
      rows.back().push_back(significant(neighbour.find("distance")->as_number()));
    }
  }
  const Value& between = *result.find("between_reference");
  return text(text_table(rows), "\nnearest of ", word("reference"),
              "'s images, by the Euclidean distance of the feature ", quoted(word("feature")), " of ", word("judge"),
              between.is_null()
                  ? ""
                  : text("; from real images to the nearest other one ", significant(between.as_number()), " (median)"),
              "\n");
}

}  // namespace casdm
