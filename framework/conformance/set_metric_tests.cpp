#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <set>

#include "casdm/moments_metric.h"
#include "casdm/random.h"
#include "casdm/safetensors.h"
#include "casdm/set_metric.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance::set_metrics {

namespace {

constexpr std::int64_t kDimension = 8;
constexpr double kRounding = 1e-6;  ///< of sums in double, taken in a different order

using Indices = std::vector<std::int64_t>;

SetMetric::Spec spec_for(const Subject& subject) { return {{"features", kDimension, false}, subject.seed()}; }

std::shared_ptr<SetMetric> metric_of(const Subject& subject) { return subject.make<SetMetric>(spec_for(subject)); }

Indices numbers(std::int64_t first, std::int64_t count) {
  Indices result(static_cast<std::size_t>(count));
  std::iota(result.begin(), result.end(), first);
  return result;
}

/// A set of images, accessible in any order.
class Features {
 public:
  /// @param shift  moves the features, so that the set scores worse
  Features(std::uint64_t seed, std::int64_t count, double shift = 0) {
    at::Generator generator = make_generator(derive_seed(seed, "conformance features"));
    values_ = at::empty({count, kDimension}, at::kFloat).normal_(0, 1, generator);
    values_ = values_ * (1 + 0.5 * shift) + shift;
  }

  std::int64_t size() const { return values_.size(0); }
  FeatureBatch batch(const Indices& images) const { return {values_.index_select(0, at::tensor(images)), images}; }

  /// The state after adding the images `images`, `batch_size` at a time.
  NamedTensors state(const SetMetric& metric, const Indices& images, std::size_t batch_size = 64) const {
    NamedTensors state = metric.start();
    for (std::size_t i = 0; i < images.size(); i += batch_size) {
      const auto first = images.begin() + static_cast<std::ptrdiff_t>(i);
      const auto last = images.begin() + static_cast<std::ptrdiff_t>(std::min(images.size(), i + batch_size));
      metric.update(state, batch(Indices(first, last)));
    }
    return state;
  }
  NamedTensors state(const SetMetric& metric) const { return state(metric, numbers(0, size())); }

 private:
  Tensor values_;
};

/// An image count large enough for the metric under test.
std::int64_t enough(const SetMetric& metric) { return std::max<std::int64_t>(150, metric.info().minimum_images); }

NamedTensors reference_of(const SetMetric& metric, std::int64_t count) {
  return metric.info().needs_reference ? Features(2, count).state(metric) : metric.start();
}

void require_same(const std::vector<Score>& a, const std::vector<Score>& b, const std::string& what) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i].value - b.at(i).value);
    require(difference <= kRounding * std::max(1.0, std::abs(a[i].value)),
            text(what, " ", a[i].name, " is ", number(b[i].value), " instead of ", number(a[i].value)));
  }
}

/// Other metrics compare the same features.
void leaves_features_alone(const Subject& subject) {
  const auto metric = metric_of(subject);
  const Features features(1, 4);
  const FeatureBatch batch = features.batch(numbers(0, 4));
  const Tensor before = batch.features.clone();
  NamedTensors state = metric->start();
  metric->update(state, batch);
  require(at::equal(batch.features, before), "it changed the features it was given; compute with copies");
}

void declares_its_scores(const Subject& subject) {
  const auto metric = metric_of(subject);
  const SetMetricInfo info = metric->info();
  require(!info.scores.empty(), "info() names no score");
  require(info.minimum_images >= 1, text("its smallest set has ", info.minimum_images, " images"));
  require(info.images_kept >= 0, text("it keeps ", info.images_kept, " images"));
  std::set<std::string> names;
  for (const ScoreInfo& score : info.scores) {
    require(!score.name.empty() && names.insert(score.name).second, text("two scores are named '", score.name, "'"));
  }
  const std::int64_t count = info.minimum_images;
  const std::vector<Score> scores =
      metric->compare(Features(1, count, 0.5).state(*metric), reference_of(*metric, count));
  require(scores.size() == info.scores.size(),
          text("it returned ", scores.size(), " scores, declared are ", info.scores.size()));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto& [name, value, error] = scores[i];
    require(name == info.scores[i].name, text("score ", i, " is named ", name, ", declared is ", info.scores[i].name));
    require(std::isfinite(value),
            text(name, " of sets of ", count, " images, the fewest it takes, is ", number(value)));
    require(error.value_or(0) >= 0, text(name, " has the standard error ", number(error.value_or(0))));
    require(error.has_value() == info.scores[i].has_standard_error,
            text(name, error ? " has a standard error that is not declared" : " lacks its standard error"));
    require(!error || (std::isfinite(*error) && *error >= 0), text("the standard error of ", name, " is not sound"));
  }
}

