#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "casdm/random.h"
#include "casdm/sampler.h"
#include "casdm/text.h"
#include "framework/conformance/gaussian_flow.h"
#include "framework/conformance/suites.h"
#include "framework/support/number_format.h"

namespace casdm::conformance::samplers {

namespace {

using Path = std::shared_ptr<const NoiseScheduler>;

std::shared_ptr<Sampler> sampler_of(const Subject& subject, const Path& path) {
  return subject.make<Sampler>({path, kImage});
}

/// Runs the test on each path that the sampler accepts.
template <void (*kTest)(const Subject&, const Path&)>
void on_paths(const Subject& subject) {
  on_each_path([&](const Path& path) { sampler_of(subject, path); }, [&](const Path& path) { kTest(subject, path); });
}

bool same(const std::vector<SampleStep>& a, const std::vector<SampleStep>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const SampleStep& x, const SampleStep& y) {
    return x.t == y.t && x.t_next == y.t_next && x.needs_noise == y.needs_noise;
  });
}

void plans_a_way_to_the_image(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  const std::vector<SampleStep>& plan = sampler->plan();
  const TimeRange times = path->range();
  // On both stand-ins, time increases with the noise.
  const double least = times.is_whole ? times.first : std::nextafter(times.clean, times.last);
  require(!plan.empty(), "the plan is empty");
  require(plan.back().t_next == times.clean,
          text("the last step does not end at the clean image (t_next = ", limit(times.clean), ")"));
  for (std::size_t i = 0; i < plan.size(); ++i) {
    require(
        plan[i].t >= least && plan[i].t <= times.last,
        text("step ", i, " is at t = ", number(plan[i].t), ", outside ", limit(times.first), "..", limit(times.last)));
    require(plan[i].t_next < plan[i].t || i + 1 < plan.size(), text("step ", i, " does not lead to less noise"));
  }
  require(std::isfinite(sampler->initial_scale()) && sampler->initial_scale() > 0,
          "initial_scale is not a positive number");
  require(same(plan, sampler_of(subject, path)->plan()), "two instances have different plans");
}

/// The estimate of a model that knows the one clean image.
Estimate known(const NoiseScheduler& path, const Tensor& input, const Tensor& t, const Tensor& clean) {
  Estimate estimate;
  estimate.eps = path.predict_eps_from_x0(input, t, clean);
  estimate.x0_from_eps = clean;
  return estimate;
}

/// The same in the second estimate: the gate of 1 selects it, and the first is wrong.
Estimate known_to_the_gate(const NoiseScheduler& path, const Tensor& input, const Tensor& t, const Tensor& clean) {
  Estimate estimate = known(path, input, t, -clean);
  estimate.x0 = clean;
  estimate.gate = at::ones_like(clean);
  return estimate;
}

/// Draws the noise of a trajectory, first that of its start.
using Draw = std::function<Tensor()>;

/// Noise of the shape and type of `batch`.
Draw noise_like(const Tensor& batch, std::uint64_t seed) {
  return [batch, generator = make_generator(seed)]() { return at::empty_like(batch).normal_(0, 1, generator); };
}

/// A trajectory with such a model: x after each step.
std::vector<Tensor> trajectory(Sampler& sampler, const NoiseScheduler& path, const Tensor& clean, const Draw& draw,
                               decltype(&known) model = known) {
  const at::NoGradGuard no_grad;
  const std::vector<SampleStep> plan = sampler.plan();
  sampler.start();
  std::vector<Tensor> way;
  Tensor x = draw() * sampler.initial_scale();
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const Tensor before = x.clone();
    const Tensor input = sampler.model_input(x, i);
    StepInput step{i, x, model(path, input, at::full({clean.size(0)}, plan[i].t, at::kDouble), clean)};
    step.level = path.level(plan[i].t);
    step.next_level = path.level(plan[i].t_next);
    if (plan[i].needs_noise) step.noise = draw();
    const Tensor next = sampler.step(step);
    require(next.sizes() == clean.sizes(), text("step ", i, " returned shape ", next.sizes(), " for ", clean.sizes()));
    require(next.scalar_type() == clean.scalar_type(), text("step ", i, " returned ", at::toString(next.scalar_type()),
                                                            " for ", at::toString(clean.scalar_type())));
    require(next.isfinite().all().item<bool>(), text("step ", i, " returned values that are not finite"));
    require(at::equal(x, before), text("step ", i, " changed the x_t it was given; return another tensor"));
    x = next;
    way.push_back(x);
  }
  require(same(plan, sampler.plan()), "the plan changed on the way");
  return way;
}

void recovers_a_known_image(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  const Tensor clean = images(3).to(at::kDouble) * 0.9;
  const Tensor end = trajectory(*sampler, *path, clean, noise_like(clean, subject.seed())).back();
  const double error = (end - clean).abs().max().item<double>();
  require(error <= 1e-4, text("with a model that knows the clean image it ends ", number(error), " away from it"));
}

