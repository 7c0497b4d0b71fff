#include "framework/evaluation/nearest_images.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <limits>
#include <numeric>

#include "evaluation/judging.h"
#include "framework/evaluation/gather.h"
#include "framework/evaluation/stored_images.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

NearestRequest request_for(std::int64_t count, std::int64_t reference) {
  NearestRequest request;
  request.count = count;
  request.indices.resize(static_cast<std::size_t>(reference));
  std::iota(request.indices.begin(), request.indices.end(), 100);
  return request;
}

const Value::Array& neighbours_of(const Value& result, std::size_t image) {
  return result.find("images")->as_array().at(image).find("nearest")->as_array();
}

}  // namespace

TEST_CASE("the nearest images have the smallest distances among all pairs, and among equal ones come first") {
  const Judges judges = make_judges(kCells);
  const Tensor images = some_images(5), others = some_images(150, 2);
  // Two equal images: if they are near, the first one comes first.
  const Tensor reference = at::cat({others.slice(0, 0, 80), others.slice(0, 3, 4), others.slice(0, 80)});
  const Value result = nearest_images(stream_of_tensor(images), stream_of_tensor(reference, "<data>"), judges,
                                      request_for(5, reference.size(0)));
  const Tensor a = judges.features_of(0, images, 0).to(at::kDouble);
  const Tensor b = judges.features_of(0, reference, 0).to(at::kDouble);
  const Tensor distances = (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(2).sqrt();
  const auto [sorted, order] = distances.sort(/*stable=*/true, 1, false);
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const Value::Array& nearest = neighbours_of(result, static_cast<std::size_t>(i));
    REQUIRE(nearest.size() == 3);
    for (std::int64_t k = 0; k < 3; ++k) {
      const Value& neighbour = nearest[static_cast<std::size_t>(k)];
      CHECK(neighbour.find("index")->as_integer() == 100 + order[i][k].item<std::int64_t>());
      CHECK(neighbour.find("distance")->as_number() == doctest::Approx(sorted[i][k].item<double>()).epsilon(1e-12));
    }
  }
  CHECK(result.find("feature")->as_string() == "quarters");
  CHECK(result.find("reference_num")->as_integer() == 151);
}

TEST_CASE("a copy is at distance 0, far below the distance between real images") {
  const Judges judges = make_judges(kCells);
  const Tensor reference = some_images(40, 2);
  const Tensor images = at::cat({reference.slice(0, 17, 18), some_images(1, 3)});
  const Value result =
      nearest_images(stream_of_tensor(images), stream_of_tensor(reference), judges, request_for(2, 40));
  const Value& first = neighbours_of(result, 0)[0];
  CHECK(first.find("index")->as_integer() == 117);
  CHECK(first.find("distance")->as_number() == 0);
  CHECK(first.find("image")->as_string() == result.find("images")->as_array()[0].find("image")->as_string());
  // An image of the reference is not its own neighbour. The median of two distances is their mean.
  const Tensor features = judges.features_of(0, reference, 0).to(at::kDouble).flatten(1);
  Tensor between = (features.unsqueeze(1) - features.unsqueeze(0)).square().sum(2).sqrt();
  between.fill_diagonal_(std::numeric_limits<double>::infinity());
  const Tensor chosen = at::tensor(spread(2, 40, "", ""), at::kLong);
  const double expected = std::get<0>(between.min(1)).index_select(0, chosen).mean().item<double>();
  CHECK(result.find("between_reference")->as_number() == doctest::Approx(expected).epsilon(1e-9));
  const std::string table = nearest_table(result);
  CHECK(table.find("117") != std::string::npos);
  CHECK(table.find("by the Euclidean distance of the feature \"quarters\" of cells") != std::string::npos);
}

TEST_CASE("few and large images work, and the search stops on request") {
  const Judges judges = make_judges(kCells);
  const Tensor one = some_images(1);
  const Value result = nearest_images(stream_of_tensor(one), stream_of_tensor(one), judges, request_for(32, 1));
  CHECK(neighbours_of(result, 0).size() == 1);
  CHECK(result.find("between_reference")->is_null());
  CHECK_NOTHROW(nearest_table(result));
  NearestRequest stopped = request_for(1, 1);
  stopped.is_cancelled = [] { return true; };
  CHECK_THROWS_AS(nearest_images(stream_of_tensor(one), stream_of_tensor(one), judges, stopped), EvaluationStopped);
}
