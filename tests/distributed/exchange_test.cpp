#include "framework/training/gradient_exchange.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <utility>

#include "casdm/text.h"
#include "casdm/torch_nn.h"
#include "framework/distributed/process_group.h"
#include "framework/training/module_optimizer.h"
#include "framework/training/parameter_shares.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kLength = 16;                    // elements of a parameter, so that nothing lies between two
constexpr std::int64_t kOne = kLength * sizeof(float);  // bytes of a slice of one parameter

constexpr auto kPatience = 30s;

/// Some vectors, all 1.
class Vectors final : public Network {
 public:
  explicit Vectors(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) all.push_back(add_parameter(text("p", i), at::ones({kLength})));
  }
  std::vector<Tensor> all;
};

/// Modules "a", "b", ... of such vectors.
struct Modules {
  explicit Modules(const std::vector<std::size_t>& counts) {
    const MakeOptimizer sgd = [](const Optimizer::Spec& spec) {
      return Component<Optimizer>(make<Optimizer>("sgd", "", spec));
    };
    for (const std::size_t count : counts) {
      const std::string name(1, static_cast<char>('a' + networks.size()));
      networks.push_back(std::make_shared<Vectors>(count));
      states.emplace_back(NamedModule{name, networks.back(), true}, sgd, EmaOptions(), c10::Device(c10::kCPU));
    }
    for (ModuleState& state : states) state.zero_grad();
  }
  const Tensor& at(std::size_t module, std::size_t parameter) const { return networks[module]->all[parameter]; }
  /// The first element of each parameter's gradient.
  std::vector<double> gradients(std::size_t module) const {
    std::vector<double> result;
    for (std::int64_t i = 0; i < states[module].gradients().numel(); i += kLength) {
      result.push_back(states[module].gradients()[i].item<double>());
    }
    return result;
  }

  std::vector<std::shared_ptr<Vectors>> networks;
  std::vector<ModuleState> states;
};

/// The first of two processes with the same gradients; records where in a module's gradients each sum begins.
class Twin final : public World {
 public:
  int size() const override { return 2; }
  void sum(const Tensor& tensor) override { tensor.detach().mul_(2); }
  void begin_sum(const Tensor& tensor) override {
    if (fails) throw ProcessLost("rank 1 is gone", false);
    events.push_back(text("sum ", tensor.storage_offset() / kLength));
    sum(tensor);
  }
  void end_sums() override { events.emplace_back("end"); }

  std::vector<std::string> events;
  bool fails = false;
};

/// Times `factor`; the backward pass records that it has come here.
Tensor times(const Tensor& x, const Tensor& factor, const std::string& name, std::vector<std::string>& events) {
  const Tensor product = x * factor;
  product.register_hook([&events, name](const Tensor&) { events.push_back(name); });
  return product;
}

void sum(GradientExchange& exchange) {
  exchange.begin_rest();
  exchange.end();
}

using Events = std::vector<std::string>;

/// One of several threads that exchange by Gloo.
class ByGloo final : public World {
 public:
  ByGloo(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size)
      : rank_(rank), size_(size), group_(connect(store, rank, size, "", kPatience)) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void sum(const Tensor& tensor) override { group_->sum(tensor.detach()); }
  void begin_sum(const Tensor& tensor) override {
    ++begun;
    group_->begin_sum(tensor.detach());
  }
  void end_sums() override { group_->end_sums(); }

  int begun = 0;

 private:
  int rank_, size_;
  std::unique_ptr<ProcessGroup> group_;
};

/// Calls `work(world)` for each of two ranks in a thread of its own.
template <class Work>
void in_two(Work work) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::array<std::future<void>, 2> threads;
  for (std::size_t rank = 0; rank < threads.size(); ++rank) {
    threads[rank] = std::async(std::launch::async, [&, rank] {
      ByGloo world(store, static_cast<int>(rank), 2);
      work(world);
    });
  }
  for (auto& thread : threads) thread.get();
}

}  // namespace

