#include "framework/loading/component.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <doctest/doctest.h>

#include <csignal>
#include <latch>
#include <thread>

#include "casdm/dataset.h"
#include "framework/distributed/world.h"
#include "framework/loading/attributed.h"
#include "framework/loading/global_state.h"
#include "framework/support/exception_message.h"
#include "support/messages.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Throws what the test asks for, in every method.
class ThrowingDataset final : public Dataset {
 public:
  explicit ThrowingDataset(std::function<void()> act) : act_(std::move(act)) {}
  std::int64_t size() const override { return act_(), 1; }
  Example get(std::int64_t) const override { return act_(), Example(); }
  std::int64_t num_classes() const override { return act_(), 0; }
  std::string describe(std::int64_t) const override { return act_(), ""; }
  std::string left_out() const override { return act_(), ""; }

 private:
  std::function<void()> act_;
};

Component<Dataset> throwing(std::function<void()> act) {
  Value table{Value::Table{}};
  Location location{"a.toml", 3, 1, "data"};
  table.set_location(location);
  return {std::make_shared<ThrowingDataset>(std::move(act)), ComponentConfig{"mine/pictures", table}};
}

}  // namespace

TEST_CASE("any exception of a component gets file, key and component, and keeps its kind") {
  const std::string place = "a.toml:3:1: data: mine/pictures: ";
  const auto size_of = [](const Component<Dataset>& dataset) { return [&] { dataset.call(&Dataset::size); }; };
  const auto own = throwing([] { throw Error("no disk"); });
  CHECK(message_of<Error>(size_of(own)) == place + "no disk");
  CHECK_THROWS_AS(own.call(&Dataset::size), Error);
  const auto lost = throwing([] { throw ProcessLost("rank 1 is gone", false); });  // no component's fault
  CHECK(message_of<ProcessLost>(size_of(lost)) == "rank 1 is gone");
  const auto config = throwing([] { throw ConfigError("48 is odd"); });
  CHECK(message_of<ConfigError>(size_of(config)) == place + "48 is odd");
  const auto placed = throwing([] { throw ConfigError("a.toml:3:1: data: 48 is odd"); });
  CHECK(message_of<ConfigError>(size_of(placed)) == place + "48 is odd");
  const auto other = throwing([] { throw std::runtime_error("oops"); });
  CHECK(message_of<PluginError>(size_of(other)) == place + "failed: oops");
  const auto endless = throwing([] { throw std::runtime_error(std::string(2'000'000, 'x')); });
  CHECK(message_of<PluginError>(size_of(endless)) ==
        place + "failed: " + std::string(10'000, 'x') + "... and 1990000 more bytes");
  const auto foreign = throwing([] { throw 3; });
  CHECK(message_of<PluginError>(size_of(foreign)) == place + "failed: it threw a 'int', which is not a std::exception");
  const auto torch = throwing([] { at::zeros({2}).add(at::zeros({3})); });
  CHECK(message_of<PluginError>(size_of(torch)).find("frame #") == std::string::npos);
}

TEST_CASE("an out-of-memory error in a component keeps its type and names the component") {
  const auto inner = throwing([] { throw std::bad_alloc(); });
  const auto outer = throwing([&] { inner.call(&Dataset::size); });
  for (const auto* component : {&inner, &outer}) {
    CHECK(message_of<OutOfMemory>([&] { component->call(&Dataset::size); }) ==
          "out of memory, in a.toml:3:1: data: mine/pictures");
  }
}

TEST_CASE("an error in a step says when it occurred, and is attributed once, to the innermost component") {
  const auto inner = throwing([] { throw std::runtime_error("oops"); });
  const Component<Dataset> outer(std::make_shared<ThrowingDataset>([&] { inner.call(&Dataset::size); }),
                                 ComponentConfig{"mine/outer", {}});
  const CallTime time("step 12, t 3 to 977");
  CHECK(message_of<PluginError>([&] { outer.call(&Dataset::size); }) ==
        "a.toml:3:1: data: mine/pictures: failed at step 12, t 3 to 977: oops");
}

TEST_CASE("every method of a data set and of a module is attributed") {
  const AttributedDataset dataset(throwing([] { throw Error("no disk"); }));
  const std::string expected = "a.toml:3:1: data: mine/pictures: no disk";
  CHECK(message_of<Error>([&] { dataset.size(); }) == expected);
  CHECK(message_of<Error>([&] { dataset.get(0); }) == expected);
  CHECK(message_of<Error>([&] { dataset.num_classes(); }) == expected);
  CHECK(message_of<Error>([&] { dataset.describe(0); }) == expected);
  CHECK(message_of<Error>([&] { dataset.left_out(); }) == expected);
}

TEST_CASE("a name in an error of a data set begins no line of the message") {
  const auto message = [](const auto& error) {
    const AttributedDataset dataset(throwing([&] { throw error; }));
    return message_of([&] { dataset.get(0); });
  };
  for (const std::string& said : {message(Error("z\ncasdm: forged")), message(ConfigError("z\ncasdm: forged")),
                                  message(PluginError("z\ncasdm: forged"))}) {
    CHECK(said == "a.toml:3:1: data: mine/pictures: z\\ncasdm: forged");
  }
  CHECK(message(std::runtime_error("z\ncasdm: forged")) ==
        "a.toml:3:1: data: mine/pictures: failed: z\\ncasdm: forged");
}

TEST_CASE("a change of global state is undone and reported once") {
  const Component<Dataset> careless(std::make_shared<ThrowingDataset>([] { c10::GradMode::set_enabled(false); }),
                                    ComponentConfig{"mine/careless", {}});
  CHECK_NOTHROW(require_unchanged_state());
  careless.call(&Dataset::size);
  CHECK(c10::GradMode::is_enabled());
  CHECK(message_of<PluginError>(require_unchanged_state).find("the component 'mine/careless' changed grad mode") == 0);
  CHECK_NOTHROW(require_unchanged_state());
  const Component<Dataset> casting(
      std::make_shared<ThrowingDataset>([] { at::autocast::set_autocast_enabled(at::kCPU, true); }),
      ComponentConfig{"mine/casting", {}});
  casting.call(&Dataset::size);
  CHECK_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  CHECK(message_of<PluginError>(require_unchanged_state).find("the component 'mine/casting' changed autocast") == 0);
  const bool before = at::globalContext().userEnabledMkldnn();
  const Component<Dataset> choosing(
      std::make_shared<ThrowingDataset>([before] { at::globalContext().setUserEnabledMkldnn(!before); }),
      ComponentConfig{"mine/choosing", {}});
  choosing.call(&Dataset::size);
  CHECK(at::globalContext().userEnabledMkldnn() == before);
  CHECK(message_of<PluginError>(require_unchanged_state).find("the component 'mine/choosing' changed the use of") == 0);
  const Component<Dataset> hasty(
      std::make_shared<ThrowingDataset>([] { at::globalContext().setFloat32MatmulPrecision("medium"); }),
      ComponentConfig{"mine/hasty", {}});
  hasty.call(&Dataset::size);
  CHECK(at::globalContext().float32MatmulPrecision() == at::Float32MatmulPrecision::HIGHEST);
  CHECK(message_of<PluginError>(require_unchanged_state).find("the component 'mine/hasty' changed the precision of") ==
        0);
}

TEST_CASE("flags of a signal handler are restored without blame, since CUDA's compiler sets them with signal()") {
  struct sigaction before {};
  before.sa_handler = SIG_IGN;
  before.sa_flags = SA_ONSTACK;
  ::sigaction(SIGUSR2, &before, nullptr);
  ::sigaction(SIGUSR2, nullptr, &before);
  const Component<Dataset> compiling(
      std::make_shared<ThrowingDataset>([] { std::signal(SIGUSR2, std::signal(SIGUSR2, SIG_DFL)); }),
      ComponentConfig{"mine/compiling", {}});
  compiling.call(&Dataset::size);
  CHECK_NOTHROW(require_unchanged_state());
  struct sigaction after {};
  ::sigaction(SIGUSR2, nullptr, &after);
  CHECK((after.sa_handler == SIG_IGN));
  CHECK(after.sa_flags == before.sa_flags);
  std::signal(SIGUSR2, SIG_DFL);
}

TEST_CASE("a call on another thread is not blamed for what the main thread does to the process meanwhile") {
  std::latch is_inside(1), is_changed(1);
  const Component<Dataset> slow(std::make_shared<ThrowingDataset>([&] {
                                  is_inside.count_down();
                                  is_changed.wait();
                                }),
                                ComponentConfig{"mine/slow", {}});
  std::thread reader([&] { slow.call(&Dataset::size); });
  is_inside.wait();
  std::signal(SIGUSR2, SIG_IGN);
  is_changed.count_down();
  reader.join();
  CHECK_NOTHROW(require_unchanged_state());
  CHECK((std::signal(SIGUSR2, SIG_DFL) == SIG_IGN));
}
