#include "framework/device/nvrtc.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "backbones/networks.h"
#include "casdm/block_kernel.h"
#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/philox.h"
#include "casdm/text.h"
#include "cuda/device.h"
#include "framework/composition/model.h"
#include "framework/loading/libtorch.h"
#include "framework/standin/standin.h"
#include "framework/support/files.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

namespace {

/// CUDA C++ by kernel, in the order in which they were first launched.
std::map<std::string, std::string> launched;

void launch_and_note(const BlockKernel& kernel, const BlockLaunch& launch) {
  launched.emplace(kernel.name, cuda_source(kernel));
  standin::cuda_standin().block_launcher(kernel, launch);
}

/// An element function in a kernel, as LibTorch's just-in-time compiler has it.
std::string kernel_around(const ElementFunction& function, std::size_t inputs, std::size_t numbers) {
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < inputs; ++i) arguments.push_back(text("in[", i, "][at]"));
  for (std::size_t i = 0; i < numbers; ++i) arguments.push_back(text("numbers[", i, "]"));
  return text(function.source, "\nextern \"C\" __global__ void ", kCudaEntry,
              "(const int* const* in, const int* numbers, int* out) {\n"
              "  const int at = blockIdx.x * blockDim.x + threadIdx.x;\n  out[at] = ",
              function.name, "<int>(", join(arguments, ", "), ");\n}\n");
}

Tensor compute_and_note(const ElementFunction& function, const std::vector<Tensor>& inputs,
                        const std::vector<std::int64_t>& numbers) {
  launched.emplace(function.name, kernel_around(function, inputs.size(), numbers.size()));
  return standin::cuda_standin().launcher(function, inputs, numbers);
}

/// The stand-in, which notes what it launches.
const c10::Device selected = [] {
  static casdm_cuda_backend noting = standin::cuda_standin();
  noting.launcher = compute_and_note;
  noting.block_launcher = launch_and_note;
  use_cuda_backend(noting);
  RunOptions run;
  run.device = "cuda";
  return select_device(run).device;
}();

void evaluate_networks() {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const auto network = small_unet("resblock_updown = true\ndropout = 0.3");
    network->train(true);
    move_to(*network, cuda());
    Input input;
    input.x = input.x.to(cuda()).contiguous(at::MemoryFormat::ChannelsLast);
    input.t = input.t.to(cuda());
    input.out_grad = input.out_grad.to(cuda());
    const Autocast autocast(cuda(), precision);
    evaluate(*network, input, with_dropout(5));
  }
}

void draw() {
  const std::vector<std::uint64_t> seeds = {1, 2};
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const Tensor x = at::ones({2, 3, 5, 5}, type).to(cuda());
    normal_like(x, seeds);
    Dropout{seeds}.apply(x, 0.5, 1);
  }
}

void train() {
  for (const std::string precision : {"fp32", "bf16"}) {
    for (const std::string optimizer : {"adamw", "adam"}) {
      const TemporaryFolder folder;
      run(small_experiment(
          folder.path(), "run", cascade_head(),
          on_cuda({"train.total_images=4", "run.precision=" + precision, "optimizer.type=" + optimizer,
                   "head.theta.memory_format=channels_last",
                   text(R"(metrics=[{type="st_lpips", net="alexnet", memory_format="channels_last", precision=")",
                        precision, "\"}]")})));
    }
  }
}

const std::map<std::string, std::string>& all_kernels() {
  if (launched.empty()) {
    evaluate_networks();
    draw();
    train();
  }
  return launched;
}

/// The kernels and element functions that the sources declare.
std::set<std::string> declared() {
  const std::regex kernel("template <int kPhase> void (\\w+)\\(const Block"),
      function("template <typename T> T (\\w+)\\(T ");
  std::set<std::string> result;
  for (const char* folder : {"plugins", "sdk/src"}) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(source_dir() / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".inc" && extension != ".h") continue;
      const std::string source = read_file(entry.path());
      for (const std::regex& form : {kernel, function}) {
        for (std::sregex_iterator found(source.begin(), source.end(), form), end; found != end; ++found) {
          result.insert((*found)[1]);
        }
      }
    }
  }
  return result;
}

