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
#include "framework/config/resolve.h"
#include "framework/data/image_reader.h"
#include "framework/loading/plugin_host.h"

namespace casdm {

/// A resolved experiment file, and the host that creates its components.
struct LoadedExperiment {
  Value resolved;  ///< as written into the run folder
  Experiment options;
  std::shared_ptr<PluginHost> host;
};

/// Reads and validates an experiment; plugins are looked up, but not loaded.
/// @param plugin_files  given by `--plugin`
LoadedExperiment load_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                                 const std::vector<std::filesystem::path>& plugin_files);

/// The same for a document that has already been read.
/// @param schema  the allowed keys; by default those of an experiment
LoadedExperiment resolve_experiment(const Value& document, const std::vector<std::filesystem::path>& plugin_files,
                                    const OptionSchema& schema = schema_of<Experiment>(),
                                    Missing missing = Missing::refused);

/// The data set of an experiment; errors name its component. Throws ConfigError if it contains no image.
std::shared_ptr<Dataset> make_dataset(const LoadedExperiment& experiment);

/// The networks, on the CPU, and the components used with them.
struct Model {
  ImageShape image;
  std::shared_ptr<const NoiseScheduler> schedule;  ///< an AttributedSchedule, checked
  Component<CascadeHead> head;
  std::vector<NamedModule> modules;  ///< the head's, checked
  Component<Sampler> sampler;
  Component<Augmentation> augmentation;  ///< for the training images; none: converts to false
  GuidanceOptions guidance;
  std::shared_ptr<ImageReader> conditions;  ///< the images whose extras are conditions; null: there are no such extras
  std::int64_t null_label = -1;             ///< the class for "no label"; -1: the networks do not have one

  const Module& module(const std::string& name) const;
};

/// @param dataset      for its extras; null: there are none
/// @param num_classes  of the data set; used if the experiment conditions on labels, else 0. With
///                     data.label_dropout, the networks have one more class.
/// @param is_training  false: for `estimate` alone; see CascadeHead::Spec
/// Throws ConfigError if label dropout or guidance lacks what it needs.
Model make_model(const LoadedExperiment& experiment, std::int64_t num_classes,
                 std::shared_ptr<const Dataset> dataset = nullptr, bool is_training = true);

/// Moves every parameter and buffer of `module` in place.
void move_to(const Module& module, c10::Device device);

/// The contents of a data set and what it leaves out, for people: "12 images, 3 classes; 38 other files left out
/// (.webp)".
std::string describe(const Dataset& dataset);

/// The head's modules and their sizes, for people: "theta (1.14M parameters), phi (1.14M parameters, frozen)".
std::string describe(const Model& model);

}  // namespace casdm