void is_the_same_for_any_order(const Subject& subject) {
  const auto metric = metric_of(subject);
  const std::int64_t count = enough(*metric);
  const Features set(1, count, 0.5);
  const NamedTensors reference = reference_of(*metric, count);
  const std::vector<Score> expected = metric->compare(set.state(*metric), reference);
  Indices turned = numbers(0, count);
  std::reverse(turned.begin(), turned.end());
  std::rotate(turned.begin(), turned.begin() + 7, turned.end());
  require_same(expected, metric->compare(set.state(*metric, turned), reference), "with the images in another order,");
  for (const std::size_t batch : {std::size_t{1}, std::size_t{13}, static_cast<std::size_t>(count)}) {
    require_same(expected, metric->compare(set.state(*metric, numbers(0, count), batch), reference),
                 text("in batches of ", batch, ","));
  }
}

void merges_to_one_pass(const Subject& subject) {
  const auto metric = metric_of(subject);
  const std::int64_t count = enough(*metric);
  const Features set(1, count, 0.5);
  const NamedTensors reference = reference_of(*metric, count);
  const std::vector<Score> expected = metric->compare(set.state(*metric), reference);
  const std::int64_t third = count / 3;
  const std::vector<NamedTensors> parts = {set.state(*metric, numbers(0, third)),
                                           set.state(*metric, numbers(third, third)),
                                           set.state(*metric, numbers(2 * third, count - 2 * third))};
  for (const auto& order : {std::array<std::size_t, 3>{0, 1, 2}, {2, 0, 1}, {1, 2, 0}}) {
    NamedTensors merged = metric->start();
    for (const std::size_t part : order) {
      std::vector<Tensor> before;
      for (const auto& [name, tensor] : parts[part]) before.push_back(tensor.clone());
      metric->merge(merged, parts[part]);
      for (std::size_t i = 0; i < before.size(); ++i) {
        require(at::equal(before[i], parts[part][i].second),
                text("merge changes ", parts[part][i].first, " of the state that is added"));
      }
    }
    require_same(expected, metric->compare(merged, reference), "merged from three states,");
  }
}

/// Once a state keeps as many images as it may, further images do not make it larger.
void keeps_its_memory_bounded(const Subject& subject) {
  const auto metric = metric_of(subject);
  const std::int64_t kept = std::max(enough(*metric), metric->info().images_kept);
  const Features set(1, 2 * kept + 64);
  const auto bytes = [&](std::int64_t images) {
    std::size_t sum = 0;
    for (const auto& [name, tensor] : set.state(*metric, numbers(0, images), 512)) {
      require(tensor.defined() && tensor.is_cpu(), text("tensor ", name, " of the state is not on the CPU"));
      sum += tensor.nbytes();
    }
    return sum;
  };
  const std::size_t full = bytes(kept);
  const std::size_t more = bytes(set.size());
  require(more <= full, text("the state of ", kept, " images has ", full, " bytes, that of ", set.size(), " has ", more,
                             "; keep sums, or the features of at most images_kept images"));
}

void survives_saving(const Subject& subject) {
  const auto metric = metric_of(subject);
  const std::int64_t count = enough(*metric);
  const Features set(1, count, 0.5);
  const NamedTensors reference = reference_of(*metric, count);
  NamedTensors state = set.state(*metric, numbers(0, count / 2));
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "state.safetensors";
  write_safetensors(path, state);
  NamedTensors loaded = read_safetensors(path).tensors;
  NamedTensors again;
  for (const auto& [name, tensor] : state) {
    const auto found =
        std::find_if(loaded.begin(), loaded.end(), [&](const auto& other) { return other.first == name; });
    require(found != loaded.end(), text("tensor ", name, " of the state is not in the file"));
    again.push_back(*found);
  }
  for (NamedTensors* half : {&state, &again}) metric->update(*half, set.batch(numbers(count / 2, count - count / 2)));
  require_same(metric->compare(state, reference), metric->compare(again, reference), "saved, loaded and continued,");
}

/// Compares a set with itself, and with one that is moved and stretched.
void finds_itself_best(const Subject& subject) {
  const auto metric = metric_of(subject);
  const SetMetricInfo info = metric->info();
  if (!info.needs_reference) throw Skip("it needs no reference");
  const std::int64_t count = enough(*metric);
  const NamedTensors reference = Features(2, count).state(*metric);
  const std::vector<Score> itself = metric->compare(Features(2, count).state(*metric), reference);
  const std::vector<Score> other = metric->compare(Features(3, count, 2).state(*metric), reference);
  for (std::size_t i = 0; i < itself.size(); ++i) {
    const bool is_lower = info.scores[i].is_lower_better;
    require(is_lower ? itself[i].value <= other[i].value : itself[i].value >= other[i].value,
            text(itself[i].name, " of a set against itself is ", number(itself[i].value), ", against another set ",
                 number(other[i].value), "; it is declared that ", is_lower ? "lower" : "higher", " is better"));
  }
  require(std::abs(itself.front().value - other.front().value) > 1e-9,
          text(itself.front().name, " is the same for two different sets"));
}

