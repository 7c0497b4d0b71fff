#include "framework/composition/contract.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>

#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/composition/kept_buffers.h"
#include "framework/loading/attributed.h"

namespace casdm {

namespace {

/// A name that can be part of file names, tensor names and keys.
bool is_plain(const std::string& name) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return !name.empty() && name.size() <= 64 && name.find_first_not_of(allowed) == std::string::npos;
}

/// Printable, so it can be a key of the log.
bool is_printable(const std::string& name) {
  const auto is_bad = [](unsigned char c) { return c <= ' ' || c == 0x7f; };
  return !name.empty() && name.size() <= 200 && std::none_of(name.begin(), name.end(), is_bad);
}

NamedTensors state_of(const Component<Module>& component) {
  return component.call([](const Module& module) { return state(module); });
}

/// Refuses tensors to which a checkpoint could not be restored, and parameters that a backward pass would not reach.
void check_tensors(const Component<Module>& component, const std::string& module) {
  const NamedTensors tensors = state_of(component);
  const std::string fault = fault_of_handles(tensors, state_of(component));
  if (!fault.empty()) component.fail(text("module '", module, "': ", fault));
  for (const auto& [name, tensor] : tensors) {
    if (tensor.is_leaf()) continue;
    component.fail(text("module '", module, "': its tensor ", quoted(name),
                        " is computed from others, so that training ",
                        "and loading change nothing; return what it is computed from"));
  }
}

/// Whether `shape` is an image's, possibly with sides of length 1: broadcasting gives an image, nothing larger.
bool is_broadcastable(at::IntArrayRef shape, at::IntArrayRef image) {
  if (shape.size() > image.size()) return false;
  const at::IntArrayRef sides = image.slice(image.size() - shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != sides[i] && shape[i] != 1) return false;
  }
  return true;
}

std::string described(const Tensor& tensor) {
  return text(tensor.scalar_type(), ' ', tensor.sizes(), " on ", tensor.device());
}

/// Checks that there is one number per image.
void check_per_image(const Component<CascadeHead>& head, const std::string& what, const Tensor& value,
                     const TrainingBatch& batch) {
  const std::int64_t count = batch.x0.size(0);
  if (!value.defined()) head.fail(what + " is undefined");
  if (value.dim() == 1 && value.size(0) == count && value.is_floating_point() && value.device() == batch.x0.device()) {
    return;
  }
  head.fail(text(what, " is ", described(value), "; expected one floating-point number for each image, [", count,
                 "] on ", batch.x0.device()));
}

}  // namespace

std::string difference(const Tensor& images, const Tensor& like) {
  if (!images.defined()) return text("an undefined tensor; expected ", described(like));
  const bool is_alike =
      images.sizes() == like.sizes() && images.scalar_type() == like.scalar_type() && images.device() == like.device();
  return is_alike ? "" : text(described(images), "; expected ", described(like), ", as what it was given");
}

namespace {

/// Each tensor must have memory of its own: else two optimizers step it, or one value overwrites another when averages
/// are loaded. A parameter that is trained must be the leaf that gets gradients.
void check_memory(const Component<CascadeHead>& head, const std::vector<NamedModule>& modules) {
  std::map<std::uintptr_t, std::pair<std::uintptr_t, std::string>> known;  // by begin: end and name
  for (const NamedModule& module : modules) {
    for (const auto& [name, parameter] : module.module->parameters()) {
      if (!module.is_trainable || parameter.requires_grad()) continue;
      head.fail(text("the parameter ", quoted(name), " of module '", module.name,
                     "' requires no gradient, so it would ",
                     "never be trained; hand out the tensor itself, not a detached one, or make it a buffer"));
    }
    for (const auto& [name, tensor] : state(*module.module)) {
      if (tensor.numel() == 0 || !tensor.is_contiguous()) continue;
      const std::string own = text(module.name, '.', name);
      const auto begin = reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr());
      const std::uintptr_t end = begin + tensor.nbytes();
      auto after = known.lower_bound(begin);
      const bool is_before_end = after != known.end() && after->first < end;
      if (!is_before_end && after != known.begin()) --after;
      const bool overlaps = after != known.end() && after->first < end && begin < after->second.first;
      if (overlaps) {
        head.fail(text("the tensors ", quoted(after->second.second), " and ", quoted(own), " share their memory; ",
                       "expected one name for each tensor"));
      }
      known.emplace(begin, std::pair(end, own));
    }
  }
}

