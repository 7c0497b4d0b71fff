#include "framework/cost/estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>
#include <set>

#include "casdm/text.h"
#include "framework/cost/trial.h"
#include "framework/data/image_cache.h"
#include "framework/support/memory.h"
#include "framework/training/checkpoint_writer.h"

namespace casdm {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kFewestTimed = 3;
constexpr std::size_t kMostTimed = 40;  // enough for a network of milliseconds
constexpr double kTimed = 2;            // seconds that are enough for all others
constexpr std::int64_t kMostMetered = 4;
constexpr double kMoment = 1;            // seconds after which the user is told
constexpr double kShareOfMachine = 0.6;  // of its memory that a trial may use

/// Bytes of the storages of tensors, each counted once.
class Bytes {
 public:
  std::int64_t of(const NamedTensors& tensors) {
    std::int64_t sum = 0;
    for (const auto& [name, tensor] : tensors) {
      if (!tensor.defined() || !tensor.has_storage() || !seen_.insert(tensor.storage().data()).second) continue;
      sum += static_cast<std::int64_t>(tensor.storage().nbytes());
    }
    return sum;
  }

 private:
  std::set<const void*> seen_;
};

std::int64_t peak_of_process() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

/// What stays in memory between steps.
MemoryCost lasting(const TrainingParts& parts, const DataOptions& data) {
  MemoryCost memory;
  Bytes bytes;
  for (const ModuleState& module : parts.state.modules) {
    const std::int64_t flat = bytes.of({{"", module.gradients()}});
    memory.gradients += flat;
    const NamedTensors weights = module.weights();
    memory.weights += bytes.of(weights);
    for (std::size_t i = 0; i < module.rules().size(); ++i) memory.averages += bytes.of(module.average(i));
    memory.optimizer += bytes.of(module.optimizer_state());
  }
  for (const auto& [name, tensors] : parts.metrics.constants()) memory.metrics += bytes.of(tensors);
  memory.metrics += bytes.of(parts.metrics.state());
  const double images = static_cast<double>(parts.dataset->size() * data.channels * data.image_size * data.image_size);
  const bool is_plain = !parts.dataset->is_floating_point() && parts.dataset->extras().empty();
  const bool is_cached = data.cache == CacheMode::always ||
                         (data.cache == CacheMode::automatic && images < static_cast<double>(kMostCachedBytes));
  if (is_plain && is_cached) memory.images = static_cast<std::int64_t>(images);
  return memory;
}

/// Bytes of the copies of what a training writes in the background at the same time: a checkpoint and snapshots.
std::int64_t copied_bytes(const TrainingParts& parts) {
  if (!writes_in_background(parts.options.checkpoint.in_background, parts.device.device)) return 0;
  CheckpointContent checkpoint = parts.state.content();
  std::uint64_t bytes = bytes_of(tensors_of(checkpoint));
  if (parts.options.ema.snapshot_every_images > 0) {
    std::vector<SnapshotContent> snapshots = snapshots_of(parts.state.modules, parts.state.images());
    bytes += bytes_of(tensors_of(snapshots));
  }
  return static_cast<std::int64_t>(bytes);
}

/// The measurements with one number of images.
struct Measured {
  std::int64_t images = 0;
  std::vector<double> seconds;
  std::vector<PartUsage> usage;  ///< of an average step; bytes of the largest
  std::int64_t peak_bytes = 0;
  std::int64_t peak_of_process = 0;

  double mean() const {
    return std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
  }
};

class Measurement {
 public:
  Measurement(const LoadedExperiment& experiment, double longest, const std::function<void(const std::string&)>& say)
      : trial_(experiment), options_(experiment.options), longest_(longest), say_(say) {
    for (const MetricOptions& metric : options_.metrics) cycle_ = std::max(cycle_, metric.every);
    cycle_ = std::min(cycle_, kMostMetered * 2);
  }

  const TrainingParts& parts() const { return trial_.parts(); }

