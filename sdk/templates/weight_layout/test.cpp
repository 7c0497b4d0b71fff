#include <ATen/ATen.h>

#include <cstdlib>
#include <iostream>

#include "casdm/error.h"
#include "casdm/plugin_description.h"
#include "casdm/weight_layout.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

int failures = 0;

void check(bool holds, const std::string& what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

/// A component as the host makes it, with `options` as in the experiment file.
template <class K>
std::shared_ptr<K> make(const char* name, const casdm::Value& options, const typename K::Spec& spec) {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  return std::static_pointer_cast<K>(plugin.find(K::kind, name)->make(options, &spec));
}

}  // namespace

int main() {
  casdm::BackboneWeights network;
  network.options = casdm::Value::Table{{"channels", 8}};
  network.spec.out_channels = 6;
  network.tensors = casdm::state(*make<casdm::Backbone>("template_name_network", network.options, network.spec));

  const auto layout = make<casdm::WeightLayout>("template_name", casdm::Value::Table{}, {32});
  casdm::ForeignWeights weights = layout->write(network);
  check(weights.tensors.front().first == "model.first.weight", "the other program's names begin with \"model.\"");
  check(layout->recognise(weights).confidence == 1, "it recognises what it wrote");

  const casdm::BackboneWeights read = layout->read(weights);
  check(*read.options.find("channels") == 8 && read.spec.out_channels == 6, "the shapes tell the options");
  for (std::size_t i = 0; i < network.tensors.size(); ++i) {
    check(read.tensors[i].first == network.tensors[i].first && read.tensors[i].second.equal(network.tensors[i].second),
          network.tensors[i].first + " comes back as it was");
  }

  weights.tensors.pop_back();
  check(layout->recognise(weights).confidence == 0, "weights with a tensor missing are not recognised");
  try {
    layout->read(weights);
    check(false, "weights with a tensor missing are not read");
  } catch (const casdm::Error&) {
  }
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