/// If `module` averages another module, that one must have the same tensors and not be an average itself.
void check_average(const Component<CascadeHead>& head, const NamedModule& module,
                   const std::vector<NamedModule>& modules) {
  if (module.average_of.empty()) return;
  const std::string what = text("module '", module.name, "', the average of '", module.average_of, "', ");
  const auto source = std::find_if(modules.begin(), modules.end(), [&](const NamedModule& candidate) {
    return candidate.name == module.average_of && candidate.name != module.name;
  });
  if (source == modules.end()) head.fail(what + "averages a module that the head does not have");
  if (!source->average_of.empty()) head.fail(what + "averages a module that is an average itself");
  if (module.is_trainable) head.fail(what + "is trainable; an average is not");
  if (!(module.average_decay >= 0 && module.average_decay <= 1)) {
    head.fail(text(what, "keeps the part ", number(module.average_decay), " at each step; expected 0 to 1"));
  }
  const NamedTensors own = state(*module.module);
  const NamedTensors theirs = state(*source->module);
  const bool is_alike = own.size() == theirs.size() &&
                        std::equal(own.begin(), own.end(), theirs.begin(), [](const auto& a, const auto& b) {
                          return a.first == b.first && a.second.sizes() == b.second.sizes();
                        });
  if (!is_alike) head.fail(what + "has other tensors than that one");
}

}  // namespace

std::vector<NamedModule> checked_modules(const Component<CascadeHead>& head) {
  std::vector<NamedModule> modules = head.call(&CascadeHead::modules);
  if (modules.empty()) head.fail("the head has no module");
  std::set<std::string> names;
  for (NamedModule& module : modules) {
    if (!is_plain(module.name)) {
      head.fail("a module's name has characters other than letters, digits, '_' and '-', or is empty or too long");
    }
    if (!names.insert(module.name).second) head.fail(text("two modules are named '", module.name, "'"));
    if (module.module == nullptr) head.fail(text("module '", module.name, "' is null"));
    if (module.config.type.empty()) module.config = head.config();
    const Component<Module> component(module.module, module.config);
    check_tensors(component, module.name);
    module.module = std::make_shared<AttributedModule>(component);
    if (module.update_every < 1)
      head.fail(text("module '", module.name, "' is to be stepped every ", module.update_every,
                     " steps; expected at least 1"));
  }
  check_memory(head, modules);
  for (const NamedModule& module : modules) check_average(head, module, modules);
  return modules;
}

void check_estimate(const Component<CascadeHead>& head, const Estimate& estimate, const Tensor& x_t) {
  const auto check = [&](const char* name, const Tensor& tensor, bool may_broadcast) {
    if (!tensor.defined()) return;
    const bool fits = may_broadcast ? is_broadcastable(tensor.sizes(), x_t.sizes()) : tensor.sizes() == x_t.sizes();
    if (fits && tensor.is_floating_point() && tensor.device() == x_t.device()) return;
    head.fail(
        text("its estimate of images ", x_t.sizes(), " on ", x_t.device(), " has ", name, " of ", described(tensor),
             "; expected ",
             may_broadcast ? "floating point that broadcasts to the images" : "floating point of the images' shape"));
  };
  check("eps", estimate.eps, false);
  check("x0_from_eps", estimate.x0_from_eps, false);
  check("x0", estimate.x0, false);
  check("gate", estimate.gate, true);
  check("variance", estimate.variance, true);
  if (estimate.x0.defined() || estimate.x0_from_eps.defined()) return;
  head.fail("its estimate holds no clean image: x0_from_eps or x0 must be defined");
}

void check_losses(const Component<CascadeHead>& head, const Losses& losses, const TrainingBatch& batch,
                  const std::vector<NamedModule>& modules) {
  std::set<std::string> names;
  const auto check_name = [&](const std::string& name, const char* what) {
    if (!is_printable(name)) head.fail(text("a ", what, " has a name that is empty, too long, or contains a blank"));
    if (!names.insert(text(what, ' ', name)).second) head.fail(text("two ", what, "s are named '", name, "'"));
  };
  for (const LossTerm& term : losses.terms) {
    check_name(term.name, "loss term");
    check_per_image(head, "the loss term '" + term.name + "'", term.value, batch);
    if (!std::isfinite(term.weight)) head.fail(text("the loss term '", term.name, "' has the weight ", term.weight));
    const auto is_named = [&](const NamedModule& module) { return module.name == term.module; };
    if (std::none_of(modules.begin(), modules.end(), is_named)) {
      head.fail(text("the loss term '", term.name, "' trains the module '", term.module, "', which the head does not ",
                     "have"));
    }
  }
  for (const Statistic& statistic : losses.statistics) {
    check_name(statistic.name, "statistic");
    check_per_image(head, "the statistic '" + statistic.name + "'", statistic.value, batch);
  }
}

