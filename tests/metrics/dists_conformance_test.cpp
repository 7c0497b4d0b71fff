#include <doctest/doctest.h>

#include "casdm/safetensors.h"
#include "framework/conformance/runner.h"
#include "metrics/lpips_weights.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

TEST_CASE("DISTS, with made-up weights, passes the conformance tests at the strict level") {
  const TemporaryFolder folder;
  const std::filesystem::path weights = folder.path() / "dists.safetensors";
  write_safetensors(weights, dists_state());
  conformance::RunOptions options;
  options.library = CASDM_METRIC_LPIPS;
  options.filter = "dists/";
  options.overrides = {"dists/weights=" + weights.string()};
  options.timeout = 300;
  options.is_strict = true;
  const std::vector<conformance::Result> results = conformance::run(options);
  CHECK(results.size() > 10);
  for (const conformance::Result& result : results) {
    CHECK_MESSAGE(result.is_good(), result.test << " " << result.outcome << ": " << result.message);
  }
}
