#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <doctest/doctest.h>

#include "cuda/device.h"
#include "framework/support/exception_message.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Counts how often LibTorch finds that the host waits for the device, while this object lives.
class Waits : public c10::WarningHandler {
 public:
  Waits() : handler_(this), mode_(state_of_libtorch()) { mode_.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_WARN); }
  ~Waits() { mode_.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED); }
  void process(const c10::Warning& warning) override {
    count_ += warning.msg().find("synchroniz") != std::string::npos;
  }
  int count() const { return count_; }

 private:
  /// The static variable in c10::cuda::warning_state(), in the libraries that are loaded on demand.
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

TEST_CASE("a training step of any head waits for the device only once") {
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

TEST_CASE("when the GPU runs out of memory, the message says how much it has") {
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
