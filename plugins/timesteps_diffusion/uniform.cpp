#include "uniform.h"

#include <cmath>

#include "distribution.h"

namespace casdm::timesteps_diffusion {

void UniformOptions::describe(Schema<UniformOptions>& s) {
  s.option("spread", &UniformOptions::spread,
           "independent: each image by itself; stratified: image i of B in the i-th of B equal parts of the diffusion; "
           "low_discrepancy: B equidistant times with one random offset (Kingma et al. 2021, appendix I.1).")
      .not_with("train.batch_size", {1});
}

UniformTimesteps::UniformTimesteps(const UniformOptions& options, const Spec& spec)
    : options_(options), times_(spec.schedule->range()) {}

TimestepDraw UniformTimesteps::draw(const std::vector<double>& u) const {
  std::vector<double> v = u;
  const auto batch_size = static_cast<double>(u.size());
  for (std::size_t i = 0; i < u.size(); ++i) {
    const auto position = static_cast<double>(i);
    if (options_.spread == Spread::stratified) v[i] = (position + u[i]) / batch_size;
    if (options_.spread == Spread::low_discrepancy) v[i] = std::fmod(position / batch_size + u[0], 1);
  }
  return uniform_draw(v, times_);
}

}  // namespace casdm::timesteps_diffusion
