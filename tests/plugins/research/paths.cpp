#include "research.h"

namespace casdm::research {
namespace {

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

void add_paths(PluginRegistrar& plugin) { plugin.add<FaultyPath>("faulty_path", "A path that breaks its contract."); }

}  // namespace casdm::research
