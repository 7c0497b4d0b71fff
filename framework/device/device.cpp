#include "framework/device/device.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/cpu/Utils.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "casdm/block_kernel.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/device/cuda_backend.h"
#include "framework/device/device_graph.h"
#include "framework/distributed/process_place.h"
#include "framework/loading/dependencies.h"

namespace casdm {

namespace {

namespace dll = boost::dll;

constexpr int kFirstWithBf16 = 8;  ///< compute capability; of tf32, too

/// The argument of use_cuda_backend.
const casdm_cuda_backend* g_backend = nullptr;

/// The backend given to use_cuda_backend, or else that of libcasdm_cuda.so beside this library; null, with the reason,
/// if it cannot be loaded.
const casdm_cuda_backend* load_backend(std::string& reason) {
  if (g_backend != nullptr) return g_backend;
  const std::filesystem::path path = dll::this_line_location().parent_path() / "libcasdm_cuda.so";
  if (!std::filesystem::exists(path)) {
    reason = text(path.string(), " is missing: this casdm was built without CUDA");
    return nullptr;
  }
  try {
    // Global, as Python loads it: the kernels of libtorch_cuda register with the libtorch that is already loaded.
    static const auto* library = new dll::shared_library(path, dll::load_mode::rtld_now | dll::load_mode::rtld_global);
    return library->get<const casdm_cuda_backend*()>("casdm_cuda_backend_entry")();
  } catch (const std::exception& error) {
    reason = text("the CUDA libraries cannot be loaded (", explain_load_failure(path, error.what()),
                  "); run `tools/setup.sh --cuda`");
    return nullptr;
  }
}

/// Whether there is an NVIDIA driver, on Linux or under WSL, or a device that imitates CUDA.
bool has_driver() {
  if (g_backend != nullptr) return true;
  const auto exists = [](const char* path) { return std::filesystem::exists(path); };
  return exists("/proc/driver/nvidia/version") || exists("/dev/nvidiactl") || exists("/dev/dxg");
}

/// "13.0" for 13000.
std::string cuda_version(int number) { return text(number / 1000, '.', number % 1000 / 10); }

/// Why there is no CUDA device; empty: `backend` has one.
std::string why_none(const casdm_cuda_backend* backend, const std::string& failure) {
  if (backend == nullptr) return failure;
  if (backend->size != sizeof(casdm_cuda_backend)) return "libcasdm_cuda.so belongs to another build of casdm";
  if (!at::globalContext().hasCUDA()) {
    return "LibTorch computed on the CPU before its CUDA libraries were loaded, so this process can no longer load "
           "them";
  }
  if (backend->device_count() > 0) return "";
  if (!has_driver()) return "there is no NVIDIA driver on this machine";
  const casdm_cuda_versions versions = backend->versions();
  if (versions.driver / 1000 >= versions.libraries / 1000) return "the driver offers no device";
  return text("the driver serves CUDA ", cuda_version(versions.driver),
              " at most, and LibTorch's libraries are of CUDA ", cuda_version(versions.libraries),
              ": a newer driver is needed");
}

constexpr const char* kCuda = "cuda";

/// The index of the device called `name` ("auto", "cuda", "cuda:1") among `count`.
c10::DeviceIndex index_of(const std::string& name, int count) {
  const bool is_named = name.find(':') != std::string::npos;
  if (!is_named && count == 1) return 0;
  const std::string digits = is_named ? name.substr(name.find(':') + 1) : std::to_string(process_place().local_rank);
  int index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  const bool is_number = error == std::errc() && end == digits.data() + digits.size() && index >= 0;
  if (is_number && index < count) return static_cast<c10::DeviceIndex>(index);
  const std::string origin =
      is_named ? text("run.device = ", quoted(name)) : "process " + digits + " of this machine (LOCAL_RANK)";
  throw ConfigError(text(origin, ": this machine has ", count, count == 1 ? " CUDA device" : " CUDA devices",
                         ", expected ", is_named ? "cuda:0" : "0", count == 1 ? "" : text(" to ", count - 1)));
}

void set_float_precision(at::Float32Precision precision) {
  for (const at::Float32Op op : {at::Float32Op::CONV, at::Float32Op::MATMUL}) {
    at::globalContext().setFloat32Precision(at::Float32Backend::CUDA, op, precision);
  }
}

/// Either repeatable results or the fastest ones.
void set_determinism(bool is_deterministic) {
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(is_deterministic, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);  // no code reads uninitialised memory
  context.setDeterministicCuDNN(is_deterministic);
  context.setBenchmarkCuDNN(!is_deterministic);
}

std::string name_of(const casdm_cuda_device& device, c10::DeviceIndex index) {
  constexpr double kGiB = 1 << 30;
  return text("cuda:", static_cast<int>(index), ", ", device.name, " (", device.major, '.', device.minor, ", ",
              std::lround(static_cast<double>(device.memory) / kGiB), " GiB), CUDA ", cuda_version(device.driver));
}

/// How a run computes there.
std::string describe(const casdm_cuda_device& device, const RunOptions& run) {
  std::string result(to_string(run.precision));
  const bool is_old = device.major < kFirstWithBf16;
  if (run.precision == Precision::fp32 && !is_old) result += " (tf32 and bf16 are several times as fast)";
  if (run.precision == Precision::bf16 && is_old) result += ", which this card only imitates (fp16 is fast there)";
  if (run.precision == Precision::tf32 && is_old) result += ", which on this card is fp32";
  return text(result, run.deterministic ? ", deterministic" : ", not deterministic");
}

}  // namespace

void use_cuda_backend(const casdm_cuda_backend& backend) { g_backend = &backend; }

SelectedDevice select_device(const RunOptions& run) {
  SelectedDevice cpu{c10::Device(c10::kCPU), "cpu", "cpu"};
  const bool is_auto = run.device == "auto";
  if (run.device == "cpu" || (is_auto && !has_driver())) return cpu;
  if (!is_auto && !run.device.starts_with(kCuda)) {
    throw ConfigError(text("run.device: expected \"auto\", \"cpu\", \"cuda\" or \"cuda:1\", got ", quoted(run.device)));
  }
  // cuBLAS reads it when it is loaded. With its default workspaces, the order of summation in a kernel may vary.
  if (run.deterministic) ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  std::string failure;
  const casdm_cuda_backend* backend = load_backend(failure);
  const std::string reason = why_none(backend, failure);
  if (!reason.empty() && is_auto) {
    cpu.name = cpu.description = text("cpu, although there is an NVIDIA driver: ", reason);
    return cpu;
  }
  if (!reason.empty()) {
    throw Error(text("run.device = ", quoted(run.device), ": no CUDA device can be used: ", reason,
                     ". Use run.device = \"cpu\" or \"auto\" to train on the CPU"));
  }
  const c10::DeviceIndex index = index_of(run.device, backend->device_count());
  const c10::Device device(c10::kCUDA, index);
  at::globalContext().lazyInitDevice(c10::kCUDA);
  c10::impl::VirtualGuardImpl(c10::kCUDA).setDevice(device);
  // If networks run in half precision, TF32 loses nothing; it then applies only to the gradients of metrics.
  set_float_precision(run.precision == Precision::fp32 ? at::Float32Precision::IEEE : at::Float32Precision::TF32);
  set_determinism(run.deterministic);
  set_element_launcher(c10::kCUDA, backend->launcher);
  set_block_launcher(c10::kCUDA, backend->block_launcher);
  const casdm_cuda_device card = backend->device(index);
  const std::string name = name_of(card, index);
  return {device, name, text(name, "; ", describe(card, run))};
}

std::string device_identity(c10::Device device) {
  if (device.is_cpu()) return device.str();
  std::string ignored;
  const casdm_cuda_device properties = load_backend(ignored)->device(device.index());
  std::string result;
  for (const unsigned char byte : properties.uuid) result += text(int{byte}, '.');
  const bool has_uuid = std::any_of(std::begin(properties.uuid), std::end(properties.uuid), [](auto b) { return b; });
  return has_uuid ? result : device.str();
}

bool has_bf16_products(c10::Device device) {
  std::string ignored;
  if (!device.is_cpu()) return load_backend(ignored)->device(device.index()).major >= kFirstWithBf16;
  const auto capabilities = at::cpu::get_cpu_capabilities();
  return std::any_of(capabilities.begin(), capabilities.end(), [](const auto& capability) {
    return capability.first.find("bf16") != std::string::npos && capability.second.isBool() &&
           capability.second.toBool();
  });
}

DeviceStreams device_streams(c10::Device device) {
  if (device.is_cpu()) return {nullptr, nullptr};
  std::string ignored;
  const casdm_cuda_backend* backend = load_backend(ignored);
  return {backend->current_stream, backend->is_idle};
}

std::int64_t peak_memory(c10::Device device) {
  std::string ignored;
  return device.is_cpu() ? 0 : load_backend(ignored)->device(device.index()).peak_memory;
}

std::unique_ptr<DeviceGraph> record_graph(c10::Device device, const std::function<void()>& work) {
  std::string ignored;
  const c10::impl::VirtualGuardImpl guard(device.type());
  guard.setDevice(device);
  return load_backend(ignored)->graph_recorder(work);
}

ExactFloats::ExactFloats()
    : had_tf32_(at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
                at::Float32Precision::TF32) {
  if (had_tf32_) set_float_precision(at::Float32Precision::IEEE);
}

ExactFloats::~ExactFloats() {
  if (had_tf32_) set_float_precision(at::Float32Precision::TF32);
}

void require_precision(c10::Device device, Precision precision) {
  if (precision == Precision::fp16 && device.is_cpu()) {
    throw ConfigError("run.precision: fp16 is for CUDA; use \"bf16\" or \"fp32\" on the CPU");
  }
}

Autocast::Autocast(c10::Device device, Precision precision) : type_(device.type()), is_active_(is_half(precision)) {
  if (!is_active_) return;
  require_precision(device, precision);
  at::autocast::set_autocast_dtype(type_, precision == Precision::fp16 ? at::kHalf : at::kBFloat16);
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
