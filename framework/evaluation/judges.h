#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "casdm/feature_extractor.h"
#include "casdm/moments_metric.h"
#include "casdm/set_metric.h"
#include "framework/config/evaluate_options.h"
#include "framework/loading/plugin_host.h"

namespace casdm {

/// A feature extractor with one of its features: who judges images.
struct Judge {
  std::string name;
  std::size_t network = 0;  ///< judges of one extractor share it
  FeatureInfo feature;
  ExtractorInfo info;
  Value extractor;  ///< a table that identifies it: component, options, feature, resize, SHA-256 of its weights
};

/// A set metric on the features of a judge.
struct JudgeMetric {
  std::size_t judge = 0;
  Component<SetMetric> metric;
  SetMetricInfo info;
  Value identity;                        ///< a table: component and options
  std::vector<std::string> score_names;  ///< "<judge>.<score>", in the order of `info.scores`

  /// The metric as one that needs nothing but moments; null: it needs more.
  const MomentsMetric* of_moments() const { return dynamic_cast<const MomentsMetric*>(metric.object().get()); }
};

/// A set of images as it was judged: a state for each metric.
struct SetState {
  std::int64_t images = 0;
  std::vector<NamedTensors> metrics;  ///< in the order of Judges::metrics; empty: the reference has none for it
};

/// A score with what it is of.
struct JudgedScore {
  std::string name;
  std::size_t metric = 0;
  double value = 0;
  std::optional<double> standard_error;
  bool is_lower_better = true;
};

/// The [[evaluate.judges]] of an experiment.
class Judges {
 public:
  /// Makes the extractors, on `device`, and the metrics. `options` is resolved; without judges, or without metrics of a
  /// judge, the recommended components are taken. Throws ConfigError when one cannot be used or names come twice;
  /// Error when weights are missing.
  /// @param image  of the images that will be judged
  Judges(const EvaluateOptions& options, const PluginHost& host, const ImageShape& image, c10::Device device);

  /// One extractor of the type `type`, with its defaults and its first feature, and without metrics. `where` has chosen
  /// it, for messages: "--nearest-by".
  Judges(const std::string& type, const std::string& where, const PluginHost& host, const ImageShape& image,
         c10::Device device);

  const std::vector<Judge>& judges() const { return judges_; }
  const std::vector<JudgeMetric>& metrics() const { return metrics_; }
  const ImageShape& image() const { return image_; }

  /// The networks of the judges, for comparison with others.
  const FeatureExtractor& network(const Judge& judge) const { return *networks_[judge.network].extractor.object(); }

  /// All that decides what states hold, for fingerprints.
  Value identity() const;

  SetState start() const;

  /// The feature of a judge of images as `update` takes them: [B, D], or [B, D, h, w] of a spatial one. Throws
  /// PluginError when it is not what the extractor declares, or not finite.
  /// @param first  number of the first image, for messages
  Tensor features_of(std::size_t judge, const Tensor& images, std::int64_t first) const;

  /// Adds images to a set. A call sees one batch of the extractor, so equal batches make equal bits.
  /// @param images  uint8 [B, C, H, W], or floating point in [-1, 1]; on the CPU
  /// @param first   number of the first one in the set
  /// @param wanted  which metrics; empty: all
  void update(SetState& set, const Tensor& images, std::int64_t first, const std::vector<bool>& wanted = {}) const;

  /// Throws ConfigError when a set has fewer images than a metric needs.
  /// @param reference_num  0: not known
  void require_enough(std::int64_t num, std::int64_t reference_num) const;

  /// The scores of all metrics for which the reference has a state. Throws PluginError when they are not those that the
  /// metric declares.
  std::vector<JudgedScore> compare(const SetState& generated, const SetState& reference) const;

  /// Whether lower values of the score `name` are better. Throws ConfigError with the names that there are.
  bool is_lower_better(const std::string& name) const;

 private:
  struct Network {
    Component<FeatureExtractor> extractor;
    Value table;                        ///< its own options
    std::vector<std::string> features;  ///< that judges look at
  };

  void add_judge(const JudgeOptions& options, const PluginHost& host, c10::Device device);
  std::size_t network_for(const JudgeOptions& options, const PluginHost& host, c10::Device device);
  void add_metric(const SetMetricOptions& options, const PluginHost& host);
  NamedTensors features(const Network& network, const Tensor& images) const;
  Tensor checked_feature(const Judge& judge, const NamedTensors& found, std::int64_t count, std::int64_t first) const;

  ImageShape image_;
  std::vector<Network> networks_;
  std::vector<Judge> judges_;
  std::vector<JudgeMetric> metrics_;
  c10::Device device_;
};

}  // namespace casdm
