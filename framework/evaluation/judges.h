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

/// A feature extractor with one of its features, by which images are judged.
struct Judge {
  std::string name;
  std::size_t network = 0;  ///< shared by judges with the same extractor
  FeatureInfo feature;
  ExtractorInfo info;
  Value extractor;    ///< a table that identifies it: component, options, feature, resize, SHA-256 of its weights
  std::string build;  ///< of the extractor's plugin
};

/// A set metric on the features of a judge.
struct JudgeMetric {
  std::size_t judge = 0;
  Component<SetMetric> metric;
  SetMetricInfo info;
  Value identity;                        ///< a table: component and options
  std::string build;                     ///< of the metric's plugin
  std::vector<std::string> score_names;  ///< "<judge>.<score>", in the order of `info.scores`

  /// The metric, if it needs only moments; null: it needs more.
  const MomentsMetric* of_moments() const { return dynamic_cast<const MomentsMetric*>(metric.object().get()); }
};

/// Calls of a MomentsMetric. They throw PluginError if what it returns is not as its interface says, or if it changes
/// what it is given.
Moments moments_of(const JudgeMetric& metric, const NamedTensors& state);
NamedTensors state_of(const JudgeMetric& metric, const Moments& moments);

/// The state of a set of images: one entry for each metric.
struct SetState {
  std::int64_t images = 0;
  std::vector<NamedTensors> metrics;  ///< in the order of Judges::metrics; empty where the reference has none
};

/// A score and what it belongs to.
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
  /// Creates the extractors, on `device`, and the metrics. `options` is resolved; if there are no judges, or a judge
  /// has no metrics, the recommended components are used. Throws ConfigError if one cannot be used or a name occurs
  /// twice; Error if weights are missing.
  /// @param image  the shape of the images that will be judged
  Judges(const EvaluateOptions& options, const PluginHost& host, const ImageShape& image, c10::Device device);

  /// A single extractor of type `type`, with its defaults and its first feature, and without metrics. For messages,
  /// `where` says what chose it: "--nearest-by".
  Judges(const std::string& type, const std::string& where, const PluginHost& host, const ImageShape& image,
         c10::Device device);

  const std::vector<Judge>& judges() const { return judges_; }
  const std::vector<JudgeMetric>& metrics() const { return metrics_; }
  const ImageShape& image() const { return image_; }

  /// The network of a judge, for comparison with others.
  const FeatureExtractor& network(const Judge& judge) const { return *networks_[judge.network].extractor.object(); }

  /// Everything that decides the contents of states, for fingerprints.
  Value identity() const;

  SetState start() const;

  /// The features of images in one judge, as `update` takes them: [B, D], or [B, D, h, w] for a spatial feature. Throws
  /// PluginError if they are not as the extractor declares, or not finite.
  /// @param first  index of the first image, for messages
  Tensor features_of(std::size_t judge, const Tensor& images, std::int64_t first) const;

  /// Adds images to a set. Each call processes one batch, so equal batches give equal bits.
  /// @param images  uint8 [B, C, H, W], or floating point in [-1, 1]; on the CPU
  /// @param first   index of the first image in the set
  /// @param wanted  which metrics; empty: all
  void update(SetState& set, const Tensor& images, std::int64_t first, const std::vector<bool>& wanted = {}) const;

  /// Throws ConfigError if a set has fewer images than a metric needs.
  /// @param reference_num  0: unknown
  void require_enough(std::int64_t num, std::int64_t reference_num) const;

  /// The scores of all metrics for which the reference has a state. Throws PluginError if they are not the ones that
  /// the metric declares.
  std::vector<JudgedScore> compare(const SetState& generated, const SetState& reference) const;

  /// Whether lower values of the score `name` are better. If there is no such score, throws ConfigError with the names
  /// that exist.
  bool is_lower_better(const std::string& name) const;

 private:
  struct Network {
    Component<FeatureExtractor> extractor;
    ExtractorInfo info;
    Value table;                        ///< its own options
    std::vector<std::string> features;  ///< used by judges
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
