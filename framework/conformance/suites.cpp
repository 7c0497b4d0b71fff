#include "framework/conformance/suites.h"

#include <algorithm>

namespace casdm::conformance {

const std::vector<Suite>& suites() {
  static const std::vector<Suite> rows = {
      augmentations::requirements(),
      backbones::requirements(),
      datasets::requirements(),
      feature_extractors::requirements(),
      heads::requirements(),
      metrics::requirements(),
      noise_schedulers::requirements(),
      optimizers::requirements(),
      samplers::requirements(),
      set_metrics::requirements(),
      timestep_samplers::requirements(),
      weight_layouts::requirements(),
  };
  return rows;
}

const Suite* find_suite(std::string_view kind) {
  const auto found =
      std::find_if(suites().begin(), suites().end(), [&](const Suite& suite) { return suite.kind == kind; });
  return found == suites().end() ? nullptr : &*found;
}

std::vector<Test> tests() {
  std::vector<Test> all = common_tests();
  for (const Suite& suite : suites()) all.insert(all.end(), suite.tests.begin(), suite.tests.end());
  return all;
}

}  // namespace casdm::conformance