  /// With the images of a part, if there is time; else a batch that leaves time for another, and the largest one that
  /// the rest of the time allows.
  std::vector<Measured> run(std::int64_t part_images, std::int64_t lasting_bytes) {
    trial_.try_sampling();
    double one = step(1);
    if (one < kMoment) one = step(1);
    const std::int64_t by_memory = most_by_memory(lasting_bytes, part_images);
    const std::int64_t at_once = std::min(by_memory, most_by_time(one));
    if (at_once >= part_images || at_once < 4) return {measured(std::min(at_once, part_images), /*is_last=*/true)};
    std::vector<Measured> result{measured(at_once / 4, /*is_last=*/false)};
    const std::int64_t small = result.front().images;
    const std::int64_t large = std::min(by_memory, most_by_time(result.front().mean() / static_cast<double>(small)));
    result.push_back(measured(std::clamp(large, small + 1, part_images), /*is_last=*/true));
    return result;
  }

 private:
  std::int64_t most_by_memory(std::int64_t lasting_bytes, std::int64_t part_images) {
    if (!parts().device.device.is_cpu()) return part_images;
    const std::int64_t each = std::max<std::int64_t>(1, trial_.metered_step(1, options_.run.precision).peak_bytes);
    const double room = kShareOfMachine * static_cast<double>(memory_of_machine()) - static_cast<double>(lasting_bytes);
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(room) / each);
  }

  /// @param image  seconds that a step takes for each image
  std::int64_t most_by_time(double image) const {
    const auto steps = static_cast<double>(1 + metered_steps() + kFewestTimed);
    return std::max<std::int64_t>(1, static_cast<std::int64_t>((longest_ - passed()) / (steps * image)));
  }

  /// Several steps, since which images a metric acts on, and in which steps, may depend on draws.
  std::int64_t metered_steps() const { return options_.metrics.empty() ? 1 : std::max(cycle_, kMostMetered); }

  double passed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  bool is_late() const { return passed() > longest_; }

  double step(std::int64_t images) {
    const double seconds = trial_.step(images, options_.run.precision);
    if (!has_said_ && passed() > kMoment) {
      has_said_ = true;
      say_(text("measuring the cost of a step: up to ", std::lround(longest_), " s"));
    }
    return seconds;
  }

  Measured measured(std::int64_t images, bool is_last) {
    Measured result;
    result.images = images;
    if (!is_late()) step(images);
    meter(result);
    const auto least = static_cast<std::size_t>(is_last ? std::max(kFewestTimed, cycle_) : kFewestTimed - 1);
    const double begin = passed();
    while (result.seconds.empty() || (!is_late() && result.seconds.size() < kMostTimed &&
                                      (result.seconds.size() < least || (is_last && passed() - begin < kTimed)))) {
      result.seconds.push_back(step(images));
    }
    result.peak_of_process = peak_of_process();
    return result;
  }

  void meter(Measured& result) {
    const std::int64_t wanted = metered_steps();
    std::map<std::string, PartUsage> sums;
    std::vector<std::string> order;
    std::int64_t steps = 0;
    for (; steps < wanted && (steps == 0 || !is_late()); ++steps) {
      const Trial::Usage usage = trial_.metered_step(result.images, options_.run.precision);
      const bool is_largest = usage.peak_bytes > result.peak_bytes;
      result.peak_bytes = std::max(result.peak_bytes, usage.peak_bytes);
      if (is_largest)
        for (auto& [name, part] : sums) part.bytes = 0;
      for (const PartUsage& part : usage.parts) {
        if (!sums.contains(part.part)) order.push_back(part.part);
        PartUsage& sum = sums[part.part];
        sum.part = part.part;
        sum.forward += part.forward;
        sum.backward += part.backward;
        if (is_largest) sum.bytes = part.bytes;
      }
    }
    for (const std::string& name : order) {
      PartUsage part = sums[name];
      part.forward /= steps;
      part.backward /= steps;
      result.usage.push_back(part);
    }
  }

  Trial trial_;
  const Experiment& options_;
  double longest_;
  const std::function<void(const std::string&)>& say_;
  std::int64_t cycle_ = 1;
  Clock::time_point start_ = Clock::now();
  bool has_said_ = false;
};

const PartUsage* find(const std::vector<PartUsage>& usage, const std::string& part) {
  const auto found = std::find_if(usage.begin(), usage.end(), [&](const PartUsage& u) { return u.part == part; });
  return found == usage.end() ? nullptr : &*found;
}