namespace {

/// Whether noisy images at `level` may have this standard deviation: that of clean ones is between 0 and 1.
bool may_have(const NoiseLevel& level, double deviation) {
  constexpr double kFactor = 1.5;
  const double most = std::hypot(level.alpha, level.sigma);
  return deviation >= level.sigma / kFactor && deviation <= most * kFactor;
}

std::string deviations(const NoiseLevel& level) {
  return text(number(level.sigma), " to ", number(std::hypot(level.alpha, level.sigma)));
}

/// @param times  float64, from the first to the last
void check_derived(const Component<NoiseScheduler>& component, const AttributedSchedule& schedule,
                   const Tensor& times) {
  const TimeRange range = schedule.range();
  const double direction = range.last > range.clean ? 1 : -1;
  const Tensor before = schedule.previous(times).to(at::kDouble);
  const Tensor is_sound = ((times - before) * direction).gt(0).logical_and(((before - range.clean) * direction).ge(0));
  const Tensor bad = is_sound.logical_not().nonzero();
  if (bad.size(0) > 0) {
    const auto row = bad[0][0].item<std::int64_t>();
    component.fail(text("previous() of t = ", number(times[row].item<double>()), " is ",
                        number(before[row].item<double>()),
                        "; expected a time of less noise, at most the clean image's, ", number(range.clean)));
  }
  if (times.size(0) > 2 && before[-1].item<double>() == range.clean) {
    component.fail(text("previous() of the last time is the clean image's; expected one training step"));
  }
  const NoiseLevel last = schedule.level(range.last);
  if (const double prior = schedule.prior_std(); !may_have(last, prior)) {
    component.fail(text("prior_std() is ", number(prior), "; images at the last time have a standard deviation of ",
                        deviations(last)));
  }
  const Tensor ends = at::stack({times[0], times[-1]}).to(at::kFloat);
  const Tensor seen = schedule.network_time(ends).to(at::kDouble);
  const bool is_constant = times.size(0) > 1 && at::equal(seen[0], seen[1]);
  if (is_constant || !seen.isfinite().all().item<bool>()) {
    component.fail(text("network_time() is ", number(seen[0].item<double>()), " at the first time and ",
                        number(seen[1].item<double>()), " at the last; expected two finite numbers"));
  }
  if (!schedule.network_input(at::ones({2, 1, 1, 1}), ends).isfinite().all().item<bool>()) {
    component.fail("network_input() of finite images is not finite at the first or last time");
  }
}

}  // namespace

std::shared_ptr<const NoiseScheduler> checked_schedule(const Component<NoiseScheduler>& component) {
  constexpr std::int64_t kMostTimes = 100000;
  constexpr double kCleanTolerance = 1e-4;
  constexpr double kMostWholeTimes = 1e7, kLargestTime = 1e30;  // each in memory; within float32
  auto schedule = std::make_shared<AttributedSchedule>(component);
  const auto [first, last, clean, is_whole] = schedule->range();
  const bool goes_one_way =
      (clean <= first && first <= last && clean < last) || (clean >= first && first >= last && clean > last);
  if (!std::isfinite(first + last + clean) || !goes_one_way ||
      (is_whole && !(std::floor(first) == first && std::floor(last) == last && first <= last))) {
    component.fail(text("its times do not go one way from the clean image at ", number(clean), " over the first at ",
                        number(first), " to the last at ", number(last),
                        is_whole ? ", all of them whole and rising" : ""));
  }
  const double most = is_whole ? kMostWholeTimes : kLargestTime;
  if (std::max({std::abs(first), std::abs(last), std::abs(clean)}) > most) {
    component.fail(text("its times reach from ", number(clean), " to ", number(last), "; expected at most ",
                        number(most), is_whole ? " whole ones" : ""));
  }
  if (is_whole && first != 0) {
    component.fail(text("its whole times begin at ", number(first), "; expected 0, from which samplers and timestep ",
                        "samplers count them"));
  }
  const std::int64_t count = is_whole ? std::min(schedule->num_train_timesteps(), kMostTimes) : 1001;
  const Tensor t = at::linspace(first, last, count, at::kDouble);
  const Tensor times = is_whole ? t.round() : t;
  for (const auto& [name, values] :
       {std::pair("alpha", schedule->alpha(times)), std::pair("sigma", schedule->sigma(times))}) {
    const Tensor bad = values.isfinite().logical_and(values.ge(0)).logical_not().nonzero();
    if (bad.size(0) == 0) continue;
    const Tensor row = bad[0][0];
    component.fail(text(name, " is ", number(values[row.item<std::int64_t>()].item<double>()),
                        " at t = ", number(times[row.item<std::int64_t>()].item<double>()),
                        "; expected a finite number, at least 0"));
  }
  if (schedule->sigma(times[0]).item<double>() == 0) {
    component.fail(text("sigma is 0 at the first time, ", number(first), ", at which networks are trained and which ",
                        "samplers end at; begin a little after the clean image"));
  }
  if (is_whole) schedule->alpha(times.to(at::kLong));  // as training asks; checked there
  const Tensor ratio = schedule->log_snr(times);
  const Tensor rises = (ratio.narrow(0, 1, count - 1) < ratio.narrow(0, 0, count - 1)).logical_not().nonzero();
  if (rises.size(0) > 0) {
    component.fail(text("the signal-to-noise ratio does not fall from t = ",
                        number(times[rises[0][0].item<std::int64_t>()].item<double>()), " to ",
                        number(times[rises[0][0].item<std::int64_t>() + 1].item<double>())));
  }
  const Tensor at_clean = at::full({}, clean, at::kDouble);
  for (const auto& [name, value, expected] :
       {std::tuple("alpha", schedule->alpha(at_clean), 1.0), std::tuple("sigma", schedule->sigma(at_clean), 0.0)}) {
    if (std::abs(value.item<double>() - expected) <= kCleanTolerance) continue;
    component.fail(text(name, " is ", number(value.item<double>()), " at the clean image, t = ", number(clean),
                        "; expected ", number(expected)));
  }
  check_derived(component, *schedule, times);
  return schedule;
}

