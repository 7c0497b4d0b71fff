#include "framework/evaluation/statistics.h"

#include <ATen/ATen.h>

#include <map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "sdk/arrays/npz_reader.h"
#include "sdk/arrays/pickled_arrays.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMean = "mu";
constexpr std::string_view kCovariance = "sigma";
constexpr const char* kImageArray = "arr_0";

bool is_pickle(const fs::path& path) {
  const std::string ending = path.extension().string();
  return ending == ".pkl" || ending == ".pickle";
}

/// "fid.sigma_s" for "fid.mu_s"; empty if `name` is not the name of a mean.
std::string covariance_of(const std::string& name) {
  const std::size_t start = name.rfind('.') + 1;  // npos + 1 is 0
  if (!std::string_view(name).substr(start).starts_with(kMean)) return "";
  return text(name.substr(0, start), kCovariance, name.substr(start + kMean.size()));
}

Moments checked(const std::string& name, const Tensor& mean, const Tensor& covariance) {
  const auto fail = [&](const std::string& what) { throw Error(text("holds ", quoted(name), what)); };
  if (mean.dim() != 1 || mean.size(0) < 1)
    fail(text(" of the shape ", mean.sizes(), "; expected one number per feature"));
  const std::int64_t size = mean.size(0);
  if (covariance.dim() != 2 || covariance.size(0) != size || covariance.size(1) != size) {
    fail(text(" of ", size, " features and a covariance of the shape ", covariance.sizes()));
  }
  if (!mean.isfinite().all().item<bool>() || !covariance.isfinite().all().item<bool>()) {
    fail(" or a covariance with numbers that are not finite");
  }
  const double scale = covariance.diagonal().abs().max().item<double>();
  if ((covariance - covariance.t()).abs().max().item<double>() > 1e-5 * scale) {
    fail(" with a covariance that is not symmetric: the file is damaged, or holds something else");
  }
  if (covariance.diagonal().min().item<double>() < -1e-6 * scale) fail(" with a negative variance");
  const Tensor symmetric = (covariance + covariance.t()) / 2;
  // Roundings of float32 leave eigenvalues just below 0; a matrix that is one with this much more has none.
  const Tensor raised = symmetric.to(at::kDouble) + 1e-3 * scale * at::eye(size, at::kDouble);
  if (scale > 0 && std::get<1>(at::linalg_cholesky_ex(raised)).item<int>() != 0) {
    fail(
        " with a matrix that is not a covariance, since it has negative eigenvalues: the file is damaged, or its "
        "arrays "
        "do not belong together");
  }
  return {mean, symmetric, 0};
}

}  // namespace

bool is_statistics_file(const fs::path& path) {
  if (is_pickle(path)) return true;
  std::error_code failure;
  if (path.extension() != ".npz" || !fs::exists(path, failure)) return false;
  const NpzReader archive(path);
  return archive.has(std::string(kMean)) || !archive.has(kImageArray);
}

Statistics read_statistics(const fs::path& path) {
  std::map<std::string, Tensor> arrays;
  Statistics result;
  if (is_pickle(path)) {
    arrays = read_pickled_arrays(path);
  } else {
    const NpzReader archive(path);
    result.has_images = archive.has(kImageArray);
    if (const std::optional<std::string> record = archive.text_of(kReferenceRecord)) result.record = from_json(*record);
    for (const std::string& name : archive.names()) {
      const std::string other = covariance_of(name);
      if (other.empty() || !archive.has(other)) continue;
      arrays[name] = archive.numbers(name);
      arrays[other] = archive.numbers(other);
    }
  }
  for (const auto& [name, mean] : arrays) {
    const auto covariance = arrays.find(covariance_of(name));
    if (covariance == arrays.end()) continue;
    try {
      result.moments.emplace_back(name, checked(name, mean, covariance->second));
    } catch (const Error& error) {
      throw Error(text(path.string(), " ", error.what()));
    }
  }
  if (result.moments.empty() && !result.has_images) {
    throw Error(text(path.string(),
                     " holds neither a mean and covariance, in arrays called mu and sigma, nor images, in one called ",
                     kImageArray));
  }
  return result;
}

}  // namespace casdm
