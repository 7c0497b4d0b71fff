#include "framework/conformance/suites.h"

#include <algorithm>

namespace casdm::conformance {

const std::vector<Suite>& suites() {
  static const std::vector<Suite> rows = {
      augmentation_suite(), backbone_suite(),   dataset_suite(),  feature_suite(),
      head_suite(),         metric_suite(),     noise_suite(),    optimizer_suite(),
      sampler_suite(),      set_metric_suite(), timestep_suite(), weight_layout_suite(),
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