void takes_the_mixed_image(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  const Tensor clean = images(3).to(at::kDouble) * 0.9;
  const Tensor end = trajectory(*sampler, *path, clean, noise_like(clean, subject.seed()), known_to_the_gate).back();
  const double error = (end - clean).abs().max().item<double>();
  require(error <= 1e-4, text("where the gate chooses x0, and x0 is the clean image, it ends ", number(error),
                              " away from it; take the clean image by mixed_x0"));
}

bool same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Tensor& x, const Tensor& y) { return at::equal(x, y); });
}

/// Compares every step: at the end, where the image is known, earlier errors may have vanished.
void repeats_a_trajectory(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  const Tensor clean = images(3) * 0.9;
  const auto way = [&](Sampler& of) { return trajectory(of, *path, clean, noise_like(clean, 5)); };
  const std::vector<Tensor> first = way(*sampler);
  trajectory(*sampler, *path, -clean, noise_like(clean, 6));
  require(same(way(*sampler), first),
          "after another trajectory the same noise gives another image: start() must clear the history");
  require(same(way(*sampler_of(subject, path)), first), "a second instance gives another image for the same noise");
}

/// In double, where the rounding that depends on the batch size is negligible. One of the images leaves [-1, 1], as the
/// prediction of a network may.
void treats_images_alone(const Subject& subject, const Path& path) {
  constexpr std::int64_t kImages = 3;
  const auto sampler = sampler_of(subject, path);
  const Tensor sizes = at::tensor({0.9, 2.7, 0.3}, at::kDouble).view({kImages, 1, 1, 1});
  const Tensor clean = images(3, kImageSize, kImages).to(at::kDouble) * sizes;
  const std::vector<Tensor> together = trajectory(*sampler, *path, clean, noise_like(clean, subject.seed()));
  for (std::int64_t image = 0; image < kImages; ++image) {
    const auto own = [image](const Tensor& batch) { return batch.narrow(0, image, 1); };
    const Draw draw = noise_like(clean, subject.seed());
    const std::vector<Tensor> alone = trajectory(*sampler, *path, own(clean), [&] { return own(draw()); });
    for (std::size_t step = 0; step < alone.size(); ++step) {
      const double difference = (alone[step] - own(together[step])).abs().max().item<double>();
      require(difference <= 1e-5 * std::max(1.0, alone[step].abs().max().item<double>()),
              text("after step ", step, " an image drawn alone differs from the same image in a batch of ", kImages,
                   " by ", number(difference), ", with the same noise"));
    }
  }
}

/// Twice the steps must come closer to the exact flow of Gaussian data, and much closer if the sampler keeps a history.
void converges_to_the_exact_flow(const Subject& subject, const Path& path) {
  constexpr std::int64_t kSteps = 200;
  const Path used = path->range().is_whole ? nullptr : path;
  const GaussianFlow coarse(subject, used, kSteps);
  const GaussianFlow fine(subject, used, 2 * kSteps);
  if (coarse.steps() < 3) throw Skip("it has too few steps to converge");
  const double error = coarse.error();
  const double half = fine.error();
  // First order halves the error; a history is kept for second order, which quarters it. At these step counts, correct
  // methods reach more than 1.8 and 3.1, and one with a wrong coefficient less than 2.4.
  const bool is_second_order = coarse.keeps_history() && !coarse.draws_noise();
  const double least = is_second_order ? 2.7 : 1.5;
  require(half < 1e-6 || error / half >= least,
          text("with data of a normal distribution and the exact network its error is ", number(error), " in ", kSteps,
               " steps and ", number(half), " in twice as many, ", number(error / half), " times less; ",
               is_second_order ? "it keeps a history, which second order needs, so expected is 4 times, and at least "
                               : "expected is 2 times, and at least ",
               number(least), ". Is a coefficient wrong?"));
}

Sampler::Spec spec_for(const Subject&) { return {stand_in_schedule(), kImage}; }

}  // namespace

Suite requirements() {
  const auto kind = Sampler::kind;
  return suite<Sampler, spec_for>({{kind, "plans_a_way_to_the_image", false, on_paths<plans_a_way_to_the_image>},
                                   {kind, "recovers_a_known_image", false, on_paths<recovers_a_known_image>},
                                   {kind, "takes_the_mixed_image", false, on_paths<takes_the_mixed_image>},
                                   {kind, "converges_to_the_exact_flow", false, on_paths<converges_to_the_exact_flow>},
                                   {kind, "repeats_a_trajectory", false, on_paths<repeats_a_trajectory>},
                                   {kind, "treats_images_alone", false, on_paths<treats_images_alone>}},
                                  call_sampler);
}

}  // namespace casdm::conformance::samplers
