#include <doctest/doctest.h>

#include "framework/conformance/runner.h"

using namespace casdm::conformance;

namespace {

Result check(const std::string& component, const std::string& test, const char* library = CASDM_BROKEN_METRICS) {
  RunOptions options;
  options.library = library;
  options.filter = component + "/" + test;
  options.timeout = component == "hangs" ? 3 : 60;
  const std::vector<Result> results = run(options);
  REQUIRE(results.size() == 1);
  return results.front();
}

void fails(const std::string& component, const std::string& test, const std::string& outcome,
           const std::string& message, const char* library = CASDM_BROKEN_METRICS) {
  const Result result = check(component, test, library);
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

TEST_CASE("a timestep sampler or augmentation that breaks its contract fails the test of that clause") {
  const auto fails_draws = [](const std::string& component, const std::string& test, const std::string& message) {
    fails(component, test, "failed", message, CASDM_BROKEN_DRAWS);
  };
  fails_draws("out_of_range", "draws_timesteps_in_range", "it drew t = 100, outside 0..99");
  fails_draws("wrong_weights", "weights_keep_the_objective", "its weights move the mean of a function of t");
  fails_draws("hidden_state", "resumes_from_its_buffers", "restored from its buffers before observation 2");
  fails_draws("own_numbers", "is_a_function_of_numbers_and_buffers", "the same numbers give two draws");
  fails_draws("untold", "labels_of_zero_mean_untouched", "has labels of zero, but was changed by");
  fails_draws("in_place", "is_a_function_of_the_seeds", "it changed the images it was given");
  fails_draws("sees_the_batch", "treats_images_alone", "alone and in a batch differs by");
  fails_draws("wrong_labels", "keeps_the_shape_contract", "the labels are [1, 1], expected [1, 2]");
  CHECK(check("flip", "labels_of_zero_mean_untouched", CASDM_BROKEN_DRAWS).outcome == "passed");
}