void repeats_itself(const Subject& subject) {
  const auto metric = metric_of(subject);
  const std::int64_t count = enough(*metric);
  const Features set(1, count, 0.5);
  const NamedTensors generated = set.state(*metric);
  const NamedTensors reference = reference_of(*metric, count);
  std::vector<Tensor> before;
  for (const NamedTensors* state : {&generated, &reference}) {
    for (const auto& [name, tensor] : *state) before.push_back(tensor.clone());
  }
  const std::vector<Score> first = metric->compare(generated, reference);
  auto old = before.begin();
  for (const NamedTensors* state : {&generated, &reference}) {
    for (const auto& [name, tensor] : *state) {
      require(at::equal(*old++, tensor),
              text("compare changes ", name, " of the state of the ", state == &reference ? "reference" : "images"));
    }
  }
  Features(4, count, 1).state(*metric);
  require_same(first, metric->compare(generated, reference), "after another set,");
  const auto other = metric_of(subject);
  require_same(first, other->compare(set.state(*other), reference_of(*other, count)), "in another instance,");
}

/// The metric either takes spatial features or refuses them before anything is computed.
void takes_or_refuses_spatial_features(const Subject& subject) {
  const SetMetric::Spec spec{{"spatial", 4, true}, subject.seed()};
  std::shared_ptr<SetMetric> metric;
  try {
    metric = subject.make<SetMetric>(spec);
  } catch (const ConfigError& refusal) {
    throw Skip(text("it refuses spatial features: ", refusal.what()));
  }
  const std::int64_t count = enough(*metric);
  at::Generator generator = make_generator(derive_seed(subject.seed(), "spatial features"));
  const Tensor features = at::empty({count, 4, 2, 2}, at::kFloat).normal_(0, 1, generator);
  NamedTensors state = metric->start();
  metric->update(state, {features, numbers(0, count)});
  for (const Score& score : metric->compare(state, metric->info().needs_reference ? state : metric->start())) {
    require(std::isfinite(score.value), text(score.name, " of spatial features is ", number(score.value)));
  }
}

/// A metric of moments depends only on the moments of a set.
void is_made_of_its_moments(const Subject& subject) {
  const auto metric = metric_of(subject);
  const auto* of_moments = dynamic_cast<const MomentsMetric*>(metric.get());
  if (of_moments == nullptr) throw Skip("it is no MomentsMetric");
  const std::int64_t count = enough(*metric);
  const NamedTensors reference = reference_of(*metric, count);
  const NamedTensors state = Features(1, count, 0.5).state(*metric);
  Moments moments = of_moments->moments(state);
  require(moments.images == count, text("the moments of ", count, " images say they are of ", moments.images));
  const std::vector<Score> expected = metric->compare(state, reference);
  require_same(expected, metric->compare(of_moments->from_moments(moments), reference), "made of its moments,");
  moments.images = 0;
  const NamedTensors of_any = of_moments->from_moments(moments);
  require_same(expected, metric->compare(of_any, reference), "made of its moments without their number,");
}

void call(Caller& caller) {
  const at::NoGradGuard no_grad;
  auto metric = caller.make<SetMetric>(spec_for(caller.subject));
  std::int64_t count = 0;
  caller.run("info", [&] { count = std::max<std::int64_t>(4, metric->info().minimum_images); });
  const Features set(1, count);
  NamedTensors state, other;
  caller.run("start", [&] { state = metric->start(); });
  caller.run("start", [&] { other = metric->start(); });
  caller.run("update", [&] { metric->update(state, set.batch(numbers(0, count / 2))); });
  caller.run("update", [&] { metric->update(other, set.batch(numbers(count / 2, count - count / 2))); });
  caller.run("merge", [&] { metric->merge(state, other); });
  std::vector<Score> scores;
  caller.run("compare", [&] { scores = metric->compare(state, state); });
  for (const Score& score : scores)
    caller.keep(at::tensor({score.value, score.standard_error.value_or(0)}, at::kDouble));
  caller.destroy(metric);
}

}  // namespace

Suite requirements() {
  const auto kind = SetMetric::kind;
  return suite<SetMetric, spec_for>(
      {{kind, "declares_its_scores", false, declares_its_scores},
       {kind, "leaves_features_alone", false, leaves_features_alone},
       {kind, "is_the_same_for_any_order", false, is_the_same_for_any_order},
       {kind, "merges_to_one_pass", false, merges_to_one_pass},
       {kind, "keeps_its_memory_bounded", false, keeps_its_memory_bounded},
       {kind, "survives_saving", false, survives_saving},
       {kind, "finds_itself_best", false, finds_itself_best},
       {kind, "repeats_itself", false, repeats_itself},
       {kind, "is_made_of_its_moments", false, is_made_of_its_moments},
       {kind, "takes_or_refuses_spatial_features", false, takes_or_refuses_spatial_features}},
      call);
}

}  // namespace casdm::conformance::set_metrics
