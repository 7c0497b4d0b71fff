#include "framework/training/shared_drawing.h"

#include <utility>

#include "framework/data/extras.h"
#include "framework/sampling/draw_together.h"
#include "framework/training/averaged_weights.h"
#include "framework/training/signals.h"

namespace casdm {

bool SharedDrawing::is_cancelled() const { return was_cancelled_ || interrupted(); }

void SharedDrawing::set_up(GenerateOptions& options) const {
  options.channels = options_.data.channels;
  options.image_size = options_.data.image_size;
  options.device = device_;
  options.precision = options_.run.precision;
}

/// Undefined without labels.
Tensor SharedDrawing::labels(std::int64_t first, std::int64_t count) const {
  const std::int64_t classes = options_.data.use_labels ? state_.data().classes : 0;
  return classes > 0 ? labels_of_samples(model_.conditions.get(), classes, first, count) : Tensor();
}

void SharedDrawing::try_first_step() const {
  GenerateOptions options;
  set_up(options);
  options.labels = labels(options.first, options.count);
  casdm::try_first_step(model_, options);
}

Tensor SharedDrawing::drawn(const std::string& request, GenerateOptions options) {
  set_up(options);
  options.is_cancelled = [&] { return was_cancelled_ = world_.any(interrupted()); };
  AveragedWeights averaged(state_.modules);
  try {
    Tensor images = draw_together(model_, request, std::move(options), world_);
    averaged.put_back();
    return images;
  } catch (const SamplingCancelled&) {  // thrown in all processes
    averaged.put_back();
    throw;
  }
}

Tensor SharedDrawing::draw(GenerateOptions options) {
  options.labels = labels(options.first, options.count);
  const std::int64_t own = (options.count + world_.size() - 1) / world_.size();
  const std::string request = world_.take_from_first(drawing_request(options, own));
  return drawn(request, std::move(options));
}

void SharedDrawing::help(const std::string& request) {
  try {
    drawn(request, {});
  } catch (const SamplingCancelled&) {  // thrown in all processes; the first one handles it
  }
}

}  // namespace casdm