TEST_CASE("parameters are cut from the end into slices that are as long as possible, but not longer than asked") {
  const auto lengths = [](const std::vector<std::int64_t>& counts, std::int64_t longest) {
    NamedTensors parameters;
    for (const std::int64_t count : counts) parameters.emplace_back(text("p", parameters.size()), at::zeros({count}));
    const Optimizer::Spec spec = flat_parameters(parameters, c10::Device(c10::kCPU));
    std::vector<std::int64_t> result;
    std::int64_t end = spec.weights.numel();
    std::size_t next = counts.size();
    for (const ParameterRange& slice : slices_of_parameters(spec, longest)) {
      CHECK(slice.first + slice.count == next);
      CHECK(slice.flat.offset + slice.flat.length == end);
      result.push_back(slice.flat.length);
      next = slice.first;
      end = slice.flat.offset;
    }
    CHECK(next == 0);
    CHECK(end == 0);
    return result;
  };
  using Lengths = std::vector<std::int64_t>;
  CHECK(lengths({40, 16, 100, 16}, 1000) == Lengths{192});
  CHECK(lengths({40, 16, 100, 16}, 128) == Lengths{128, 64});
  CHECK(lengths({40, 16, 100, 16}, 64) == Lengths{16, 112, 64});
  CHECK(lengths({40, 16, 16, 100}, 1) == Lengths{112, 16, 16, 48});
  CHECK(lengths({}, 1000) == Lengths{});
}

TEST_CASE("the sum of a slice begins as soon as its gradients are there, before the backward pass has ended") {
  Modules modules({4});
  Twin world;
  GradientExchange exchange(modules.states, world, 2 * kOne);
  exchange.during([&] {
    Tensor x = at::ones({kLength}) * modules.at(0, 0);
    for (std::size_t i = 1; i < 4; ++i) x = times(x, modules.at(0, i), text("at ", i), world.events);
    x.sum().backward();
  });
  CHECK(world.events == Events{"at 3", "at 2", "sum 2", "at 1", "sum 0"});
  sum(exchange);
  CHECK(world.events.back() == "end");
  CHECK(modules.gradients(0) == std::vector<double>{2, 2, 2, 2});
  CHECK(modules.states[0].has_gradient());
}

TEST_CASE("slices without a gradient are exchanged after the pass, with all those after them, in the same order") {
  Modules modules({3, 2, 1});
  Twin world;
  GradientExchange exchange(modules.states, world, kOne);
  exchange.during(
      [&] { (modules.at(0, 0) * modules.at(0, 2) * modules.at(1, 0) * modules.at(2, 0)).sum().backward(); });
  CHECK(world.events == Events{"sum 0"});
  sum(exchange);
  CHECK(world.events == Events{"sum 0", "sum 1", "sum 0", "sum 2", "sum 1", "sum 0", "end"});
  CHECK(modules.gradients(0) == std::vector<double>{2, 0, 2});
  CHECK(modules.gradients(1) == std::vector<double>{2, 0});
  world.events.clear();
  sum(exchange);  // a step without any backward pass
  CHECK(world.events.size() == 7);
}

TEST_CASE("only the last backward pass of a step exchanges, and it exchanges what those before have added") {
  Modules modules({2});
  Twin world;
  GradientExchange exchange(modules.states, world, kOne);
  const auto pass = [&] { (modules.at(0, 0) + 2 * modules.at(0, 1)).sum().backward(); };
  pass();
  CHECK(world.events.empty());
  exchange.during(pass);
  sum(exchange);
  CHECK(world.events == Events{"sum 1", "sum 0", "end"});
  CHECK(modules.gradients(0) == std::vector<double>{4, 8});
  pass();
  CHECK(world.events.size() == 3);
  CHECK(modules.gradients(0) == std::vector<double>{5, 10});
}

TEST_CASE("modules and processes that come to their gradients in different orders exchange in the same one") {
  std::array<std::vector<double>, 4> found;
  in_two([&](ByGloo& world) {
    Modules modules({3, 3});
    GradientExchange exchange(modules.states, world, kOne);
    const auto index = static_cast<std::size_t>(world.rank());
    const auto factor = static_cast<double>(world.rank() + 1);
    exchange.during([&] {
      Tensor x = at::full({kLength}, factor);
      // Rank 0 computes b0, b1, b2, a0, a1, a2, and rank 1 a2, a1, a0, b2, b1, b0; backward it is the other way round.
      for (std::size_t i = 0; i < 6; ++i) {
        const std::size_t place = index == 0 ? i : 5 - i;
        x = x * modules.at(place < 3 ? 1 : 0, place % 3);
      }
      x.sum().backward();
    });
    CHECK(world.begun == 6);
    sum(exchange);
    for (std::size_t module = 0; module < 2; ++module) found.at(2 * index + module) = modules.gradients(module);
  });
  for (const auto& gradients : found) CHECK(gradients == std::vector<double>{3, 3, 3});
}

