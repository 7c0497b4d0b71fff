#include "support/paths.h"
#include "research.h"

namespace casdm::research {
namespace {

struct FlowOptions {
  double t_max = 1;
  static void describe(Schema<FlowOptions>& s) {
    s.option("t_max", &FlowOptions::t_max, "Most noise.").greater_than(0).range(0, 1);
  }
};

class Flow final : public testing::FlowPath {
 public:
  using Options = FlowOptions;
  Flow(const Options& options, const Spec&) : FlowPath(options.t_max) {}
};

class Edm final : public testing::EdmPath {
 public:
  using Options = NoOptions;
  Edm(const Options&, const Spec&) {}
};

/// sigma = exp(N(-1.2, 1.2^2)) (Karras et al. 2022, table 1).
class LogNormalTimes final : public TimestepSampler {
 public:
  using Options = NoOptions;
  LogNormalTimes(const Options&, const Spec& spec) : times_(spec.schedule->range()) {}
  TimestepDraw draw(const std::vector<double>& u) const override {
    const Tensor z = at::special_ndtri(at::tensor(u, at::kDouble).clamp_min(1e-12));
    const Tensor t = (1.2 * z - 1.2).exp().clamp(times_.first, times_.last);
    TimestepDraw draw;
    for (std::int64_t i = 0; i < t.size(0); ++i) draw.t.push_back(t[i].item<double>());
    draw.weight.assign(u.size(), 1);
    return draw;
  }

 private:
  TimeRange times_;
};

/// Broken in the way `fault` says.
struct FaultyPathOptions {
  std::string fault = "rises";
  static void describe(Schema<FaultyPathOptions>& s) {
    s.option("fault", &FaultyPathOptions::fault, "What goes wrong.").choices({"rises", "not_finite", "empty", "float"});
  }
};

class FaultyPath final : public NoiseScheduler {
 public:
  using Options = FaultyPathOptions;
  FaultyPath(const Options& options, const Spec&) : fault_(options.fault) {}
  TimeRange range() const override {
    if (fault_ == "empty") return {.first = 0.5, .last = 0.5, .clean = 0.5};
    return {.first = 1e-3, .last = 1, .clean = 0};
  }
  Tensor alpha(const Tensor& t) const override {
    if (fault_ == "float") return 1 - t.to(at::kFloat);
    return fault_ == "rises" ? t.to(at::kDouble) : 1 - t.to(at::kDouble);
  }
  Tensor sigma(const Tensor& t) const override {
    const Tensor time = t.to(at::kDouble);
    return fault_ == "not_finite" ? 1 / (time - time) : fault_ == "rises" ? 1 - time : time;
  }

 private:
  std::string fault_;
};

}  // namespace

void add_paths(PluginRegistrar& plugin) {
  plugin.add<Flow>("flow", "Rectified flow.");
  plugin.add<Edm>("edm", "EDM's path.");
  plugin.add<FaultyPath>("faulty_path", "A path that breaks its contract.");
  plugin.add<LogNormalTimes>("log_normal", "EDM's noise levels.");
}

}  // namespace casdm::research
