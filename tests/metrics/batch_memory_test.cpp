#include <sys/resource.h>

#include <chrono>

#include "framework/support/sanitizers.h"
#include "metrics/contract.h"
#include "metrics/metrics.h"

namespace casdm {
namespace {

using namespace testing;

/// The most memory that this process has had so far.
double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

TEST_CASE("a long memory of a distance between distributions needs no memory for all pairs of its images") {
  const Tensor x = fill(5, {8, 1, 2, 2}).to(at::kDouble) * 0.5 + 0.2, y = fill(6, {8, 1, 2, 2}).to(at::kDouble);
  const std::string pixels = "extractor = {type = \"pixels\"}\nfeature = \"flat\"\n";
  for (const std::string type : {"feature_mmd", "feature_mmd rbf", "feature_frechet"}) {
    CAPTURE(type);
    const bool is_rbf = type.ends_with("rbf");
    const auto metric = [&](const char* queue) {
      return make_metric(type.substr(0, type.find(' ')), pixels + (is_rbf ? "kernel = \"rbf\"\n" : "") + queue, 2, 1);
    };
    const double before = peak_mib();
    const auto start = std::chrono::steady_clock::now();
    // An empty memory counts nothing. The kernel of all of it would be 512 MiB, and an SVD of it take minutes.
    const auto remembering = metric("queue = 8192");
    const auto alone = metric("queue = 0");
    CHECK(measure(*remembering, x, y).item<double>() ==
          doctest::Approx(measure(*alone, x, y).item<double>()).epsilon(1e-9));
    CHECK(max_relative_difference(gradient_of(*remembering, x, y), gradient_of(*alone, x, y)) < 1e-9);
    if (!kIsSanitized) CHECK(peak_mib() - before < 300);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
  }
}

}  // namespace
}  // namespace casdm
