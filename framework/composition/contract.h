#pragma once

#include <vector>

#include "casdm/augmentation.h"
#include "casdm/cascade_head.h"
#include "casdm/dataset.h"
#include "casdm/sampler.h"
#include "framework/loading/component.h"

namespace casdm {

/// What components return is checked where it enters the host: shape, type and device, and that numbers are finite
/// where the interface promises it. Each function throws PluginError, attributed to the component, with what was
/// returned and what was expected.

/// The head's modules, as AttributedModule; each belongs to its own table below the head's, where it has one.
std::vector<NamedModule> checked_modules(const Component<CascadeHead>& head);

/// @param x_t  what the head was given, [B, C, H, W]
void check_estimate(const Component<CascadeHead>& head, const Estimate& estimate, const Tensor& x_t);

/// @param batch  what the head was given
void check_losses(const Component<CascadeHead>& head, const Losses& losses, const TrainingBatch& batch,
                  const std::vector<NamedModule>& modules);

/// The path, as AttributedSchedule: its times go one way, alpha and sigma are finite there, and their ratio falls.
std::shared_ptr<const NoiseScheduler> checked_schedule(const Component<NoiseScheduler>& schedule);

/// The data set, as AttributedDataset: not fewer than no classes, and extras with names and shapes that arrays can
/// have.
std::shared_ptr<Dataset> checked_dataset(const Component<Dataset>& dataset);

/// The sampler's plan and scale.
std::vector<SampleStep> checked_plan(const Component<Sampler>& sampler, const TimeRange& times);
double checked_initial_scale(const Component<Sampler>& sampler);

/// What is wrong with `images`, which should be like `like`; empty when nothing is.
std::string difference(const Tensor& images, const Tensor& like);

/// `images`, which `method` of the component returned for `like`: of the same shape, type and device.
template <class K>
Tensor checked_images(const Component<K>& component, Tensor images, const Tensor& like, const char* method) {
  const std::string problem = difference(images, like);
  if (!problem.empty()) component.fail(std::string(method) + " returned " + problem);
  return images;
}

}  // namespace casdm
