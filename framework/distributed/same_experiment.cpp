#include "framework/distributed/same_experiment.h"

#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "casdm/build_info.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/device/device.h"
#include "framework/training/experiment_change.h"
#include "framework/training/network_difference.h"

namespace casdm {

namespace {

constexpr std::size_t kMostPluginsNamed = 5;

/// The plugins that the experiment uses, with their build ids.
Value plugins_of(const Value& experiment) {
  const Value* plugins = experiment.find("plugins");
  const Value* used = plugins != nullptr ? plugins->find("used") : nullptr;
  return used != nullptr ? *used : Value();
}

using Difference = std::function<std::vector<std::string>(const Value& before, const Value& after)>;

/// How a process's experiment differs.
std::vector<std::string> other_experiment(const Value& before, const Value& after) {
  std::vector<std::string> found;
  for (const char* key : {"casdm", "libtorch"}) {
    const std::string was = before.find(key)->as_string(), is = after.find(key)->as_string();
    if (was != is) found.push_back(text(key, ": ", was, " -> ", is));
  }
  const Value& experiment = *before.find("experiment");
  const Value& own = *after.find("experiment");
  for (const ExperimentChange& change : changes(experiment, own)) found.push_back(to_string(change));
  const Value were = plugins_of(experiment), are = plugins_of(own);
  if (were != are) found.push_back(text("plugins: ", to_json(were), " -> ", to_json(are)));
  return found;
}

/// How a process's inputs differ: its data and the networks of its metrics.
std::vector<std::string> other_inputs(const Value& before, const Value& after) {
  std::vector<std::string> found;
  const std::string data = difference(fingerprint_from(*before.find("data")), fingerprint_from(*after.find("data")));
  if (!data.empty()) found.push_back("data: " + data.substr(data.find(": ") + 2));
  const std::string networks = difference_of_networks(*before.find("networks"), *after.find("networks"));
  if (!networks.empty()) found.push_back("other weights of " + networks);
  return found;
}

/// Throws WorldConfigError with the names of the processes whose `own` differs from that of the majority.
void require_same(World& world, const char* what, const Value& own, const Difference& differences) {
  const std::vector<std::string> gathered = world.gather(to_json(own));
  const auto between = [&](const std::string& a, const std::string& b) {
    if (a == b) return std::vector<std::string>();
    try {
      return differences(from_json(a), from_json(b));
    } catch (const Error&) {
      return std::vector<std::string>{"it is of another command: one begins a run, another resumes one"};
    }
  };
  const auto times = [&](const std::string& one) {
    return std::count_if(gathered.begin(), gathered.end(),
                         [&](const std::string& other) { return between(one, other).empty(); });
  };
  const std::string& most =
      *std::max_element(gathered.begin(), gathered.end(),
                        [&](const std::string& a, const std::string& b) { return times(a) < times(b); });
  std::string differing;
  for (std::size_t i = 0; i < gathered.size(); ++i) {
    std::vector<std::string> found = between(most, gathered[i]);
    if (found.empty()) continue;
    const std::size_t count = found.size();
    found.resize(std::min(count, kMostPluginsNamed));
    differing += text(differing.empty() ? "" : "\n", what, world.whose(static_cast<int>(i)),
                      ", differs from that of the other processes:\n  ", join(found, "\n  "),
                      count > kMostPluginsNamed ? "\n  ..." : "");
  }
  if (!differing.empty()) throw WorldConfigError(differing);
}

}  // namespace

void require_same(World& world, const Value& experiment) {
  const Value own(Value::Table{
      {"casdm", std::string(CASDM_SDK_VERSION)}, {"libtorch", std::string(TORCH_VERSION)}, {"experiment", experiment}});
  require_same(world, "the experiment", own, other_experiment);
}

void require_same(World& world, const DataFingerprint& data, const Value& networks) {
  require_same(world, "what is read", Value(Value::Table{{"data", to_value(data)}, {"networks", networks}}),
               other_inputs);
}

void require_own_device(World& world, c10::Device device, const std::string& identity) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::vector<std::string> devices = world.gather(device.is_cpu() ? "" : text(host.data(), '\n', identity));
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const auto first = std::find(devices.begin(), devices.end(), devices[i]) - devices.begin();
    if (devices[i].empty() || static_cast<std::size_t>(first) == i) continue;
    throw WorldConfigError(text("run.device: rank ", first, " and rank ", i, " compute on the same device of ",
                                devices[i].substr(0, devices[i].find('\n')),
                                "; \"cuda\" gives each process the device of its LOCAL_RANK, or the only one that "
                                "CUDA_VISIBLE_DEVICES shows it"));
  }
}

void require_own_device(World& world, c10::Device device) {
  require_own_device(world, device, device_identity(device));
}

}  // namespace casdm
