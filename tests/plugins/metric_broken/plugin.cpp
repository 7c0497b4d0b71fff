#include <ATen/ATen.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "casdm/metric_loss.h"
#include "casdm/plugin.h"

/// Metrics that break one clause of the contract each, for the tests of the conformance kit.
namespace casdm {

namespace {

Tensor l2(const Tensor& prediction, const std::vector<Tensor>& target) {
  return (prediction - target.at(0)).square().mean({1, 2, 3});
}

struct WrongGradient {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return 2 * l2(a, b) - l2(a, b).detach(); }
};

struct NanAtIdentity {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return l2(a, b).sqrt(); }
};

struct GlobalRandom {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) {
    return l2(a, b) + 0 * at::rand({a.size(0)}, a.options());
  }
};

struct WrongShape {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return l2(a, b).mean(); }
};

struct SeesTheBatch {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return l2(a, b) - 0.5 * l2(a, b).mean(); }
};

struct Asymmetric {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return l2(a, b) * a.mean({1, 2, 3}).exp(); }
};

struct Prints {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) {
    std::puts("hello");
    return l2(a, b);
  }
};

struct Crashes {
  static Tensor apply(const Tensor&, const std::vector<Tensor>&) { std::abort(); }
};

struct Hangs {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) {
    std::this_thread::sleep_for(std::chrono::hours(1));
    return l2(a, b);
  }
};

struct ThrowsAnInt {
  static Tensor apply(const Tensor&, const std::vector<Tensor>&) { throw 3; }
};

template <class Formula>
class BrokenLoss final : public MetricLoss {
 public:
  using Options = NoOptions;
  BrokenLoss(const Options&, const Spec&) {}
  MetricInfo info() const override { return {}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return Formula::apply(prediction, target);
  }
};

class HandsOutCopies final : public MetricLoss {
 public:
  using Options = NoOptions;
  HandsOutCopies(const Options&, const Spec&) {}
  MetricInfo info() const override { return {}; }
  NamedTensors buffers() const override { return {{"scale", scale_.clone()}}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return scale_ * l2(prediction, target);
  }

 private:
  Tensor scale_ = at::full({1}, 2.0);
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Metrics that break the contract", .licence = "Apache-2.0"});
  plugin.add<BrokenLoss<WrongGradient>>("wrong_gradient", "Its backward is wrong by a factor of 2.");
  plugin.add<BrokenLoss<NanAtIdentity>>("nan_at_identity", "Its gradient is not finite at identity.");
  plugin.add<BrokenLoss<GlobalRandom>>("global_random", "It draws from the global generator.");
  plugin.add<BrokenLoss<WrongShape>>("wrong_shape", "It returns one number for the whole batch.");
  plugin.add<BrokenLoss<SeesTheBatch>>("sees_the_batch", "An image's distance depends on the others.");
  plugin.add<BrokenLoss<Asymmetric>>("asymmetric", "It is not symmetric, though declared so.");
  plugin.add<BrokenLoss<Prints>>("prints", "It writes to stdout.");
  plugin.add<BrokenLoss<Crashes>>("crashes", "It aborts the process.");
  plugin.add<BrokenLoss<Hangs>>("hangs", "It does not return.");
  plugin.add<BrokenLoss<ThrowsAnInt>>("throws_an_int", "It throws what is no exception.");
  plugin.add<HandsOutCopies>("hands_out_copies", "Its handles are copies of the tensors that it computes with.");
}

}  // namespace casdm
