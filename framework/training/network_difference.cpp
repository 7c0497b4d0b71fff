#include "framework/training/network_difference.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "casdm/text.h"
#include "framework/config/experiment.h"
#include "framework/config/key_path.h"
#include "framework/support/component_name.h"
#include "framework/training/experiment_change.h"

namespace casdm {

namespace {

/// For values that a component computes at creation, between different machines; relative to values above 1.
constexpr double kRounding = 1e-4;

bool is_alike(const Value& a, const Value& b) {
  if (!a.is_array() || !b.is_array()) return a == b;
  const std::size_t in_a = a.as_array().size(), in_b = b.as_array().size(), common = std::min(in_a, in_b);
  if (in_a != in_b && std::max(in_a, in_b) != 2 * common) return false;  // the lengths may be missing
  for (std::size_t i = 0; i < common; ++i) {
    const Value &one = a.as_array()[i], &other = b.as_array()[i];
    if (!one.is_number() || !other.is_number()) return false;
    const double scale = std::max(1.0, std::abs(one.as_number()));
    if (!(std::abs(one.as_number() - other.as_number()) < kRounding * scale)) return false;
  }
  return true;
}

std::string name_of(const MetricOptions& metric) {
  return "metric." + (metric.name.empty() ? component_name(metric.metric.type) : metric.name);
}

/// Whether two metrics are the same component with the same options of its own; weight, range of t and the like are the
/// host's.
bool are_alike(const MetricOptions& before, const MetricOptions& now) {
  static const OptionSchema host = schema_of<MetricOptions>();
  const auto is_host = [](const std::string& key) {
    return key == "type" || std::any_of(host.begin(), host.end(), [&](const OptionSpec& o) { return o.name == key; });
  };
  // An option that an experiment of an earlier version leaves out has its default.
  return component_name(before.metric.type) == component_name(now.metric.type) &&
         std::all_of(before.metric.table.as_table().begin(), before.metric.table.as_table().end(),
                     [&](const Value::Member& member) {
                       const Value* is = now.metric.table.find(member.first);
                       return is_host(member.first) || is == nullptr || *is == member.second;
                     });
}

}  // namespace

Value unchanged_networks(const Value& networks, const Value& before, const Value& now) {
  Value result = networks.is_table() ? networks : Value(Value::Table{});
  std::set<std::string> kept;
  const Value *metrics_before = before.find("metrics"), *metrics_now = now.find("metrics");
  if (metrics_before != nullptr && metrics_now != nullptr) {
    for (const Value& one : metrics_before->as_array()) {
      const auto was = read_options<MetricOptions>(one);
      for (const Value& other : metrics_now->as_array()) {
        const auto is = read_options<MetricOptions>(other);
        if (name_of(is) == name_of(was) && are_alike(was, is)) kept.insert(name_of(is));
      }
    }
  }
  const std::vector<ExperimentChange> changed = changes(before, now);
  std::erase_if(result.as_table(), [&](const Value::Member& member) {
    const std::string& name = member.first;
    if (name.starts_with("metric.")) return !kept.contains(name);
    return std::any_of(changed.begin(), changed.end(), [&](const ExperimentChange& change) {
      return is_at_or_below(name, change.key) || is_at_or_below(change.key, name);
    });
  });
  return result;
}

std::string difference_of_networks(const Value& then, const Value& now) {
  std::vector<std::string> found;
  for (const auto& [name, was] : then.as_table()) {
    const Value* is = now.find(name);
    if (is != nullptr && !is_alike(was, *is)) found.push_back(name);
  }
  return join(found, ", ");
}

}  // namespace casdm
