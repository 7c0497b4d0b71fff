#pragma once

#include <vector>

#include "casdm/augmentation.h"
#include "casdm/cascade_head.h"
#include "casdm/dataset.h"
#include "casdm/sampler.h"
#include "framework/loading/component.h"

namespace casdm {

/// Results of components are checked where they enter the host: shape, type and device, and that numbers are finite if
/// the interface promises it. Each function throws PluginError, attributed to the component, with what was returned and
/// what was expected.

/// The head's modules, as AttributedModule; each belongs to its own table below the head's, if there is one.
std::vector<NamedModule> checked_modules(const Component<CascadeHead>& head);

/// @param x_t  the head's input, [B, C, H, W]
void check_estimate(const Component<CascadeHead>& head, const Estimate& estimate, const Tensor& x_t);

/// @param batch  the head's input
void check_losses(const Component<CascadeHead>& head, const Losses& losses, const TrainingBatch& batch,
                  const std::vector<NamedModule>& modules);

/// The path, as AttributedSchedule: its times must be monotonic, alpha and sigma finite, and their ratio must decrease;
/// `previous`, `prior_std` and what networks get must agree with them.
std::shared_ptr<const NoiseScheduler> checked_schedule(const Component<NoiseScheduler>& schedule);

/// The data set, as AttributedDataset: the number of classes must not be negative, and extras must have names and
/// shapes that arrays can have.
std::shared_ptr<Dataset> checked_dataset(const Component<Dataset>& dataset);

/// The sampler's plan, after checking it and the initial scale.
std::vector<SampleStep> checked_plan(const Component<Sampler>& sampler, const TimeRange& times);
double checked_initial_scale(const Component<Sampler>& sampler);

/// The first input of the model must be as large as images of that noise are, up to a factor of 1.5.
void check_beginning(const Component<Sampler>& sampler, const NoiseScheduler& schedule, const ImageShape& image);

/// What is wrong with `images`, which should be like `like`; empty: nothing.
std::string difference(const Tensor& images, const Tensor& like);

/// Returns `images`, the result of the component's `method` for `like`; they must have the same shape, type and device.
template <class K>
Tensor checked_images(const Component<K>& component, Tensor images, const Tensor& like, const char* method) {
  const std::string problem = difference(images, like);
  if (!problem.empty()) component.fail(std::string(method) + " returned " + problem);
  return images;
}

}  // namespace casdm
