#include <ATen/ATen.h>

#include <algorithm>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <string_view>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/conformance/calls.h"
#include "framework/conformance/conformance.h"
#include "framework/device/device.h"
#include "framework/loading/dependencies.h"
#include "framework/standin/standin.h"
#include "framework/support/exception_message.h"

namespace casdm::conformance {

namespace {

namespace dll = boost::dll;

constexpr double kTolerance = 1e-4;

const standin::Entry& load_standin() {
  const std::filesystem::path path = dll::this_line_location().parent_path() / "libcasdm_standin.so";
  try {
    // Global and never closed, since it registers with the process's LibTorch.
    static const auto* library = new dll::shared_library(path, dll::load_mode::rtld_now | dll::load_mode::rtld_global);
    return *library->get<const standin::Entry*()>("casdm_standin_entry")();
  } catch (const std::exception& error) {
    throw Error(text("the device that stands in for CUDA cannot be loaded: ", explain_load_failure(path, error.what()),
                     ". It is installed with the SDK"));
  }
}

void plainly(const char*, const std::function<void()>& work) { work(); }

void computes_alike_on_the_device(const Subject& subject) {
  const std::vector<Tensor> here = make_every_call(subject, plainly);
  const std::vector<Tensor> there = make_every_call(
      subject,
      [](const char* name, const std::function<void()>& work) {
        try {
          work();
        } catch (const std::exception& error) {
          throw Failure(
              text(name, " fails on the device, with tensors of the CPU it does not: ", exception_message(error)));
        }
      },
      /*keeps_spec=*/true, subject.device().device);
  require(here.size() == there.size(), "it returns another number of tensors on the device");
  for (std::size_t i = 0; i < here.size(); ++i) {
    const Tensor on_cpu = there[i].cpu();
    const double scale = here[i].numel() == 0 ? 1 : std::max(1.0, here[i].abs().max().item<double>());
    require(here[i].sizes() == on_cpu.sizes() &&
                at::allclose(here[i].to(at::kDouble), on_cpu.to(at::kDouble), kTolerance, kTolerance * scale,
                             /*equal_nan=*/true),
            text("result ", i + 1, " of ", here.size(), " is another one on the device than on the CPU"));
  }
}

void never_waits_for_the_device(const Subject& subject) {
  const TestDevice& device = subject.device();
  if (device.waits_in == nullptr) throw Skip("waits are counted on the stand-in alone");
  std::vector<std::string> waits;
  make_every_call(
      subject,
      [&](const char* name, const std::function<void()>& work) {
        // The first time, constants may be copied to the device.
        const std::string_view call = name;
        const bool is_once = call == "the constructor" || call == "the destructor" || call.starts_with("the backward");
        if (!is_once) work();
        const std::string found = device.waits_in(work);
        if (!found.empty()) waits.push_back(text(name, " (", found, ")"));
      },
      /*keeps_spec=*/true, device.device);
  require(waits.empty(), text("the host waits for the device in ", join(waits, "; "),
                              ": item(), nonzero(), comparisons of numbers and copies of pageable memory cost a step "
                              "its overlap; keep values on the device, see casdm/on_device.h"));
}

}  // namespace

TestDevice test_device(const std::string& name) {
  TestDevice result{c10::Device(c10::kCPU)};
  if (name == "cpu") return result;
  if (name == "stand-in") {
    const standin::Entry& entry = load_standin();
    use_cuda_backend(*entry.backend);
    result.waits_in = entry.waits_in;
  }
  casdm::RunOptions run;
  run.device = name == "stand-in" ? "cuda" : name;
  result.device = select_device(run).device;
  return result;
}

std::vector<Test> device_tests() {
  return {{"", "computes_alike_on_the_device", false, computes_alike_on_the_device},
          {"", "never_waits_for_the_device", false, never_waits_for_the_device}};
}

}  // namespace casdm::conformance
