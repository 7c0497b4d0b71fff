#pragma once

#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "casdm/component.h"
#include "casdm/error.h"
#include "casdm/plugin_description.h"
#include "casdm/text.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

/// For the test of a plugin, which is linked to it (casdm_add_plugin_test): its components as the host makes them, and
/// checks that are counted.
///
///     #include "casdm/testing.h"
///
///     int main() {
///       const auto metric = casdm::testing::make<casdm::MetricLoss>("mine", casdm::Value::Table{{"epsilon", 1e-3}});
///       casdm::testing::check((*metric)(a, a).max().item<double>() == 0, "an image is at distance 0 from itself");
///       return casdm::testing::result();
///     }
///
/// The host never includes this header, and nothing of it is in a plugin.
namespace casdm::testing {

namespace detail {
inline int failures = 0;
}

/// Reports `what`, which should hold, on stderr when it does not.
inline void check(bool holds, const std::string& what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++detail::failures;
}

/// The exit status of the test: success when every check held.
inline int result() { return detail::failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE; }

/// The plugin's component `name` of kind K with `options` as in the experiment file; the others have their defaults.
/// Throws Error when the plugin has no such component, and what its constructor throws.
template <class K>
std::shared_ptr<K> make(const std::string& name, const Value& options = Value(Value::Table{}),
                        const typename K::Spec& spec = {}) {
  const PluginDescription plugin = describe_plugin(*casdm_plugin_entry());
  const ComponentEntry* entry = plugin.find(K::kind, name);
  if (entry == nullptr) throw Error(text("the plugin has no ", K::kind, " named ", name));
  return std::static_pointer_cast<K>(entry->make(options, &spec));
}

/// A factory that makes components of one kind by a function of their Spec, whatever `type` is asked for: the networks
/// of a head under test, the metrics of a metric.
///
///     const casdm::testing::FactoryOf<casdm::Backbone> factory([](const auto&) { return std::make_shared<OneFactor>();
///     });
template <class K>
class FactoryOf final : public ComponentFactory {
 public:
  explicit FactoryOf(std::function<std::shared_ptr<K>(const typename K::Spec&)> make) : make_(std::move(make)) {}

 protected:
  std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig&, const void* spec) const override {
    if (kind != K::kind) throw Error(text("the test makes no ", kind));
    return std::static_pointer_cast<void>(make_(*static_cast<const typename K::Spec*>(spec)));
  }

 private:
  std::function<std::shared_ptr<K>(const typename K::Spec&)> make_;
};

}  // namespace casdm::testing
