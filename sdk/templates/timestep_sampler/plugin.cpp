#include <algorithm>
#include <cmath>

#include "casdm/plugin.h"
#include "casdm/timestep_sampler.h"

namespace {

struct TemplateNameOptions {
  double power = 2;
  bool importance = true;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("power", &TemplateNameOptions::power, "How strongly little noise is preferred; 1: not at all.")
        .range(1, 8);
    s.option("importance", &TemplateNameOptions::importance,
             "Weight each image by 1 / (T p(t)), which keeps the objective of uniform timesteps.");
  }
};

/// t = floor(T u^power), so a timestep's share is p(t) = ((t+1) / T)^(1/power) - (t / T)^(1/power). A path without
/// whole timesteps is divided into T equal parts, and t is the middle of one.
class TemplateNameTimesteps : public casdm::TimestepSampler {
 public:
  using Options = TemplateNameOptions;

  TemplateNameTimesteps(const Options& options, const Spec& spec)
      : options_(options), times_(spec.schedule->range()), count_(spec.schedule->num_train_timesteps()) {}

  /// A function of `u` alone, since the host draws the random numbers.
  casdm::TimestepDraw draw(const std::vector<double>& u) const override {
    casdm::TimestepDraw draw;
    for (const double number : u) {
      const auto part = static_cast<std::int64_t>(std::pow(number, options_.power) * static_cast<double>(count_));
      const std::int64_t bin = std::min(part, count_ - 1);
      draw.t.push_back(time(bin));
      draw.weight.push_back(options_.importance ? 1 / (static_cast<double>(count_) * share(bin)) : 1);
    }
    return draw;
  }

 private:
  double time(std::int64_t bin) const {
    if (times_.is_whole) return times_.first + static_cast<double>(bin);
    return times_.first + (times_.last - times_.first) * (static_cast<double>(bin) + 0.5) / static_cast<double>(count_);
  }
  double share(std::int64_t t) const { return below(t + 1) - below(t); }
  double below(std::int64_t t) const {
    return std::pow(static_cast<double>(t) / static_cast<double>(count_), 1 / options_.power);
  }

  Options options_;
  casdm::TimeRange times_;
  std::int64_t count_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Timesteps of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameTimesteps>("template_name", "Little noise more often than much.");
}
