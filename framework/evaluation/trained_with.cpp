#include "framework/evaluation/trained_with.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <set>

#include "casdm/error.h"
#include "casdm/metric_loss.h"
#include "casdm/text.h"
#include "framework/config/components_of.h"
#include "framework/evaluation/gather.h"
#include "framework/support/component_name.h"
#include "framework/support/files.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

constexpr std::int64_t kLeastNumbers = 256;  // in a tensor that is large enough to identify a network

/// SHA-256 of the larger learned tensors of a network. A constant, or one filter repeated for every channel, is not
/// learned and also occurs in unrelated networks.
std::set<std::string> digests(const Module& module) {
  std::set<std::string> result;
  for (const auto& [name, tensor] : state(module)) {
    if (tensor.numel() < kLeastNumbers) continue;
    const Tensor values = tensor.detach().cpu().to(at::kFloat).contiguous();
    if (values.eq(values.flatten()[0]).all().item<bool>()) continue;
    if (values.size(0) > 1 && values.eq(values[0]).all().item<bool>()) continue;
    result.insert(sha256({static_cast<const char*>(values.data_ptr()), values.nbytes()}));
  }
  return result;
}

/// Creates the components that a run was trained with and compares their networks with the judges'.
class Comparison {
 public:
  Comparison(const Judges& judges, const LoadedExperiment& metrics, std::vector<std::string>& remarks)
      : judges_(judges),
        metrics_(metrics),
        remarks_(remarks),
        result_(judges.judges().size()),
        judging_(judges.judges().size()) {}

  void add_metrics(const std::vector<MetricOptions>& metrics, const std::string& when) {
    for (const MetricOptions& options : metrics) {
      if (options.weight == 0 || is_known(options.metric.table)) continue;
      const std::string name = options.name.empty() ? component_name(options.metric.type) : options.name;
      MetricLoss::Spec spec;
      const DataOptions& data = metrics_.options.data;
      spec.image = ImageShape::square(data.channels, options.resize > 0 ? options.resize : data.image_size);
      spec.factory = &metrics_.host->parts();
      compare(text("metric.", name, when), [&] {
        return std::static_pointer_cast<Module>(metrics_.host->create<MetricLoss>(options.metric, spec).object());
      });
    }
  }

  /// Adds the extractors in an experiment outside [[metrics]] and [evaluate].
  void add_extractors_of(const Value& experiment, const std::string& when) {
    const auto found =
        components_of(FeatureExtractor::kind, experiment, {"metrics", "evaluate"}, metrics_.host->catalog());
    for (const auto& [key, table] : found) {
      if (is_known(*table)) continue;
      const ComponentConfig config{table->find("type")->as_string(), *table};
      FeatureExtractor::Spec spec;
      spec.image = ImageShape::square(metrics_.options.data.channels, metrics_.options.data.image_size);
      compare(key + when, [&] {
        return std::static_pointer_cast<Module>(metrics_.host->create<FeatureExtractor>(config, spec).object());
      });
    }
  }

  TrainedWith take() { return std::move(result_); }

  /// Runs `work`; a failure becomes a remark.
  template <class F>
  void attempt(const std::string& what, const F& work) {
    try {
      work();
    } catch (const EvaluationStopped&) {
      throw;
    } catch (const Error& error) {
      remarks_.push_back(
          text(what, "could not check whether a judge is a network that the run was trained with: ", error.what()));
    }
  }

 private:
  bool is_known(const Value& table) {
    if (std::find(known_.begin(), known_.end(), table) != known_.end()) return true;
    known_.push_back(table);
    return false;
  }

  template <class F>
  void compare(const std::string& term, const F& make) {
    if (interrupted()) throw EvaluationStopped("interrupted");
    attempt(term + ": ", [&] {
      const std::shared_ptr<Module> module = make();
      const std::set<std::string> trained = digests(*module);
      for (std::size_t i = 0; i < result_.size() && !trained.empty(); ++i) {
        const std::set<std::string>& judging = digests_of_judge(i);
        const bool is_shared = std::any_of(judging.begin(), judging.end(),
                                           [&](const std::string& digest) { return trained.contains(digest); });
        if (is_shared) result_[i].push_back(term);
      }
    });
  }

  const std::set<std::string>& digests_of_judge(std::size_t index) {
    std::optional<std::set<std::string>>& known = judging_[index];
    if (!known) known = digests(judges_.network(judges_.judges()[index]));
    return *known;
  }

  const Judges& judges_;
  const LoadedExperiment& metrics_;
  std::vector<std::string>& remarks_;
  TrainedWith result_;
  std::vector<std::optional<std::set<std::string>>> judging_;
  std::vector<Value> known_;
};

}  // namespace

TrainedWith shared_networks(const Judges& judges, const LoadedExperiment& metrics, const Value& experiment,
                            const std::vector<EarlierExperiment>& earlier, std::vector<std::string>& remarks) {
  Comparison comparison(judges, metrics, remarks);
  comparison.add_metrics(metrics.options.metrics, "");
  comparison.attempt("", [&] { comparison.add_extractors_of(experiment, ""); });
  for (const EarlierExperiment& before : earlier) {
    comparison.attempt(text(before.when, ": "), [&] {
      if (const Value* table = before.experiment.find("metrics")) {
        Value document = metrics.resolved;
        document.set("metrics", *table);
        comparison.add_metrics(read_options<Experiment>(document).metrics, " " + before.when);
      }
      comparison.add_extractors_of(before.experiment, " " + before.when);
    });
  }
  return comparison.take();
}

}  // namespace casdm
