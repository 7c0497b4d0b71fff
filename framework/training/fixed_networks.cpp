#include "framework/training/fixed_networks.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>
#include <vector>

#include "casdm/feature_extractor.h"
#include "framework/config/components_of.h"

namespace casdm {

namespace {

constexpr std::int64_t kBlock = 1 << 14;  // elements, whose numbers stay in a processor's cache
constexpr std::int64_t kKept = 1 << 22;

/// Blocks of the direction along which tensors are measured. Those of the first kKept elements are computed once.
class Direction {
 public:
  Tensor block(std::int64_t first, std::int64_t length) {
    if (first + length > kKept) return computed(first, length);
    const std::lock_guard lock(mutex_);
    Tensor& kept = kept_[first / kBlock];
    if (!kept.defined()) kept = computed(first, kBlock);
    return kept.narrow(0, 0, length);
  }

 private:
  static Tensor computed(std::int64_t first, std::int64_t length) {
    return at::arange(first + 1, first + length + 1, at::kDouble).square_().mul_(0.37).sin_();
  }

  std::mutex mutex_;
  std::map<std::int64_t, Tensor> kept_;
};

struct Print {
  double direction = 0;  ///< the component along the direction, of the tensor divided by its length
  double length = 0;
};

Print print_of(const Tensor& tensor, Direction& direction) {
  const Tensor flat = tensor.detach().to(at::kCPU).flatten();
  const std::int64_t count = flat.numel(), blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> squares(static_cast<std::size_t>(blocks)), products(squares);
  at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first = i * kBlock, length = std::min(kBlock, count - first);
      const Tensor values = flat.narrow(0, first, length).to(at::kDouble);
      squares[static_cast<std::size_t>(i)] = values.dot(values).item<double>();
      products[static_cast<std::size_t>(i)] = values.dot(direction.block(first, length)).item<double>();
    }
  });
  const double length = std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
  return {length > 0 ? std::accumulate(products.begin(), products.end(), 0.0) / length : 0, length};
}

}  // namespace

Value metric_networks(const ExperimentMetrics& metrics) {
  Value result{Value::Table{}};
  Direction direction;
  for (const auto& [name, buffers] : metrics.constants()) {
    Value::Array directions, lengths;
    for (const auto& [buffer, tensor] : buffers) {
      const Print print = print_of(tensor, direction);
      directions.emplace_back(print.direction);
      lengths.emplace_back(print.length);
    }
    directions.insert(directions.end(), lengths.begin(), lengths.end());
    if (!directions.empty()) result.set("metric." + name, std::move(directions));
  }
  return result;
}

Value extractor_networks(const LoadedExperiment& experiment) {
  Value result{Value::Table{}};
  FeatureExtractor::Spec spec;
  const DataOptions& data = experiment.options.data;
  spec.image = ImageShape::square(data.channels, data.image_size);
  for (const auto& [key, table] : components_of(FeatureExtractor::kind, experiment.resolved, {"metrics", "evaluate"},
                                                experiment.host->catalog())) {
    const auto extractor = experiment.host->create<FeatureExtractor>({table->find("type")->as_string(), *table}, spec);
    const std::string weights = extractor.call(&FeatureExtractor::info).weights;
    if (!weights.empty()) result.set(key, weights);
  }
  return result;
}

}  // namespace casdm