/// Where NVRTC is without a GPU: with the wheel of torch, with a toolkit, or where the loader looks.
std::vector<std::string> nvrtc_libraries() {
  std::vector<std::string> result;
  const auto add_from = [&](const fs::path& folder) {
    std::error_code none;
    for (fs::directory_iterator entry(folder, none), end; !none && entry != end; entry.increment(none)) {
      const std::string name = entry->path().filename().string();
      if (name.starts_with("libnvrtc.so")) result.push_back(entry->path().string());
    }
  };
  const fs::path packages = loaded_libtorch().path.parent_path().parent_path().parent_path();
  for (const char* part : {"nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"}) add_from(packages / part);
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* toolkit = std::getenv(variable)) add_from(fs::path(toolkit) / "lib64");
  }
  add_from("/usr/local/cuda/lib64");
  for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}) result.emplace_back(name);
  return result;
}

const Nvrtc* nvrtc() {
  static const std::unique_ptr<const Nvrtc> loaded = []() -> std::unique_ptr<const Nvrtc> {
    try {
      return std::make_unique<Nvrtc>(nvrtc_libraries());
    } catch (const Error& error) {
      std::cerr << "skipped: " << error.what() << '\n';
      return nullptr;
    }
  }();
  return loaded.get();
}

/// "Used 40 registers, 16 bytes smem", of what the assembler says about a kernel.
std::string usage_in(const std::string& log) {
  const std::size_t first = log.find("Used ");
  return first == std::string::npos ? "no word about its registers" : log.substr(first, log.find('\n', first) - first);
}

}  // namespace

c10::Device casdm::testing::cuda() { return selected; }

TEST_CASE("the networks, metrics, optimizers and draws of this test launch every kernel of the sources") {
  all_kernels();
  const std::set<std::string> names = declared();
  CHECK(names.size() >= 9);
  for (const std::string& name : names) {
    const bool has_types = launched.contains(name + "_float");
    CHECK_MESSAGE((has_types || launched.contains(name)), name << " was not launched, so it is not compiled below");
    const bool has_half = launched.contains(name + "_bfloat16") || launched.contains(name + "_BFloat16");
    CHECK_MESSAGE(has_types == has_half, name << " was launched for one type only");
  }
}

TEST_CASE("NVRTC compiles every kernel for the GPUs that are in use, without spilling registers") {
  if (nvrtc() == nullptr) return;
  const std::string version = nvrtc()->version();
  for (const auto& kernel : all_kernels()) {
    const std::string& name = kernel.first;
    for (const auto& [major, minor] : {std::pair(8, 0), std::pair(9, 0), std::pair(10, 0)}) {
      std::vector<std::string> options = cuda_options(major, minor);
      options.emplace_back("--ptxas-options=-v");
      const Nvrtc::Compiled compiled = nvrtc()->compile(name, kernel.second, options);
      CHECK_MESSAGE(compiled.code.starts_with("\x7F"
                                              "ELF"),
                    name);
      CHECK_MESSAGE(compiled.log.find("0 bytes spill stores, 0 bytes spill loads") != std::string::npos,
                    name << ": " << compiled.log);
      MESSAGE(name << ", sm_" << major << minor << ", NVRTC " << version << ": " << usage_in(compiled.log));
    }
  }
}

TEST_CASE("a kernel that is not CUDA is refused with its name and the compiler's message") {
  if (nvrtc() == nullptr) return;
  const BlockKernel wrong{"wrong", "template <int kPhase> void wrong(const Block& b) { b.shared[0] = nothing; }\n"};
  try {
    nvrtc()->compile(wrong.name, cuda_source(wrong), cuda_options(9, 0));
    FAIL("it was compiled");
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK_MESSAGE(message.find("the kernel wrong cannot be compiled (--gpu-architecture=sm_90") != std::string::npos,
                  message);
    CHECK_MESSAGE(message.find("identifier \"nothing\" is undefined") != std::string::npos, message);
  }
}
