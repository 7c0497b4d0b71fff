#include "framework/evaluation/statistics.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "evaluation/judging.h"
#include "framework/reporting/npz_file.h"
#include "framework/support/files.h"
#include "sdk/arrays/pickled_arrays.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

// NumPy's results for the random numbers of make_files.py.
const at::Tensor kMean = at::tensor({1.0774206042481347, 0.2702367151099802, -0.1842418433956338}, at::kDouble);
const at::Tensor kCovariance =
    at::tensor({0.640594674675881, -0.028310770226800827, 0.1138785634312149, -0.028310770226800827, 1.1091614161082457,
                0.05745075044351061, 0.1138785634312149, 0.05745075044351061, 1.3803530488092928},
               at::kDouble)
        .reshape({3, 3});

void write_statistics(const fs::path& path, const at::Tensor& mean, const at::Tensor& covariance) {
  NpzFile file(path, 1, 3, 1);
  file.start();
  file.append(at::zeros({1, 3, 1, 1}, at::kByte));
  file.finish({}, "about.json", "{}", {{"mu", mean}, {"sigma", covariance}});
}

}  // namespace

TEST_CASE("pickled statistics of NumPy 1 and 2 are read exactly, in every protocol") {
  for (const char* name : {"numpy1_protocol2.pkl", "numpy1_protocol4.pkl", "numpy1_protocol5.pkl",
                           "numpy2_protocol2.pkl", "numpy2_protocol4.pkl", "numpy2_protocol5.pkl"}) {
    CAPTURE(name);
    const Statistics statistics = read_statistics(evaluation_file(name));
    REQUIRE(statistics.moments.size() == 1);
    CHECK(statistics.moments[0].first == "fid.mu");
    CHECK(statistics.moments[0].second.mean.equal(kMean));
    CHECK(at::allclose(statistics.moments[0].second.covariance, kCovariance, 1e-15, 0));
    CHECK(statistics.moments[0].second.images == 0);
  }
}

TEST_CASE("guided-diffusion's reference has two means and covariances, and images") {
  const Statistics statistics = read_statistics(evaluation_file("adm.npz"));
  REQUIRE(statistics.moments.size() == 2);
  CHECK(statistics.has_images);
  CHECK(statistics.moments[0].first == "mu");
  CHECK(statistics.moments[0].second.mean.equal(kMean));
  CHECK(at::allclose(statistics.moments[0].second.covariance, kCovariance, 1e-6, 0));  // float32 in the file
  CHECK(statistics.moments[1].first == "mu_s");
  CHECK(statistics.moments[1].second.mean.size(0) == 2);
}

TEST_CASE("a pickle that names anything but arrays is refused, and nothing in it is executed") {
  const std::string evil = evaluation_file("evil.pkl");
  CHECK_THROWS_WITH_AS(read_statistics(evil), doctest::Contains("posix.system"), Error);
  CHECK_FALSE(fs::exists("executed"));
  CHECK_THROWS_WITH_AS(read_statistics(evaluation_file("object.pkl")), doctest::Contains("object.pkl"), Error);
}

TEST_CASE("a small pickle that copies a long string many times is refused before it fills the memory") {
  const TemporaryFolder folder;
  const std::string length("\0\0\x10\0", 4);  // 1 MiB
  std::string pickle =
      "\x80\x02X" + length + std::string(std::size_t{1} << 20, 'a') + "q\x02" + "c_codecs\nencode\nq\x01";
  for (int i = 0; i < 1000; ++i) pickle += "h\x01h\x02\x85R";
  pickle += '.';
  const fs::path path = folder.path() / "copies.pkl";
  write_file(path, pickle);
  CHECK_THROWS_WITH_AS(read_statistics(path), doctest::Contains("makes values of more than "), Error);
}

TEST_CASE("every truncated pickle is refused by name") {
  const TemporaryFolder folder;
  const std::string bytes = read_file(evaluation_file("numpy1_protocol4.pkl"));
  const fs::path path = folder.path() / "cut.pkl";
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    write_file(path, bytes.substr(0, size));
    CHECK_THROWS_WITH_AS(read_statistics(path), doctest::Contains("cut.pkl"), Error);
  }
}

TEST_CASE("an NPZ of neither statistics nor images is told what either is called") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "images.npz";
  write_statistics(path, kMean, kCovariance);
  std::string bytes = read_file(path);
  for (const char* name : {"arr_0.npy", "mu.npy"}) {
    for (std::size_t at = 0; (at = bytes.find(name, at)) != std::string::npos; ++at) bytes[at] = 'x';
  }
  write_file(path, bytes);
  CHECK_THROWS_WITH_AS(read_statistics(path),
                       doctest::Contains("holds neither a mean and covariance, in arrays called mu and sigma, nor "
                                         "images, in one called arr_0"),
                       Error);
}

TEST_CASE("numbers that cannot be a mean and a covariance are refused with what is wrong") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "made.npz";
  const auto message = [&](const at::Tensor& mean, const at::Tensor& covariance) {
    write_statistics(path, mean, covariance);
    try {
      read_statistics(path);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message(kMean, kCovariance).empty());
  CHECK(message(kMean, at::eye(2, at::kDouble)).find("of 3 features and a covariance of the shape [2, 2]") !=
        std::string::npos);
  CHECK(message(kMean * std::numeric_limits<double>::infinity(), kCovariance).find("not finite") != std::string::npos);
  at::Tensor altered = kCovariance.clone();
  altered[0][1] += 0.1;
  CHECK(message(kMean, altered).find("not symmetric") != std::string::npos);
  altered = kCovariance.clone();
  altered[1][1] = -1;
  CHECK(message(kMean, altered).find("negative variance") != std::string::npos);
  CHECK(message(kMean, 2 * at::ones({3, 3}, at::kDouble) - at::eye(3, at::kDouble)).find("negative eigenvalues") !=
        std::string::npos);
  CHECK(message(kMean, at::ones({3, 3}, at::kDouble) - 1e-6 * at::eye(3, at::kDouble)).empty());  // rounded
}