std::shared_ptr<Dataset> checked_dataset(const Component<Dataset>& component) {
  constexpr std::int64_t kMostNumbers = std::int64_t{1} << 31;  // in one image
  constexpr std::int64_t kMostClasses = 10'000'000;
  auto dataset = std::make_shared<AttributedDataset>(component);
  const std::int64_t classes = dataset->num_classes();
  if (classes < 0 || classes > kMostClasses) {
    component.fail(text("num_classes() is ", classes, "; expected 0 to ", kMostClasses));
  }
  std::set<std::string> names;
  for (const ExtraInfo& extra : dataset->extras()) {
    const std::string what = text("the extra ", quoted(extra.name), " of extras() ");
    if (!is_plain(extra.name))
      component.fail(what + "has a name with characters other than letters, digits, '_' and '-'");
    if (!names.insert(extra.name).second) component.fail(what + "appears twice");
    if (extra.is_image && (extra.is_integer || extra.shape.size() != 3)) {
      component.fail(what + "is an image without [C, H, W] of float32");
    }
    std::int64_t count = 1;
    for (const std::int64_t side : extra.shape) {
      if (side < 1 || count > kMostNumbers / side) {
        component.fail(text(what, "has the shape ", at::IntArrayRef(extra.shape),
                            "; expected sides of at least 1, and ", "no more than ", kMostNumbers,
                            " numbers for an image"));
      }
      count *= side;
    }
  }
  return dataset;
}

std::vector<SampleStep> checked_plan(const Component<Sampler>& sampler, const TimeRange& times) {
  std::vector<SampleStep> plan = sampler.call(&Sampler::plan);
  if (plan.empty()) sampler.fail("plan() is empty; expected at least one step");
  const double low = std::min(times.first, times.last);
  const double high = std::max(times.first, times.last);
  const auto is_inside = [&](double t) { return t >= low && t <= high; };
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const auto [t, t_next, needs_noise] = plan[i];
    if (is_inside(t) && (is_inside(t_next) || t_next == times.clean)) continue;
    sampler.fail(text("step ", i, " of plan() leads from t = ", t, " to ", t_next, "; expected ", low, " to ", high,
                      ", and ", times.clean, " for the clean image"));
  }
  if (plan.back().t_next != times.clean) {
    sampler.fail(text("plan() does not end at the clean image: its last t_next must be ", times.clean));
  }
  return plan;
}

double checked_initial_scale(const Component<Sampler>& sampler) {
  const double scale = sampler.call(&Sampler::initial_scale);
  if (!std::isfinite(scale) || scale <= 0) {
    sampler.fail(text("initial_scale is ", scale, "; expected a positive number"));
  }
  return scale;
}

void check_beginning(const Component<Sampler>& sampler, const NoiseScheduler& schedule, const ImageShape& image) {
  const at::NoGradGuard no_grad;
  const NoiseLevel level = schedule.level(sampler.call(&Sampler::plan).front().t);
  Tensor noise =
      at::empty({1, image.channels, image.height, image.width}).normal_(0, 1, make_generator(derive_seed(0, "noise")));
  noise *= checked_initial_scale(sampler) / noise.square().mean().sqrt();
  sampler.call(&Sampler::start);
  const Tensor input =
      checked_images(sampler, sampler.call(&Sampler::model_input, noise, std::size_t{0}), noise, "model_input()");
  const double deviation = input.square().mean().sqrt().item<double>();
  if (may_have(level, deviation)) return;
  sampler.fail(text("it begins at t = ", number(level.t), " with images of the standard deviation ", number(deviation),
                    ", after initial_scale() and model_input(); there they have ", deviations(level)));
}

}  // namespace casdm