/// The usage of a part of `images` images. Products grow with the images, unless their number is the same for both
/// batches, as in an update of weights.
std::vector<PartUsage> usage_at(const std::vector<Measured>& measured, std::int64_t images) {
  const Measured &small = measured.front(), &large = measured.back();
  const auto to = static_cast<double>(images), x1 = static_cast<double>(small.images);
  const auto x2 = static_cast<double>(large.images);
  std::vector<PartUsage> result;
  for (const PartUsage& part : large.usage) {
    const PartUsage* other = find(small.usage, part.part);
    const PartUsage less = other != nullptr ? *other : PartUsage{};
    const auto products = [&](std::int64_t at_small, std::int64_t at_large) {
      const bool is_constant = x1 < x2 && at_small == at_large;
      return is_constant ? at_large : std::llround(static_cast<double>(at_large) * to / x2);
    };
    const auto bytes = extrapolated(x1, static_cast<double>(less.bytes), x2, static_cast<double>(part.bytes), to);
    result.push_back(
        {part.part, products(less.forward, part.forward), products(less.backward, part.backward), std::llround(bytes)});
  }
  return result;
}

/// What a process used beside the tensors that are known. It grows with the batch, too: kernels have buffers, and the
/// heap has gaps.
void fill_memory(CostEstimate& cost, const std::vector<Measured>& measured) {
  MemoryCost known = cost.memory;
  for (const PartUsage& part : cost.usage) cost.memory.activations += part.bytes;
  if (!cost.is_on_cpu()) return;
  known.images = 0;
  const auto rest = [&](const Measured& of) {
    return static_cast<double>(std::max<std::int64_t>(0, of.peak_of_process - known.total() - of.peak_bytes));
  };
  const Measured &small = measured.front(), &large = measured.back();
  const double least = rest(large);
  const double grown = small.images == large.images ? least
                                                    : extrapolated(static_cast<double>(small.images), rest(small),
                                                                   static_cast<double>(large.images), least,
                                                                   static_cast<double>(cost.part_images));
  cost.memory.program = std::llround(std::max(least, grown));
}

void fill_time(CostEstimate& cost, const std::vector<Measured>& measured) {
  const Measured &small = measured.front(), &large = measured.back();
  const double part = extrapolated(static_cast<double>(small.images), small.mean(), static_cast<double>(large.images),
                                   large.mean(), static_cast<double>(cost.part_images));
  cost.time.step = part * static_cast<double>(cost.parts);
  const auto [shortest, longest] = std::minmax_element(large.seconds.begin(), large.seconds.end());
  cost.time.shortest = *shortest;
  cost.time.longest = *longest;
  cost.time.total = cost.time.step * static_cast<double>(cost.steps);
  cost.measured_steps = static_cast<std::int64_t>(large.seconds.size());
  cost.measured_images = large.images;
}

}  // namespace

double extrapolated(double x1, double y1, double x2, double y2, double to) {
  if (to == x2) return y2;
  const double slope = x1 == x2 ? y2 / x2 : (y2 - y1) / (x2 - x1);
  return std::max(0.0, y2 + slope * (to - x2));
}

CostEstimate estimate_cost(const LoadedExperiment& experiment, double longest,
                           const std::function<void(const std::string&)>& say) {
  const Experiment& options = experiment.options;
  Measurement measurement(experiment, longest, say);
  const TrainingParts& parts = measurement.parts();
  CostEstimate cost;
  cost.batch_size = options.train.batch_size;
  cost.parts = parts.share.parts;
  cost.part_images = parts.share.count / parts.share.parts;
  cost.is_sharded = options.train.shard_optimizer;
  cost.device = parts.device.description;
  cost.threads = parts.threads.describe();
  cost.precision = options.run.precision;
  cost.steps = (options.train.total_images + options.train.batch_size - 1) / options.train.batch_size;
  for (const NamedModule& module : parts.model.modules) {
    ModuleSize& size = cost.modules.emplace_back(ModuleSize{module.name});
    for (const auto& [name, parameter] : module.module->parameters()) size.parameters += parameter.numel();
  }
  cost.memory = lasting(parts, options.data);
  const std::vector<Measured> measured = measurement.run(cost.part_images, cost.memory.total());
  cost.usage = usage_at(measured, cost.part_images);
  fill_memory(cost, measured);
  (cost.is_on_cpu() ? cost.memory.checkpoint : cost.checkpoint_on_host) = copied_bytes(parts);
  for (PartUsage& part : cost.usage) {
    part.forward *= cost.parts;
    part.backward *= cost.parts;
  }
  fill_time(cost, measured);
  return cost;
}

}  // namespace casdm
