#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <stdexcept>

#include "casdm/log.h"
#include "casdm/metric_loss.h"
#include "casdm/plugin.h"
#include "casdm/random.h"

namespace casdm {

namespace {

struct FaultyOptions {
  std::string fault = "nan";
  std::int64_t after = 0;
  std::int64_t position = -1;

  static void describe(Schema<FaultyOptions>& s) {
    s.option("fault", &FaultyOptions::fault, "What goes wrong.")
        .choices({"nan", "nan_gradient", "shape", "sparse", "throw", "throw_backward", "kill", "detach", "round", "log",
                  "range", "bounds", "size"});
    s.option("after", &FaultyOptions::after, "Number of good calls before.").at_least(0);
    s.option("position", &FaultyOptions::position,
             "Only where the image at this position of a run of seed 0 is; -1: with any.")
        .at_least(-1);
  }
};

/// L2 until it fails.
class FaultyLoss final : public MetricLoss {
 public:
  using Options = FaultyOptions;
  FaultyLoss(const Options& options, const Spec&) : options_(options) {}

  MetricInfo info() const override {
    MetricInfo info;
    if (options_.fault == "range") info.input_range = {{std::nan(""), 1}};
    if (options_.fault == "bounds") info.lowest = std::nan("");
    if (options_.fault == "size") info.minimum_size = -5;
    return info;
  }

  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override {
    const std::uint64_t seed = derive_seed(0, "image", static_cast<std::uint64_t>(options_.position));
    is_near_ = options_.position < 0 || std::count(context.seeds.begin(), context.seeds.end(), seed) > 0;
    return distance(prediction, target);
  }

  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    const Tensor good = (prediction - target.at(0)).square().mean({1, 2, 3});
    if (calls_++ < options_.after || !is_near_) return good;
    if (options_.fault == "log") {
      log_.info("call ", calls_, "\x1b[2J");
      log_.warning_once("this metric is a test");
      return good;
    }
    if (options_.fault == "shape") return good.mean();
    if (options_.fault == "sparse") return good.to_sparse();
    if (options_.fault == "throw") throw std::runtime_error("the metric gave up");
    if (options_.fault == "throw_backward") {
      good.register_hook([](const Tensor&) { throw std::runtime_error("the metric gave up on its gradient"); });
      return good;
    }
    if (options_.fault == "kill") std::raise(SIGKILL);
    if (options_.fault == "detach") return good.detach();
    if (options_.fault == "round") return good.round();
    if (options_.fault == "nan_gradient") return good + (prediction - prediction).mean({1, 2, 3}).sqrt();
    return good * std::nan("");
  }

 private:
  Options options_;
  std::int64_t calls_ = 0;
  bool is_near_ = true;
  Log log_{"faulty"};
};

struct RememberingOptions {
  std::string fault = "none";

  static void describe(Schema<RememberingOptions>& s) {
    s.option("fault", &RememberingOptions::fault, "What goes wrong.")
        .choices({"none", "nan", "grows", "expanded", "copy", "undeclared", "in_place", "anew", "double", "data",
                  "backward"});
  }
};

/// L2 times one plus a mean of all distances so far.
class RememberingLoss final : public MetricLoss {
 public:
  using Options = RememberingOptions;
  RememberingLoss(const Options& options, const Spec&) : fault_(options.fault) {}

  MetricInfo info() const override {
    MetricInfo info;
    info.has_state = fault_ != "undeclared" && fault_ != "in_place" && fault_ != "double";
    return info;
  }

  NamedTensors buffers() const override {
    return {{"mean", fault_ == "copy" ? mean_.clone() : fault_ == "expanded" ? mean_.expand({4}) : mean_}};
  }

  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    if (fault_ == "in_place") Tensor(target.at(0)).mul_(0);
    if (fault_ == "data") prediction.data().mul_(0.5);
    if (fault_ == "backward") prediction.square().sum().backward({}, /*keep_graph=*/true);
    const Tensor good = (prediction - target.at(0)).square().mean({1, 2, 3});
    if (fault_ == "double") return good.to(at::kDouble);
    const Tensor value = good * (1 + mean_.sum().detach().clone());
    const Tensor now = good.detach().mean().view({1});
    if (fault_ == "grows")
      mean_ = at::cat({mean_, now});
    else if (fault_ == "anew")
      mean_ = 0.9 * mean_ + 0.1 * now;
    else if (fault_ != "in_place")
      mean_.mul_(0.9).add_(now, 0.1);
    if (fault_ == "nan" && ++calls_ == 2) mean_.fill_(std::nan(""));
    return value;
  }

 private:
  std::string fault_;
  Tensor mean_ = at::zeros({1});
  std::int64_t calls_ = 0;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A metric that fails on request", .licence = "Apache-2.0"});
  plugin.add<FaultyLoss>("faulty", "L2 that turns bad after some calls.");
  plugin.add<RememberingLoss>("remembering", "L2 times a mean that it keeps, well or badly.");
}

}  // namespace casdm
