#pragma once

#include <memory>
#include <string>
#include <vector>

#include "casdm/augmentation.h"
#include "casdm/cascade_head.h"
#include "casdm/dataset.h"
#include "casdm/noise_scheduler.h"
#include "casdm/sampler.h"
#include "framework/config/experiment.h"
#include "framework/loading/plugin_host.h"

namespace casdm {

/// An experiment file with everything resolved, and the host that makes its components.
struct LoadedExperiment {
  Value resolved;  ///< as written into the run folder
  Experiment options;
  std::shared_ptr<PluginHost> host;
};

/// Reads and validates an experiment; plugins are found, none is loaded.
/// @param plugin_files  of `--plugin`
LoadedExperiment load_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                                 const std::vector<std::filesystem::path>& plugin_files);

/// The same of a document already read.
/// @param schema  the keys it may have; by default those of an experiment
LoadedExperiment resolve_experiment(const Value& document, const std::vector<std::filesystem::path>& plugin_files,
                                    const OptionSchema& schema = schema_of<Experiment>());

/// The data set of an experiment; errors name its component. Throws ConfigError when it holds no image.
std::shared_ptr<Dataset> make_dataset(const LoadedExperiment& experiment);

/// The networks, on the CPU, and what they are used with.
struct Model {
  ImageShape image;
  std::shared_ptr<const NoiseScheduler> schedule;  ///< an AttributedSchedule, checked
  Component<CascadeHead> head;
  std::vector<NamedModule> modules;  ///< the head's, checked
  Component<Sampler> sampler;
  Component<Augmentation> augmentation;  ///< of the training images; none: false
  GuidanceOptions guidance;
  std::shared_ptr<const Dataset> conditions;  ///< whose extras images are conditioned on; null: it has none
  std::int64_t null_label = -1;               ///< the class that stands for "no label"; -1: the networks have none

  const Module& module(const std::string& name) const;
};

/// @param dataset      for its extras; null: there are none
/// @param num_classes  of the data set; used when the experiment conditions on labels, else 0. With
///                     data.label_dropout the networks have one class more.
/// Throws ConfigError when label dropout or guidance lacks what it needs.
Model make_model(const LoadedExperiment& experiment, std::int64_t num_classes,
                 std::shared_ptr<const Dataset> dataset = nullptr);

/// Moves every parameter and buffer of `module` in place.
void move_to(const Module& module, c10::Device device);

/// What a data set holds and what it leaves out, for people: "12 images, 3 classes; 38 other files left out (.webp)".
std::string describe(const Dataset& dataset);

/// A table of the head's modules and their sizes, for people.
std::string describe(const Model& model);

}  // namespace casdm
