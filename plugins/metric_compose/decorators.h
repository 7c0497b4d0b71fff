#pragma once

#include <memory>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/metric_loss.h"
#include "casdm/options.h"

/// Metrics made of other metrics; they nest.
namespace casdm::metric_compose {

struct SumTerm {
  ComponentConfig metric;
  double weight = 1.0;

  static void describe(Schema<SumTerm>& s);
};

struct SumOptions {
  std::vector<SumTerm> terms;

  static void describe(Schema<SumOptions>& s);
};

/// A metric whose parts get the noise level, the labels and the step as if each were used alone.
class ContextMetric : public MetricLoss {
 public:
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) final {
    return distance_in(prediction, target, {});
  }
};

/// sum_i weight_i d_i(x, y), for terms that only make sense together; metrics whose curves should be recorded
/// separately are better listed separately in the experiment. If a term compares the batch as a whole, so does the sum,
/// and it uses the means of the other terms.
class SumLoss : public ContextMetric {
 public:
  using Options = SumOptions;
  SumLoss(const Options& options, const Spec& spec);
  NamedTensors parameters() const override;
  NamedTensors buffers() const override;
  void train(bool on) override;
  MetricInfo info() const override { return info_; }
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override;

 private:
  struct Term {
    std::shared_ptr<MetricLoss> metric;
    double weight = 1.0;
    std::size_t prepared = 0;  ///< number of tensors its `prepare` returns
  };
  std::vector<Term> terms_;
  MetricInfo info_;
};

/// A metric that passes modified images to another metric.
class Decorator : public ContextMetric {
 public:
  NamedTensors parameters() const override;
  NamedTensors buffers() const override;
  void train(bool on) override { metric_->train(on); }

 protected:
  /// Creates the metric that `config` chooses, for images of `image_size`. Throws ConfigError if its minimum size is
  /// larger.
  Decorator(const ComponentConfig& config, Spec spec, std::int64_t image_size);

  std::shared_ptr<MetricLoss> metric_;
};

enum class Interpolation { bilinear, bicubic, area };

constexpr auto choices_of(Interpolation) {
  using enum Interpolation;
  return choices<Interpolation>({{bilinear, "bilinear"}, {bicubic, "bicubic"}, {area, "area"}});
}

struct ResizedOptions {
  ComponentConfig metric;
  std::int64_t size = 0;
  Interpolation mode = Interpolation::bilinear;

  static void describe(Schema<ResizedOptions>& s);
};

/// The metric of both images resized to size x size, with antialiasing when they shrink.
class ResizedLoss : public Decorator {
 public:
  using Options = ResizedOptions;
  ResizedLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override;
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override;

 private:
  Tensor resized(const Tensor& images) const;

  std::int64_t size_;
  Interpolation mode_;
};

struct PatchOptions {
  ComponentConfig metric;
  std::int64_t size = 0;
  std::int64_t stride = 0;

  static void describe(Schema<PatchOptions>& s);
};

/// The mean of the metric over square patches on a grid; the last patch of each row and column is flush with the edge,
/// so every pixel counts. A metric that compares the batch as a whole compares all patches of all images.
class PatchLoss : public Decorator {
 public:
  using Options = PatchOptions;
  PatchLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override;
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override;

 private:
  /// [B, C, H, W] -> [B * patches, C, size, size], with the patches of each image in sequence
  Tensor patches(const Tensor& images) const;

  std::int64_t size_;
  std::int64_t stride_;
};

}  // namespace casdm::metric_compose
