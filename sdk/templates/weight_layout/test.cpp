#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/testing.h"
#include "casdm/weight_layout.h"

using casdm::testing::check;
using casdm::testing::make;

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
  return casdm::testing::result();
}
