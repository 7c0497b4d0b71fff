#include <doctest/doctest.h>

#include "framework/conformance/runner.h"

using namespace casdm::conformance;

namespace {

Result check(const std::string& component, const std::string& test) {
  RunOptions options;
  options.library = CASDM_BROKEN_METRICS;
  options.filter = component + "/" + test;
  options.timeout = component == "hangs" ? 3 : 60;
  const std::vector<Result> results = run(options);
  REQUIRE(results.size() == 1);
  return results.front();
}

void fails(const std::string& component, const std::string& test, const std::string& outcome, const std::string& message) {
  const Result result = check(component, test);
  CHECK_MESSAGE(result.outcome == outcome, component);
  CHECK_MESSAGE(result.message.find(message) != std::string::npos, result.message);
}

}  // namespace

TEST_CASE("a metric that breaks its contract fails the test of that clause, with figures") {
  fails("wrong_gradient", "gradient_is_the_derivative", "failed", "ratio 2.0");
  fails("nan_at_identity", "is_finite_everywhere", "failed", "for identical images the gradient is not finite");
  fails("global_random", "repeats_itself", "failed", "global random generator");
  fails("wrong_shape", "returns_one_distance_per_image", "failed", "expected [3]");
  fails("sees_the_batch", "treats_images_alone", "failed", "of a batch has distance");
  fails("asymmetric", "keeps_its_declared_properties", "failed", "declared symmetric");
  fails("prints", "trains_nothing", "failed", "writes to stdout");
  fails("hands_out_copies", "survives_save_and_load", "failed", "tensor scale is a copy");
}

TEST_CASE("a metric that crashes, hangs or throws oddly ends its own test alone") {
  fails("crashes", "trains_nothing", "crashed", "signal 6");
  fails("hangs", "trains_nothing", "timed out", "did not end within 3 s");
  fails("throws_an_int", "trains_nothing", "failed", "no std::exception");
}

TEST_CASE("what is not broken passes") {
  CHECK(check("wrong_gradient", "treats_images_alone").outcome == "passed");
  CHECK(check("asymmetric", "gradient_is_the_derivative").outcome == "passed");
}
