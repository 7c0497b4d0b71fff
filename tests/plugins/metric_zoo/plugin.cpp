#include <ATen/ATen.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "casdm/metric_loss.h"
#include "casdm/plugin.h"

/// A plugin that misbehaves where and how the environment variable CASDM_ZOO says ("factory_crash"), and well without
/// it, so that it can be built like any other.
namespace casdm {

namespace {

struct Oops {};

void misbehave(std::string_view place) {
  const char* given = std::getenv("CASDM_ZOO");
  const std::string_view wish = given != nullptr ? given : "";
  if (!wish.starts_with(place)) return;
  const std::string_view how = wish.substr(place.size());
  if (how == "_crash") ::raise(SIGSEGV);
  if (how == "_abort") std::abort();
  if (how == "_exit") ::_exit(0);
  if (how == "_hang") std::this_thread::sleep_for(std::chrono::hours(1));
  if (how == "_throw") throw std::runtime_error("the zoo is closed");
  if (how == "_foreign") throw Oops();
}

struct AtLoading {
  AtLoading() { misbehave("static"); }
};

const AtLoading at_loading;

class ZooLoss final : public MetricLoss {
 public:
  using Options = NoOptions;
  ZooLoss(const Options&, const Spec&) { misbehave("factory"); }

  MetricInfo info() const override { return {}; }

  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    misbehave("distance");
    return (prediction - target.at(0)).square().mean({1, 2, 3});
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
