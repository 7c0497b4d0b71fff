#include "framework/training/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "casdm/error.h"

namespace casdm {

namespace {

/// A line from 1 down to `end` as `part` goes from 0 to 1.
double line(double part, double end) { return end + (1 - end) * (1 - std::clamp(part, 0.0, 1.0)); }

/// How much of the time after the warm-up has passed, as a fraction.
double part_after(double warmup, double seen, double total) { return (seen - warmup) / std::max(1.0, total - warmup); }

double constant(const OptimizerOptions&, double, double) { return 1; }

double linear(const OptimizerOptions& o, double seen, double total) {
  return line(part_after(static_cast<double>(o.warmup_images), seen, total), o.final_fraction);
}

double cosine(const OptimizerOptions& o, double seen, double total) {
  const double part = std::clamp(part_after(static_cast<double>(o.warmup_images), seen, total), 0.0, 1.0);
  return o.final_fraction + (1 - o.final_fraction) * (0.5 * (1 + std::cos(std::numbers::pi * part)));
}

double inverse_sqrt(const OptimizerOptions& o, double seen, double) {
  const auto from = static_cast<double>(o.reference_images > 0 ? o.reference_images : o.warmup_images);
  return 1 / std::sqrt(std::max(1.0, seen / from));
}

double warmup_stable_decay(const OptimizerOptions& o, double seen, double total) {
  const double length = o.decay_images > 0 ? static_cast<double>(o.decay_images) : total / 5;
  return line((seen - (total - length)) / length, o.final_fraction);
}

using Law = double (*)(const OptimizerOptions& options, double seen, double total);

Law law_of(RateSchedule schedule) {
  switch (schedule) {
    case RateSchedule::constant:
      return constant;
    case RateSchedule::linear:
      return linear;
    case RateSchedule::cosine:
      return cosine;
    case RateSchedule::inverse_sqrt:
      return inverse_sqrt;
    case RateSchedule::wsd:
      return warmup_stable_decay;
  }
  throw Error("there is no such learning-rate schedule");
}

}  // namespace

double learning_rate(const OptimizerOptions& options, std::int64_t images, std::int64_t total) {
  const auto warmup = static_cast<double>(options.warmup_images);
  const auto seen = static_cast<double>(images);
  const double rate = seen < warmup ? options.learning_rate * seen / warmup : options.learning_rate;
  return rate * law_of(options.schedule)(options, seen, static_cast<double>(total));
}

}  // namespace casdm
