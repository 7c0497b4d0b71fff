#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/GeneratorImpl.h>

#include <utility>

namespace casdm::standin {

/// A generator of the device that draws the same numbers as the CPU's.
class DeviceGenerator final : public c10::GeneratorImpl {
 public:
  explicit DeviceGenerator(at::Generator on_cpu);
  const at::Generator& on_cpu() const { return on_cpu_; }

  void set_current_seed(std::uint64_t seed) override { on_cpu_.set_current_seed(seed); }
  void set_offset(std::uint64_t offset) override { offset_ = offset; }
  std::uint64_t get_offset() const override { return offset_; }
  std::uint64_t current_seed() const override { return on_cpu_.current_seed(); }
  std::uint64_t seed() override { return on_cpu_.seed(); }
  void set_state(const c10::TensorImpl& state) override { on_cpu_.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return on_cpu_.unsafeGetGeneratorImpl()->get_state();
  }

 private:
  DeviceGenerator* clone_impl() const override { return new DeviceGenerator(on_cpu_.clone()); }

  mutable at::Generator on_cpu_;
  std::uint64_t offset_ = 0;
};

}  // namespace casdm::standin
