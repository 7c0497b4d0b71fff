#include <doctest/doctest.h>

#include "extractors/filled_weights.h"
#include "framework/conformance/runner.h"
#include "support/golden.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

void require_conformance(const std::string& component, const NamedTensors& state, const std::string& more = "") {
  const FilledWeights weights(state);
  conformance::RunOptions options;
  options.library = CASDM_FEATURE_EXTRACTORS;
  options.filter = component + "/";
  options.overrides = {component + "/weights=" + weights.path().string()};
  if (!more.empty()) options.overrides.push_back(component + "/" + more);
  options.timeout = 600;
  options.is_strict = true;
  const std::vector<conformance::Result> results = conformance::run(options);
  CHECK(results.size() > 10);
  for (const conformance::Result& result : results) {
    CHECK_MESSAGE(result.is_good(), result.test << " " << result.outcome << ": " << result.message);
  }
}

std::string shapes(const std::string& name) {
  return read_safetensors(source_dir() / "tests/parity/references" / (name + ".safetensors")).metadata.at("shapes");
}

}  // namespace

TEST_CASE("Inception, with made-up weights, passes the conformance tests at the strict level") {
  require_conformance("inception", inception_state(shapes_of(shapes("inception"))));
}

TEST_CASE("DINOv2, with made-up weights, passes the conformance tests at the strict level") {
  require_conformance("dinov2", dinov2_state(shapes_of(shapes("dinov2"))), "size=56");
}
