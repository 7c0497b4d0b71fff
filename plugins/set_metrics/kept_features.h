#pragma once

#include "casdm/set_metric.h"

namespace casdm::set_metrics {

/// The features of at most `limit` images of a set, in float32: those with the smallest hashes of seed and index, so
/// that order, batches and processes do not matter.
class KeptFeatures {
 public:
  KeptFeatures(std::int64_t limit, std::int64_t dimension, std::uint64_t seed)
      : limit_(limit), dimension_(dimension), seed_(seed) {}

  std::int64_t limit() const { return limit_; }

  /// The features of no images, as tensors of a state.
  NamedTensors none() const;

  /// @param rows  [B, D], of the images `images`
  void add(NamedTensors& state, const Tensor& rows, const std::vector<std::int64_t>& images) const;
  void merge(NamedTensors& state, const NamedTensors& other) const;

  /// [n, D], n <= limit, in the order of the hashes, so any part of them is a random sample.
  static Tensor of(const NamedTensors& state);

 private:
  void insert(NamedTensors& state, const Tensor& ranks, const Tensor& rows) const;

  std::int64_t limit_, dimension_;
  std::uint64_t seed_;
};

/// A set metric whose state consists of the features of some of the images.
class KeepsFeatures : public SetMetric {
 public:
  NamedTensors start() const override { return kept_.none(); }
  void update(NamedTensors& state, const FeatureBatch& batch) const override {
    kept_.add(state, batch.features, batch.images);
  }
  void merge(NamedTensors& state, const NamedTensors& other) const override { kept_.merge(state, other); }

 protected:
  /// Throws ConfigError for spatial features.
  KeepsFeatures(const Spec& spec, std::int64_t images);

  KeptFeatures kept_;
};

}  // namespace casdm::set_metrics
