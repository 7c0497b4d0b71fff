#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <torch/csrc/autograd/autograd.h>
#include <unistd.h>

#include "casdm/on_device.h"
#include "casdm/random.h"
#include "cuda/device.h"
#include "framework/device/copy_stream.h"
#include "framework/device/host_copy.h"
#include "framework/distributed/nccl_group.h"
#include "framework/standin/standin.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
using namespace casdm::standin;

namespace {

std::string refusal(const std::function<void()>& use) {
  try {
    use();
    return "";
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
}

/// The signal that ends a child process in which `use` runs; 0: none.
template <class Use>
int signal_of(const Use& use) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGSEGV, SIG_DFL);
    use();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE("the stand-in computes what the CPU does, also backwards and on views") {
  compute_in(Precision::fp32);
  const auto run = [](c10::Device device) {
    const Tensor x = fill(1, {4, 6, 8, 8}).to(device).detach().requires_grad_();
    const Tensor weight = fill(2, {8, 6, 3, 3}).to(device).detach().requires_grad_();
    const Tensor y = at::silu(at::group_norm(at::conv2d(x, weight, {}, 2, 1), 4));
    const Tensor flat = y.flatten(2).transpose(1, 2);
    const Tensor loss = at::matmul(flat, flat.transpose(1, 2)).square().mean() + x.narrow(1, 2, 3).abs().sum();
    const auto grads = torch::autograd::grad({loss}, {x, weight});
    return std::vector<Tensor>{loss.detach().cpu(), grads[0].cpu(), grads[1].cpu()};
  };
  const std::vector<Tensor> cpu = run(c10::Device(c10::kCPU)), device = run(cuda());
  for (std::size_t i = 0; i < cpu.size(); ++i) CHECK(at::equal(cpu[i], device[i]));
}

TEST_CASE("the stand-in writes into existing tensors: in place, through views and into others' memory") {
  Tensor x = at::zeros({4, 4}, at::TensorOptions(cuda()));
  x.narrow(0, 1, 2).add_(1).select(1, 3).mul_(5);
  CHECK(at::equal(x.sum(0).cpu(), at::tensor({2.0f, 2.0f, 2.0f, 10.0f})));
  Tensor out = at::empty({0}, x.options());
  at::add_out(out, x, x);
  CHECK(at::equal(out.cpu(), x.cpu() * 2));
  x.set_(out);
  CHECK(x.data_ptr() == out.data_ptr());
}

TEST_CASE("the stand-in refuses tensors on two devices, except numbers beside elements") {
  const Tensor host = at::ones({3}), device = at::ones({3}, at::TensorOptions(cuda()));
  CHECK(refusal([&] { device + host; }).find("found at least two devices, cuda:0 and cpu") != std::string::npos);
  CHECK(refusal([&] { at::cat({device, host}); }).find("aten::cat") != std::string::npos);
  CHECK(refusal([&] { at::matmul(device, host); }).find("two devices") != std::string::npos);
  CHECK(refusal([&] { device + host[0]; }).empty());
  CHECK(!refusal([&] { at::stack({device[0], host[0]}); }).empty());
}

TEST_CASE("the stand-in refuses another device's generator, a second device, and operators that CUDA lacks") {
  const at::TensorOptions device(cuda());
  CHECK(refusal([&] {
          at::randn({3}, make_generator(1, c10::Device(c10::kCPU)), device);
        }).find("Expected a 'cuda' device type for generator but found 'cpu'") != std::string::npos);
  CHECK(refusal([&] { at::randn({3}, make_generator(1, cuda()), device); }).empty());
  CHECK(!refusal([&] { at::empty({3}, at::TensorOptions(c10::Device(c10::kCUDA, 1))); }).empty());
  // The CPU's part of scaled dot product attention.
  const Tensor q = at::ones({1, 1, 4, 8}, device);
  CHECK(refusal([&] { at::_scaled_dot_product_flash_attention_for_cpu(q, q, q); }).find("'CUDA' backend") !=
        std::string::npos);
}

TEST_CASE("the stand-in refuses what CUDA cannot repeat bit for bit, if run.deterministic asks for that") {
  const Tensor x = fill(1, {1, 1, 8, 8}).to(cuda()).detach().requires_grad_();
  const auto refused = [&](const auto& operation) {
    return refusal([&] { torch::autograd::grad({operation(x).sum()}, {x}); });
  };
  const auto pool = [](const Tensor& input) { return at::adaptive_avg_pool2d(input, {3, 3}); };
  const auto enlarge = [](const Tensor& input) { return at::upsample_bilinear2d(input, {9, 9}, false); };
  const auto replicate = [](const Tensor& input) { return at::replication_pad2d(input, {1, 0, 1, 0}); };
  const auto reflect = [](const Tensor& input) { return at::reflection_pad2d(input, {1, 1, 1, 1}); };
  CHECK(refused(pool).find("deterministic") != std::string::npos);
  CHECK(refused(enlarge).find("deterministic") != std::string::npos);
  CHECK(refused(replicate).find("deterministic") != std::string::npos);
  CHECK(refused(reflect).empty());
  at::globalContext().setDeterministicAlgorithms(false, false);
  CHECK(refused(pool).empty());
  CHECK(refused(replicate).empty());
  at::globalContext().setDeterministicAlgorithms(true, false);
}

TEST_CASE("the stand-in counts launches, waits and their bytes") {
  const Tensor host = at::ones({100});
  const auto used = [](const auto& use) {
    const DeviceUse before = device_use();
    use();
    return device_use() - before;
  };
  Tensor device;
  const DeviceUse pageable = used([&] { device = host.to(cuda()); });
  CHECK(pageable.waits == 1);
  CHECK(pageable.waited_bytes == 400);
  CHECK(pageable.reasons.contains("a copy to the device"));
  const DeviceUse pinned = used([&] { to_device(host, cuda()); });
  CHECK(pinned.waits == 0);
  CHECK(pinned.free_copies == 1);
  const DeviceUse computed = used([&] { (device * 2 + 1).view({10, 10}).sum(); });
  CHECK(computed.launches == 3);
  CHECK(computed.waits == 0);
  CHECK(computed.allocations == 3);
  const DeviceUse read = used([&] { device[3].item<float>(); });
  CHECK(read.items == 1);
  CHECK(read.waits == 1);
  CHECK(used([&] { device.nonzero(); }).waits == 1);
  CHECK(used([&] { device.index({device > 0}); }).waits == 1);
  CHECK(describe_waits(pageable) == "1 waits: 1 x a copy to the device");
}

TEST_CASE(
    "a copy that the host does not wait for has its values once the host has waited for what is queued after it") {
  const Tensor device = at::full({4}, 3.0F, at::TensorOptions(cuda()));
  const auto stream = c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(cuda());
  c10::Event before(c10::kCUDA), after(c10::kCUDA);
  const Tensor host = at::empty({4}, at::TensorOptions(at::kFloat).pinned_memory(true));
  before.record(stream);
  host.copy_(device, /*non_blocking=*/true);
  after.record(stream);
  device.add(1);
  before.synchronize();
  CHECK(host.isnan().all().item<bool>());
  const DeviceUse use = device_use();
  after.synchronize();
  CHECK(at::equal(host, at::full({4}, 3.0F)));
  CHECK((device_use() - use).queued == 1);

  const HostCopy copy(device);
  device.fill_(5);
  CHECK(at::equal(copy.values(), at::full({4}, 3.0F)));
}

TEST_CASE("a copy on another stream has its values for those that wait for it") {
  const c10::impl::VirtualGuardImpl streams(c10::kCUDA);
  const auto aside = streams.getStreamFromGlobalPool(cuda());
  const Tensor host = at::full({4}, 3.0F);
  c10::Event is_made(c10::kCUDA);
  Tensor copy;
  {
    const c10::StreamGuard guard(aside);
    copy = to_device(host, cuda());
    is_made.record(aside);
  }
  const Tensor early = copy.sum();
  is_made.block(streams.getStream(cuda()));
  const Tensor late = copy.sum(), also = CopyStream(cuda()).to_device(host).sum();
  CHECK(early.isnan().item<bool>());
  CHECK(late.item<float>() == 12);
  CHECK(also.item<float>() == 12);
}

TEST_CASE("the host cannot access the stand-in's memory while it is guarded, and kernels can") {
  const Tensor x = at::ones({100}, at::TensorOptions(cuda()));
  const auto read = [&] { (void)*static_cast<volatile const float*>(x.const_data_ptr()); };
  CHECK(signal_of(read) == 0);
  const GuardedDeviceMemory guarded;
  CHECK(signal_of(read) == SIGSEGV);
  CHECK(x.add(1).sum().item<float>() == 200);
}

TEST_CASE("processes on a device that is not NCCL's, or told to, do without NCCL") {
  CHECK(why_no_nccl(cuda()) == "it is not a device of NCCL");
  ::setenv("CASDM_NCCL", "0", /*overwrite=*/1);
  CHECK(why_no_nccl(cuda()) == "CASDM_NCCL is 0");
  ::unsetenv("CASDM_NCCL");
}