TEST_CASE("a gradient that comes after the sum of its slice has begun is added in all processes") {
  std::array<std::vector<double>, 2> found;
  in_two([&](ByGloo& world) {
    Modules modules({3});
    GradientExchange exchange(modules.states, world, kOne);
    const bool is_first = world.rank() == 0;
    exchange.during([&] {
      const Tensor x = at::ones({kLength}) * modules.at(0, 0);
      x.register_hook([&](const Tensor&) {  // as a network would that computes again in the backward pass
        if (!is_first) return;
        CHECK(world.begun == 2);
        const c10::AutoGradMode with_gradients(true);
        for (int i = 0; i < 2; ++i) (5 * modules.at(0, 2) + 7 * modules.at(0, 0)).sum().backward();
      });
      (x * modules.at(0, 1) * modules.at(0, 2)).sum().backward();
    });
    CHECK(exchange.has_late(0) == is_first);
    sum(exchange);
    exchange.add_late(0);
    CHECK_FALSE(exchange.has_late(0));
    found.at(is_first ? 0 : 1) = modules.gradients(0);
    modules.states[0].zero_grad();
    modules.at(0, 2).sum().backward();
    CHECK(modules.gradients(0) == std::vector<double>{0, 0, 1});
  });
  for (const auto& gradients : found) CHECK(gradients == std::vector<double>{16, 2, 12});
}

TEST_CASE("an exchange that fails in a backward pass is not taken for an error of a component, nor is the other way") {
  Modules modules({2});
  Twin world;
  GradientExchange exchange(modules.states, world, kOne);
  const auto pass = [&] { (modules.at(0, 0) * modules.at(0, 1)).sum().backward(); };
  world.fails = true;
  CHECK_THROWS_WITH_AS(exchange.during(pass), "rank 1 is gone", ProcessLost);
  world.fails = false;
  CHECK_THROWS_WITH_AS(exchange.during([&] {
    pass();
    throw Error("the metric gave up");
  }),
                       "the metric gave up", Error);
  modules.states[0].zero_grad();
  pass();
  CHECK(modules.gradients(0) == std::vector<double>{1, 1});
}

TEST_CASE("a process that fails in the backward pass, while its sums are open, keeps no other waiting") {
  const auto begin = std::chrono::steady_clock::now();
  in_two([&](ByGloo& world) {
    Modules modules({2});
    GradientExchange exchange(modules.states, world, kOne);
    const Tensor x = at::ones({kLength}) * modules.at(0, 0);
    if (world.rank() == 1) x.register_hook([](const Tensor&) { throw Error("the network gave up"); });
    const auto pass = [&] {
      exchange.during([&] { (x * modules.at(0, 1)).sum().backward(); });
      sum(exchange);
    };
    if (world.rank() == 1) {
      CHECK_THROWS_WITH_AS(pass(), "the network gave up", Error);
    } else {
      CHECK_THROWS_AS(pass(), std::exception);
    }
    CHECK(world.begun == 2 - world.rank());
  });
  CHECK(std::chrono::steady_clock::now() - begin < kPatience / 2);
}

TEST_CASE("a process that trains alone, or a module that is frozen, exchanges nothing") {
  Modules modules({2});
  {
    GradientExchange exchange(modules.states, World::alone(), kOne);
    exchange.during([&] { (modules.at(0, 0) * modules.at(0, 1)).sum().backward(); });
    sum(exchange);
  }
  CHECK(modules.gradients(0) == std::vector<double>{1, 1});
  std::vector<ModuleState> frozen;
  frozen.emplace_back(NamedModule{"a", std::make_shared<Vectors>(2), false}, MakeOptimizer(), EmaOptions(),
                      c10::Device(c10::kCPU));
  Twin world;
  GradientExchange exchange(frozen, world, kOne);
  sum(exchange);
  CHECK(world.events == Events{"end"});
}
