#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include "casdm/metric_loss.h"
#include "casdm/philox.h"
#include "casdm/random.h"
#include "casdm/resize.h"
#include "cuda/device.h"
#include "framework/support/exception_message.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::vector<std::uint64_t> seeds(std::int64_t count) {
  std::vector<std::uint64_t> result;
  for (std::int64_t i = 0; i < count; ++i) result.push_back(derive_seed(7, "noise", static_cast<std::uint64_t>(i)));
  return result;
}

/// How often LibTorch finds that the host waits for the device, while this lives.
class Waits : public c10::WarningHandler {
 public:
  Waits() : handler_(this), mode_(state_of_libtorch()) { mode_.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_WARN); }
  ~Waits() { mode_.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED); }
  void process(const c10::Warning& warning) override {
    count_ += warning.msg().find("synchroniz") != std::string::npos;
  }
  int count() const { return count_; }

 private:
  /// The static variable of c10::cuda::warning_state(), in the libraries that are loaded on demand.
  static c10::cuda::WarningState& state_of_libtorch() {
    void* state = ::dlsym(RTLD_DEFAULT, "_ZZN3c104cuda13warning_stateEvE14warning_state_");
    REQUIRE(state != nullptr);
    return *static_cast<c10::cuda::WarningState*>(state);
  }
  c10::WarningUtils::WarningHandlerGuard handler_;
  c10::cuda::WarningState& mode_;
  int count_ = 0;
};

}  // namespace

TEST_CASE("noise has the same bits on CUDA as on the CPU, whatever its type and format") {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const Tensor like = at::empty({5, 3, 17, 9}, type);
    CHECK(at::equal(normal_like(like, seeds(5)), normal_like(like.to(cuda()), seeds(5)).cpu()));
  }
  const Tensor last = at::empty({2, 4, 6, 6}).contiguous(at::MemoryFormat::ChannelsLast);
  CHECK(at::equal(normal_like(last, seeds(2)), normal_like(last.to(cuda()), seeds(2)).cpu()));
}

TEST_CASE("dropout keeps the same elements on CUDA as on the CPU, and passes their gradients") {
  const Dropout dropout{seeds(4)};
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const double p : {0.1, 0.9}) {
      const Tensor x = (fill(3, {4, 6, 5, 7}) + 2).to(type);
      const Tensor y = x.to(cuda()).requires_grad_();
      const Tensor dropped = dropout.apply(y, p, 0x123456789ABCDEF0);
      CHECK(at::equal(dropout.apply(x, p, 0x123456789ABCDEF0), dropped.cpu()));
      const Tensor gradient = torch::autograd::grad({dropped.sum()}, {y})[0];
      CHECK(at::equal(gradient.ne(0), dropped.ne(0)));
    }
  }
}

TEST_CASE("resized images and their gradients are LibTorch's on CUDA, and repeat bit for bit") {
  for (const Interpolation interpolation : {Interpolation::bilinear, Interpolation::bicubic, Interpolation::area}) {
    const Tensor x = fill(4, {3, 2, 32, 32});
    const auto both = [&](const Tensor& images) {
      const Tensor input = images.detach().requires_grad_();
      const Tensor small = resized(input, 12, 20, interpolation);
      return std::pair(small.detach().cpu(), torch::autograd::grad({small.square().sum()}, {input})[0].cpu());
    };
    const auto [cpu, cpu_gradient] = both(x);
    const auto [gpu, gradient] = both(x.to(cuda()));
    CHECK(max_relative_difference(gpu, cpu) < 5e-6);
    CHECK(max_relative_difference(gradient, cpu_gradient) < 5e-6);
    CHECK(at::equal(both(x.to(cuda())).second, gradient));
  }
}

TEST_CASE("SSIM of nearly flat images is exact on CUDA although the networks compute in tf32") {
  RunOptions run;
  run.device = "cuda";
  run.precision = Precision::tf32;
  select_device(run);
  // An edge, and a texture a thousandth of it: variances are small differences of large sums there.
  Tensor clean = at::ones({1, 3, 32, 32}) * at::linspace(-1, 1, 32).sign();
  clean = 0.9 * clean + 0.003 * fill(5, {1, 3, 32, 32});
  const Tensor other = clean + 0.003 * fill(6, {1, 3, 32, 32});
  const auto metric = make<MetricLoss>("ssim", "", {ImageShape::square(3, 32), &factory()});
  const auto distance = [&](const Tensor& a, const Tensor& b) {
    const ExactFloats exact;
    return (*metric)(a, b, MetricContext()).item<double>();
  };
  const double expected = distance(other, clean);
  move_to(*metric, cuda());
  CHECK(distance(other.to(cuda()), clean.to(cuda())) == doctest::Approx(expected).epsilon(1e-4));
  run.precision = Precision::fp32;
  select_device(run);
}

TEST_CASE("a training step of any head waits for the device once") {
  const TemporaryFolder folder;
  const std::string metrics = R"(
[[metrics]]
type = "ssim"
t_range = [0.1, 0.7]
[[metrics]]
type = "st_lpips"
net = "alexnet"
)";
  for (const std::string& head : {cascade_head() + metrics, single_head() + metrics}) {
    const auto waits = [&](const std::string& name, int steps) {
      const LoadedExperiment experiment = small_experiment(
          folder.path(), name, head,
          on_cuda({"train.total_images=" + std::to_string(4 * steps), "log.every_images=1000", "train.accumulate=2",
                   "checkpoint.every_images=1000", "run.precision=bf16", "data.use_labels=true"}));
      const Waits counted;
      run(experiment);
      return counted.count();
    };
    const std::string name = head == single_head() + metrics ? "single" : "cascade";
    const int few = waits(name + "-few", 4);
    CHECK(waits(name + "-more", 14) - few <= 10);
  }
}

TEST_CASE("an operation without a deterministic form is refused in words that say what to set") {
  const Tensor x = fill(1, {2, 3, 8, 8}).to(cuda()).requires_grad_();
  try {
    torch::autograd::grad({at::adaptive_avg_pool2d(x, {3, 3}).sum()}, {x});
    FAIL("nothing was thrown");
  } catch (const std::exception& error) {
    const std::string message = exception_message(error);
    CHECK_MESSAGE(message.find("run.deterministic = false") != std::string::npos, message);
  }
}

TEST_CASE("memory that the card does not have is named with what there is") {
  try {
    at::empty({std::int64_t{1} << 44}, at::TensorOptions(at::kByte).device(cuda()));
    FAIL("nothing was thrown");
  } catch (const std::exception& error) {
    CHECK(is_out_of_memory(error));
    const std::string message = exception_message(error);
    CHECK_MESSAGE(message.find("out of memory") != std::string::npos, message);
    CHECK_MESSAGE(message.ends_with("is free"), message);
  }
}
