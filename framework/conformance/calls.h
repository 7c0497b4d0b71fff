#pragma once

#include <sys/mman.h>

#include <functional>
#include <memory>
#include <new>
#include <vector>

#include "framework/composition/model.h"
#include "framework/conformance/conformance.h"

namespace casdm::conformance {

/// Receives one call into the component with the name of its method; it must call `work` exactly once.
using CallRunner = std::function<void(const char* name, const std::function<void()>& work)>;

/// A Spec on a memory page of its own, which becomes inaccessible when this object is destroyed.
template <class Spec>
class Vanishing {
 public:
  explicit Vanishing(const Spec& spec)
      : page_(::mmap(nullptr, sizeof(Spec), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (page_ == MAP_FAILED) throw std::bad_alloc();
    spec_ = new (page_) Spec(spec);
  }
  ~Vanishing() {
    spec_->~Spec();
    ::mprotect(page_, sizeof(Spec), PROT_NONE);
  }
  Vanishing(const Vanishing&) = delete;
  Vanishing& operator=(const Vanishing&) = delete;

  const Spec& get() const { return *spec_; }

 private:
  void* page_;
  Spec* spec_;
};

/// Makes the calls of one component; passed to a suite's `call`.
struct Caller {
  const Subject& subject;
  const CallRunner& run;
  bool keeps_spec;
  c10::Device device;
  std::vector<Tensor> results = {};

  template <class K>
  std::shared_ptr<K> make(const typename K::Spec& spec) {
    std::shared_ptr<K> component;
    run("the constructor",
        [&] { component = keeps_spec ? subject.make<K>(spec) : subject.make<K>(Vanishing(spec).get()); });
    return component;
  }

  template <class K>
  void destroy(std::shared_ptr<K>& component) {
    run("the destructor", [&] { component.reset(); });
  }

  void keep(const Tensor& tensor) {
    if (tensor.defined()) results.push_back(tensor.detach().clone());
  }

  /// Moves an input to the device on which the component computes.
  Tensor placed(const Tensor& tensor) const { return tensor.to(device); }
  void place(const Module& module) const { move_to(module, device); }

  void read_state(const Module& module) {
    run("parameters", [&] { module.parameters(); });
    run("buffers", [&] { module.buffers(); });
  }
};

void call_augmentation(Caller& caller);
void call_backbone(Caller& caller);
void call_dataset(Caller& caller);
void call_head(Caller& caller);
void call_metric(Caller& caller);
void call_noise(Caller& caller);
void call_sampler(Caller& caller);
void call_timesteps(Caller& caller);

/// Makes every call that the host makes to a component of this kind, in the host's order: constructor first, destructor
/// last. Returns the tensors that came back, for comparison.
/// @param keeps_spec  false: the Spec becomes unreadable once the constructor has returned
/// @param device      of the tensors that networks, metrics, samplers, augmentations and optimizers get
std::vector<Tensor> make_every_call(const Subject& subject, const CallRunner& run, bool keeps_spec = true,
                                    c10::Device device = c10::Device(c10::kCPU));

}  // namespace casdm::conformance
