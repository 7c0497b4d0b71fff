#include "framework/cost/usage_meter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <optional>

#include "framework/loading/component.h"

using namespace casdm;

namespace {

struct Part {};

Component<Part> component(const std::string& type) { return {std::make_shared<Part>(), ComponentConfig{type, {}}}; }

at::Tensor square(std::int64_t size) { return at::rand({size, size}).requires_grad_(); }

/// A shared component that runs two modules, and one of its own, as a head runs networks and gives a metric their
/// result.
struct MeteredExperiment {
  Component<Part> head = component("head"), metric = component("metric");
  at::Tensor first = square(4), second = square(4);

  UsageMeter::Owners owners() const { return {{first.storage().data(), "one"}, {second.storage().data(), "two"}}; }

  static std::string name(const ComponentConfig& component) { return component.type == "head" ? "" : component.type; }

  /// x W1 W1, then that times W2, and the metric's product with a constant.
  at::Tensor loss(const at::Tensor& x) const {
    return head.call([&](Part&) {
      const at::Tensor once = at::mm(x, first);
      const at::Tensor a = at::mm(at::mm(once, at::ones({4, 4})), first);
      const at::Tensor b = at::mm(a, second);
      return metric.call([&](Part&) { return at::mm(b, at::ones({4, 4})).sum(); });
    });
  }
};

std::optional<PartUsage> find(const UsageMeter& meter, const std::string& name) {
  for (const PartUsage& part : meter.parts()) {
    if (part.part == name) return part;
  }
  return std::nullopt;
}

constexpr std::int64_t kProduct = 3 * 4 * 4;

}  // namespace

TEST_CASE("products belong to the module whose weights were used last, and to other components that run") {
  const MeteredExperiment experiment;
  const UsageMeter meter(experiment.owners(), &MeteredExperiment::name, "host");
  experiment.loss(at::rand({3, 4}));
  CHECK(find(meter, "one")->forward == 3 * kProduct);
  CHECK(find(meter, "two")->forward == kProduct);
  CHECK(find(meter, "metric")->forward == kProduct);
  CHECK_FALSE(find(meter, "head"));
}

TEST_CASE("the gradient of a product belongs to the part that computed the product") {
  const MeteredExperiment experiment;
  const UsageMeter meter(experiment.owners(), &MeteredExperiment::name, "host");
  experiment.loss(at::rand({3, 4})).backward();
  // Of the inputs, x needs no gradient, and constants need none.
  CHECK(find(meter, "one")->backward == (1 + 1 + 2) * kProduct);
  CHECK(find(meter, "two")->backward == 2 * kProduct);
  CHECK(find(meter, "metric")->backward == kProduct);
  CHECK(find(meter, "one")->forward == 3 * kProduct);
}

TEST_CASE("what no component computes is the host's, also after a module has run") {
  const MeteredExperiment experiment;
  const UsageMeter meter(experiment.owners(), &MeteredExperiment::name, "host");
  experiment.loss(at::rand({3, 4}));
  at::mm(at::rand({2, 2}), at::rand({2, 2}));
  CHECK(find(meter, "host")->forward == 8);
}

TEST_CASE("memory is that of the moment when all parts together use most, by part") {
  constexpr std::int64_t kElements = 1 << 20;
  const Component<Part> one = component("one"), two = component("two");
  const UsageMeter meter(
      {}, [](const ComponentConfig& c) { return c.type; }, "host");
  at::Tensor kept = one.call([](Part&) {
    at::empty({5 * kElements});  // freed at once
    return at::empty({2 * kElements});
  });
  const at::Tensor more = two.call([](Part&) { return at::empty({4 * kElements}); });
  kept = at::Tensor();
  const at::Tensor late = one.call([](Part&) { return at::empty({kElements}); });
  CHECK(meter.peak_bytes() == 4 * 6 * kElements);
  CHECK(find(meter, "one")->bytes == 4 * 2 * kElements);
  CHECK(find(meter, "two")->bytes == 4 * 4 * kElements);
}

TEST_CASE("nothing is counted before and after a meter's life") {
  const at::Tensor a = at::rand({2, 2});
  at::mm(a, a);
  {
    const UsageMeter meter(
        {}, [](const ComponentConfig&) { return "part"; }, "host");
    CHECK(meter.parts().empty());
  }
  at::mm(a, a);
  const UsageMeter meter(
      {}, [](const ComponentConfig&) { return "part"; }, "host");
  CHECK(meter.parts().empty());
}
