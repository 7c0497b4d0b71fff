#include "framework/distributed/same_experiment.h"

#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "casdm/build_info.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/training/experiment_change.h"
#include "framework/training/fixed_networks.h"

namespace casdm {

namespace {

constexpr std::size_t kMostNamed = 5;

/// The plugins that the experiment uses, with their builds.
Value plugins_of(const Value& experiment) {
  const Value* plugins = experiment.find("plugins");
  const Value* used = plugins != nullptr ? plugins->find("used") : nullptr;
  return used != nullptr ? *used : Value();
}

/// How the process that says `other` differs from those that say `most`.
std::string difference(const std::string& most, const std::string& other) {
  const Value before = from_json(most);
  const Value after = from_json(other);
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
  const std::string data = difference(fingerprint_from(*before.find("data")), fingerprint_from(*after.find("data")));
  if (!data.empty()) found.push_back("data: " + data.substr(data.find(": ") + 2));
  const std::string networks = difference_of_networks(*before.find("networks"), *after.find("networks"));
  if (!networks.empty()) found.push_back("other weights of " + networks);
  const std::size_t count = found.size();
  if (found.empty()) return "";
  found.resize(std::min(count, kMostNamed));
  return text("\n  ", join(found, "\n  "), count > kMostNamed ? "\n  ..." : "");
}

}  // namespace

void require_same(World& world, const Value& experiment, const DataFingerprint& data, const Value& networks) {
  const std::vector<std::string> gathered =
      world.gather(to_json(Value(Value::Table{{"casdm", std::string(CASDM_SDK_VERSION)},
                                              {"libtorch", std::string(TORCH_VERSION)},
                                              {"experiment", experiment},
                                              {"data", to_value(data)},
                                              {"networks", networks}})));
  const auto are_same = [](const std::string& a, const std::string& b) { return a == b || difference(a, b).empty(); };
  const auto times = [&](const std::string& own) {
    return std::count_if(gathered.begin(), gathered.end(),
                         [&](const std::string& other) { return are_same(own, other); });
  };
  const std::string& most =
      *std::max_element(gathered.begin(), gathered.end(),
                        [&](const std::string& a, const std::string& b) { return times(a) < times(b); });
  std::string differing;
  for (std::size_t i = 0; i < gathered.size(); ++i) {
    if (are_same(most, gathered[i])) continue;
    differing += text(differing.empty() ? "" : "\n", "the experiment", world.whose(static_cast<int>(i)),
                      ", differs from that of the other processes:", difference(most, gathered[i]));
  }
  if (!differing.empty()) throw WorldConfigError(differing);
}

void require_own_device(World& world, c10::Device device) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::vector<std::string> gathered = world.gather(text(host.data(), ' ', device));
  const auto twice = std::find_if(gathered.begin(), gathered.end(), [&](const std::string& device_of) {
    return !device_of.ends_with(" cpu") && std::count(gathered.begin(), gathered.end(), device_of) > 1;
  });
  if (twice == gathered.end()) return;
  throw WorldConfigError(text("run.device: several processes of one machine compute on ",
                              twice->substr(twice->rfind(' ') + 1),
                              "; \"cuda\" gives each the device of its LOCAL_RANK"));
}

}  // namespace casdm
