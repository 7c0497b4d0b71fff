#include "framework/device/device.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>

#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <filesystem>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/device/cuda_backend.h"
#include "framework/loading/dependencies.h"

namespace casdm {

namespace {

namespace dll = boost::dll;

/// Loads libcasdm_cuda.so from beside this library; null, with the reason, when it cannot be.
const casdm_cuda_backend* load_backend(std::string& reason) {
  const std::filesystem::path path = dll::this_line_location().parent_path() / "libcasdm_cuda.so";
  if (!std::filesystem::exists(path)) {
    reason = text(path.string(), " is missing: this build is without CUDA");
    return nullptr;
  }
  try {
    // Global, as Python loads it: the kernels of libtorch_cuda register with the libtorch already here.
    static const auto* library = new dll::shared_library(path, dll::load_mode::rtld_now | dll::load_mode::rtld_global);
    return library->get<const casdm_cuda_backend*()>("casdm_cuda_backend_entry")();
  } catch (const std::exception& error) {
    reason = text("the CUDA libraries cannot be loaded (", explain_load_failure(path, error.what()),
                  "); run `tools/setup.sh --cuda`");
    return nullptr;
  }
}

/// A driver of NVIDIA's, on Linux or below Windows.
bool has_driver() {
  const auto exists = [](const char* path) { return std::filesystem::exists(path); };
  return exists("/proc/driver/nvidia/version") || exists("/dev/nvidiactl") || exists("/dev/dxg");
}

/// Why there is no CUDA device; empty: `backend` offers one.
std::string why_none(const casdm_cuda_backend* backend, const std::string& failure) {
  if (backend == nullptr) return failure;
  if (backend->size < sizeof(casdm_cuda_backend)) return "libcasdm_cuda.so is of another build of casdm";
  if (!at::globalContext().hasCUDA()) {
    return "LibTorch computed on the CPU before its CUDA libraries were loaded, which closes them to this process";
  }
  if (backend->device_count() > 0) return "";
  return has_driver() ? "the driver offers no device" : "there is no NVIDIA driver on this machine";
}

}  // namespace

SelectedDevice describe_selection(const std::string& name) {
  const SelectedDevice cpu{c10::Device(c10::kCPU), "cpu"};
  if (name == "cpu" || (name == "auto" && !has_driver())) return cpu;
  std::string failure;
  const casdm_cuda_backend* backend = load_backend(failure);
  const std::string reason = why_none(backend, failure);
  if (reason.empty()) {
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setDeterministicCuDNN(true);
    return {c10::Device(c10::kCUDA, 0), text("cuda:0, ", backend->device_name(0))};
  }
  if (name == "auto") return {cpu.device, text("cpu, although there is an NVIDIA driver: ", reason)};
  throw Error(text("run.device = \"cuda\": no CUDA device can be used: ", reason,
                   ". Use run.device = \"cpu\" or \"auto\" to train on the CPU"));
}

c10::Device select_device(const std::string& name) { return describe_selection(name).device; }

void require_precision(c10::Device device, const std::string& precision) {
  if (precision == "fp16" && device.is_cpu()) {
    throw ConfigError("run.precision: fp16 is for CUDA; use \"bf16\" or \"fp32\" on the CPU");
  }
}

Autocast::Autocast(c10::Device device, const std::string& precision)
    : type_(device.type()), is_active_(precision != "fp32") {
  if (!is_active_) return;
  require_precision(device, precision);
  at::autocast::set_autocast_dtype(type_, precision == "fp16" ? at::kHalf : at::kBFloat16);
  at::autocast::set_autocast_enabled(type_, true);
  was_caching_ = at::autocast::is_autocast_cache_enabled();
  at::autocast::set_autocast_cache_enabled(false);
}

Autocast::~Autocast() {
  if (!is_active_) return;
  at::autocast::set_autocast_cache_enabled(was_caching_);
  at::autocast::set_autocast_enabled(type_, false);
}

}  // namespace casdm
