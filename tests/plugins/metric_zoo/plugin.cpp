#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/GradMode.h>
#include <unistd.h>

#include <cfenv>
#include <chrono>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "casdm/error.h"
#include "casdm/metric_loss.h"
#include "casdm/plugin.h"

/// A plugin that misbehaves where and how the environment variable CASDM_ZOO says ("factory_crash"); without the
/// variable it behaves well, so that it can be built like any other.
namespace casdm {

namespace {

struct Oops {};

void change_state(std::string_view what) {
  if (what == "_dtype") c10::set_default_dtype(caffe2::TypeMeta::Make<double>());
  if (what == "_grad") c10::GradMode::set_enabled(false);
  if (what == "_threads") at::set_num_threads(at::get_num_threads() + 1);
  if (what == "_generator") at::rand({1});
  if (what == "_signal") std::signal(SIGUSR1, SIG_IGN);
  if (what == "_folder" && ::chdir("/") != 0) std::abort();
  if (what == "_locale") std::setlocale(LC_ALL, "C.UTF-8");
  if (what == "_rounding") std::fesetround(FE_UPWARD);
}

void misbehave(std::string_view place) {
  const char* given = std::getenv("CASDM_ZOO");
  const std::string_view wish = given != nullptr ? given : "";
  if (!wish.starts_with(place)) return;
  const std::string_view how = wish.substr(place.size());
  if (how == "_crash") ::raise(SIGSEGV);
  if (how == "_thread") std::thread([] { *static_cast<volatile int*>(nullptr) = 0; }).join();
  if (how == "_abort") std::abort();
  if (how == "_exit") ::_exit(0);
  if (how == "_stdexit") std::exit(0);
  if (how == "_quickexit") std::quick_exit(0);
  if (how == "_threadexit") std::thread([] { std::_Exit(0); }).join();
  if (how == "_hang") std::this_thread::sleep_for(std::chrono::hours(1));
  if (how == "_throw") throw std::runtime_error("the zoo is closed");
  if (how == "_foreign") throw Oops();
  if (how == "_own") throw Error("the zoo's own words");
  if (how == "_config") throw ConfigError("the zoo was asked for too much");
  change_state(how);
}

struct AtLoading {
  AtLoading() { misbehave("static"); }
};

const AtLoading at_loading;

class ZooLoss final : public MetricLoss {
 public:
  using Options = NoOptions;
  ZooLoss(const Options&, const Spec&) { misbehave("factory"); }
  ~ZooLoss() override { misbehave("destructor"); }

  MetricInfo info() const override {
    misbehave("info");
    return {};
  }

  NamedTensors buffers() const override {
    misbehave("buffers");
    return {};
  }

  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    const Tensor result = (prediction - target.at(0)).square().mean({1, 2, 3});
    if (result.requires_grad()) {
      result.register_hook([](const Tensor& gradient) {
        misbehave("backward");
        return gradient;
      });
    }
    misbehave("distance");
    return result;
  }
};

}  // namespace

CASDM_PLUGIN(plugin) {
  misbehave("entry");
  const char* wish = std::getenv("CASDM_ZOO");
  const bool lies = wish != nullptr && std::string_view(wish) == "note_lies";
  plugin.describe({.summary = "A metric that misbehaves on request", .licence = "Apache-2.0"});
  plugin.add<ZooLoss>(lies ? "another" : "zoo", "L2, when nobody asks for anything else.");
}

}  // namespace casdm
