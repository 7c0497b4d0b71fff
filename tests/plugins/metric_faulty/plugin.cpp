#include <ATen/ATen.h>

#include <cmath>
#include <stdexcept>

#include "casdm/log.h"
#include "casdm/metric_loss.h"
#include "casdm/plugin.h"

namespace casdm {

namespace {

struct FaultyOptions {
  std::string fault = "nan";
  std::int64_t after = 0;

  static void describe(Schema<FaultyOptions>& s) {
    s.option("fault", &FaultyOptions::fault, "What goes wrong.")
        .choices({"nan", "nan_gradient", "shape", "throw", "detach", "round", "log"});
    s.option("after", &FaultyOptions::after, "Number of good calls before.").at_least(0);
  }
};

/// L2 until it fails.
class FaultyLoss final : public MetricLoss {
 public:
  using Options = FaultyOptions;
  FaultyLoss(const Options& options, const Spec&) : options_(options) {}

  MetricInfo info() const override { return {}; }

  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    const Tensor good = (prediction - target.at(0)).square().mean({1, 2, 3});
    if (calls_++ < options_.after) return good;
    if (options_.fault == "log") {
      log_.info("call ", calls_, "\x1b[2J");
      log_.warning_once("this metric is a test");
      return good;
    }
    if (options_.fault == "shape") return good.mean();
    if (options_.fault == "throw") throw std::runtime_error("the metric gave up");
    if (options_.fault == "detach") return good.detach();
    if (options_.fault == "round") return good.round();
    if (options_.fault == "nan_gradient") return good + (prediction - prediction).mean({1, 2, 3}).sqrt();
    return good * std::nan("");
  }

 private:
  Options options_;
  std::int64_t calls_ = 0;
  Log log_{"faulty"};
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A metric that fails on request", .licence = "Apache-2.0"});
  plugin.add<FaultyLoss>("faulty", "L2 that turns bad after some calls.");
}

}  // namespace casdm
