#include <ATen/ATen.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "casdm/metric_loss.h"
#include "casdm/plugin.h"
#include "plugins/meddle.h"

/// Metrics that each violate one clause of the contract, to test the conformance tests.
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

struct Detached {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return l2(a, b).detach(); }
};

struct Rounds {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return l2((a * 127.5).round() / 127.5, b); }
};

struct Single {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return l2(a, b).to(at::kFloat); }
};

struct InPlace {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) {
    Tensor(a.detach()).mul_(0.5);
    return l2(a, b);
  }
};

struct ConsumesTheTarget {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) {
    const Tensor value = l2(a, {b.at(0).clone()});
    Tensor(b.at(0)).mul_(0.5);
    return value;
  }
};

struct ReusesItsResult {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) {
    static Tensor result;
    const Tensor value = l2(a, b);
    if (value.requires_grad() || !result.defined() || !result.sizes().equals(value.sizes())) return result = value;
    return result.copy_(value);
  }
};

struct NeedsSize {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) {
    const Tensor kernel = at::ones({1, 1, 7, 7}, a.options()) / 49;
    const auto blurred = [&](const Tensor& x) { return at::conv2d(x.flatten(0, 1).unsqueeze(1), kernel); };
    return (blurred(a) - blurred(b.at(0))).square().reshape({a.size(0), -1}).mean(1);
  }
};

struct CpuOnly {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) { return l2(a, b) * at::ones({a.size(0)}); }
};

struct Waits {
  static Tensor apply(const Tensor& a, const std::vector<Tensor>& b) {
    return l2(a, b) * (a.detach().abs().max().item<double>() > 0 ? 1 : 2);
  }
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

struct MeddlerOptions {
  std::string change = "none";
  std::string where = "distance";

  static void describe(Schema<MeddlerOptions>& s) {
    s.option("change", &MeddlerOptions::change, "What it changes of the process.").choices(testing::all_changes());
    s.option("where", &MeddlerOptions::where, "In which call.")
        .choices({"constructor", "info", "buffers", "train", "prepare", "distance"});
  }
};

class Meddler final : public MetricLoss {
 public:
  using Options = MeddlerOptions;
  Meddler(const Options& options, const Spec&) : options_(options) { meddle("constructor"); }
  MetricInfo info() const override { return meddle("info"), MetricInfo(); }
  NamedTensors buffers() const override { return meddle("buffers"), NamedTensors(); }
  void train(bool) override { meddle("train"); }
  std::vector<Tensor> prepare(const Tensor& target) override { return meddle("prepare"), std::vector{target}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    const Tensor value = l2(prediction, target);
    return meddle("distance"), value;
  }

 private:
  void meddle(const std::string& where) const {
    if (where == options_.where) testing::meddle(options_.change);
  }

  Options options_;
};

class KeepsItsSpec final : public MetricLoss {
 public:
  using Options = NoOptions;
  KeepsItsSpec(const Options&, const Spec& spec) : spec_(spec) {}
  MetricInfo info() const override { return {}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return l2(prediction, target) * static_cast<double>(spec_.image.channels);
  }

 private:
  const Spec& spec_;
};

/// Scales by what the thread that created it was told.
class PerThread final : public MetricLoss {
 public:
  using Options = NoOptions;
  PerThread(const Options&, const Spec&) { scale_ = 2; }
  MetricInfo info() const override { return {}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return l2(prediction, target) * scale_;
  }

 private:
  static thread_local double scale_;
};

thread_local double PerThread::scale_ = 1;

class WritesAFile final : public MetricLoss {
 public:
  using Options = NoOptions;
  WritesAFile(const Options&, const Spec&) { std::ofstream("cache.bin") << "features"; }
  MetricInfo info() const override { return {}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return l2(prediction, target);
  }
};

class TrainsABuffer final : public MetricLoss {
 public:
  using Options = NoOptions;
  TrainsABuffer(const Options&, const Spec&) { scale_.requires_grad_(true); }
  MetricInfo info() const override { return {}; }
  NamedTensors buffers() const override { return {{"scale", scale_}}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return scale_ * l2(prediction, target);
  }

 private:
  Tensor scale_ = at::full({1}, 2.0);
};

struct HostsKeyOptions {
  double weight = 1;
  static void describe(Schema<HostsKeyOptions>& s) { s.option("weight", &HostsKeyOptions::weight, "Of the metric."); }
};

class HostsKey final : public MetricLoss {
 public:
  using Options = HostsKeyOptions;
  HostsKey(const Options&, const Spec&) {}
  MetricInfo info() const override { return {.lowest = 1, .highest = 0}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return l2(prediction, target);
  }
};

/// Divides by a running mean that is no buffer.
class RemembersInTraining final : public MetricLoss {
 public:
  using Options = NoOptions;
  RemembersInTraining(const Options&, const Spec&) {}
  MetricInfo info() const override { return {}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return l2(prediction, target) / mean_;
  }
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override {
    const Tensor value = distance(prediction, target);
    if (context.is_training) mean_ = 0.5 * mean_ + 0.5 * value.detach().mean().item<double>();
    return value;
  }

 private:
  double mean_ = 1;
};

/// Throws an exception of LibTorch's, which contains a call stack.
class WrongShapes final : public MetricLoss {
 public:
  using Options = NoOptions;
  WrongShapes(const Options&, const Spec&) {}
  MetricInfo info() const override { return {}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>&) override {
    return prediction.flatten(1).matmul(at::ones({2, 3}));
  }
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
  plugin.add<BrokenLoss<Detached>>("detached", "It has lost its gradient.");
  plugin.add<BrokenLoss<Rounds>>("rounds", "Its gradient is 0.");
  plugin.add<BrokenLoss<Single>>("single", "It answers in float32, whatever it is given.");
  plugin.add<BrokenLoss<InPlace>>("in_place", "It changes the prediction.");
  plugin.add<BrokenLoss<ConsumesTheTarget>>("consumes_the_target", "It changes what prepare returned.");
  plugin.add<BrokenLoss<ReusesItsResult>>("reuses_its_result", "Its next call writes to the tensor it returned.");
  plugin.add<BrokenLoss<NeedsSize>>("needs_size", "It needs 7 px and does not say so.");
  plugin.add<BrokenLoss<CpuOnly>>("cpu_only", "It makes a tensor on the CPU, wherever the images are.");
  plugin.add<BrokenLoss<Waits>>("waits", "It reads a number back from the device.");
  plugin.add<PerThread>("per_thread", "It keeps something per thread.");
  plugin.add<Meddler>("meddler", "It changes something of the process.");
  plugin.add<KeepsItsSpec>("keeps_its_spec", "It reads its Spec after the constructor.");
  plugin.add<WritesAFile>("writes_a_file", "It leaves a file behind.");
  plugin.add<TrainsABuffer>("trains_a_buffer", "Its buffer requires gradients.");
  plugin.add<HostsKey>("hosts_key", "It has an option that the host reads, and a range upside down.");
  plugin.add<RemembersInTraining>("remembers_in_training", "What it remembers of a training is no buffer.");
  plugin.add<WrongShapes>("wrong_shapes", "Its matrices do not fit.");
  plugin.add<HandsOutCopies>("hands_out_copies", "Its handles are copies of the tensors that it computes with.");
}

}  // namespace casdm
