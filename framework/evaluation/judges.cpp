#include "framework/evaluation/judges.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/composition/model.h"
#include "framework/config/example.h"
#include "framework/device/device.h"
#include "framework/evaluation/telling_options.h"
#include "framework/loading/global_state.h"
#include "framework/loading/part_factory.h"
#include "framework/loading/untouched.h"
#include "framework/support/component_name.h"

namespace casdm {

namespace {

/// Images per call of an extractor on a CPU. With this many, layers at 224 px fit into the memory that malloc keeps
/// between batches (keep_freed_memory); the system maps and clears larger ones anew each time, which costs half as much
/// as the network itself.
constexpr std::int64_t kAtOnceOnCpu = 4;

/// The options of a component, without the host's keys in the same table.
Value own_options(const ComponentConfig& config, std::string_view kind, const PluginHost& host) {
  Value result{Value::Table{}};
  for (const OptionSpec& option : host.catalog().component(kind, config.type).options) {
    if (const Value* value = config.table.find(option.name)) result.set(option.name, *value);
  }
  return result;
}

ComponentConfig with_defaults(std::string_view kind, const std::string& type, const std::string& where,
                              const PluginHost& host) {
  Value table{Value::Table{}};
  table.set("type", type);
  table.set_location({"", 0, 0, where});
  const Value resolved = resolve_component(table, kind, host.catalog());
  return {resolved.find("type")->as_string(), resolved};
}

ComponentConfig recommended(std::string_view kind, const std::string& type, const PluginHost& host) {
  return with_defaults(kind, type, text("evaluate (the recommended ", kind, ")"), host);
}

std::vector<JudgeOptions> judges_of(const EvaluateOptions& options, const PluginHost& host) {
  if (!options.judges.empty()) return options.judges;
  const std::vector<std::string> types = recommended_components(FeatureExtractor::kind, host.catalog());
  if (types.empty()) {
    throw ConfigError(
        "evaluate.judges: no plugin recommends a feature extractor; name one: [[evaluate.judges]] type = \"...\". "
        "`casdm plugins list` shows what there is");
  }
  JudgeOptions judge;
  judge.extractor = recommended(FeatureExtractor::kind, types.front(), host);
  return {judge};
}

std::vector<SetMetricOptions> metrics_of(const JudgeOptions& judge, const PluginHost& host) {
  if (!judge.metrics.empty()) return judge.metrics;
  std::vector<SetMetricOptions> result;
  for (const std::string& type : recommended_components(SetMetric::kind, host.catalog())) {
    result.push_back({recommended(SetMetric::kind, type, host), ""});
  }
  if (!result.empty()) return result;
  throw ConfigError(
      "evaluate.judges.metrics: no plugin recommends a set metric; name one: metrics = [{ type = \"...\" }]. "
      "`casdm plugins list` shows what there is");
}

std::string_view to_string(ExtractorResize resize) {
  switch (resize) {
    case ExtractorResize::none:
      return "none";
    case ExtractorResize::bilinear:
      return "bilinear";
    case ExtractorResize::tf1_bilinear:
      return "tf1_bilinear";
    case ExtractorResize::bicubic_antialias:
      return "bicubic_antialias";
  }
  return "none";
}

/// Whether values of the option are free text, such as the name of a file.
bool is_text(const OptionSpec& option) {
  if (option.type == OptionType::array) return is_text(option.element.front());
  return option.type == OptionType::path || (option.type == OptionType::string && option.allowed.empty());
}

/// The names of options that may say where the weights are: their digest says what is there.
Value::Array locating_options(const ComponentConfig& config, const PluginHost& host) {
  Value::Array names;
  for (const OptionSpec& option : host.catalog().component(FeatureExtractor::kind, config.type).options) {
    if (is_text(option)) names.emplace_back(option.name);
  }
  return names;
}

Value identity_of(const ComponentConfig& config, const PluginHost& host, const ExtractorInfo& info,
                  const FeatureInfo& feature) {
  return Value(Value::Table{{"type", config.type},
                            {"options", own_options(config, FeatureExtractor::kind, host)},
                            {kLocatedBy, info.weights.empty() ? Value::Array() : locating_options(config, host)},
                            {"feature", feature.name},
                            {"dimension", feature.dimension},
                            {"spatial", feature.is_spatial},
                            {"input_size", info.input_size},
                            {"resize", std::string(to_string(info.resize))},
                            {"quantised", info.is_quantised},
                            {"trained_on", info.trained_on},
                            {"weights_sha256", info.weights},
                            {"licence", info.licence}});
}

/// The build of the plugin that has the component.
std::string build_of(const ComponentConfig& config, const PluginHost& host) {
  for (const UsedPlugin& plugin : host.used()) {
    if (config.type.starts_with(plugin.id + "/")) return plugin.build_id;
  }
  return "";
}

const FeatureInfo& feature_of(const JudgeOptions& options, const ExtractorInfo& info) {
  if (options.feature.empty()) return info.features.front();
  std::vector<std::string> names;
  for (const FeatureInfo& feature : info.features) {
    if (feature.name == options.feature) return feature;
    names.push_back(feature.name);
  }
  throw ConfigError(text(error_prefix(options.extractor), "it has no feature ", quoted(options.feature), "; it has ",
                         join(names, ", ")));
}

void require_plain(const std::string& name, const ComponentConfig& config) {
  if (name.empty() || is_displayable(name)) return;
  throw ConfigError(text(error_prefix(config), "name = ", quoted(name), ": expected a name that can be shown, without ",
                         "line breaks, quotes and control characters"));
}

std::string shape_of(const Tensor& tensor) {
  return tensor.defined() ? text(at::toString(tensor.scalar_type()), ' ', tensor.sizes()) : "an undefined tensor";
}

}  // namespace

Judges::Judges(const EvaluateOptions& options, const PluginHost& host, const ImageShape& image, c10::Device device)
    : image_(image), device_(device) {
  for (const JudgeOptions& judge : judges_of(options, host)) {
    add_judge(judge, host, device);
    for (const SetMetricOptions& metric : metrics_of(judge, host)) add_metric(metric, host);
  }
  std::set<std::string> names;
  for (const JudgeMetric& metric : metrics_) {
    for (const std::string& name : metric.score_names) {
      if (names.insert(name).second) continue;
      throw ConfigError(text("evaluate.judges: two scores are named ", quoted(name),
                             "; set name = \"...\" in one of the judges or metrics"));
    }
  }
}

Judges::Judges(const std::string& type, const std::string& where, const PluginHost& host, const ImageShape& image,
               c10::Device device)
    : image_(image), device_(device) {
  JudgeOptions judge;
  judge.extractor = with_defaults(FeatureExtractor::kind, type, where, host);
  add_judge(judge, host, device);
}

std::size_t Judges::network_for(const JudgeOptions& options, const PluginHost& host, c10::Device device) {
  Network network;
  network.table = own_options(options.extractor, FeatureExtractor::kind, host);
  network.table.set("type", options.extractor.type);
  for (std::size_t i = 0; i < networks_.size(); ++i) {
    if (networks_[i].table == network.table) return i;
  }
  network.extractor = host.create<FeatureExtractor>(options.extractor, {image_, 0});
  network.extractor.call(&FeatureExtractor::train, false);
  network.extractor.call([&](FeatureExtractor& extractor) { move_to(extractor, device); });
  network.info = checked_info(network.extractor);
  networks_.push_back(std::move(network));
  return networks_.size() - 1;
}

void Judges::add_judge(const JudgeOptions& options, const PluginHost& host, c10::Device device) {
  require_plain(options.name, options.extractor);
  Judge judge;
  judge.network = network_for(options, host, device);
  Network& network = networks_[judge.network];
  judge.info = network.info;
  if (judge.info.channels != 0 && judge.info.channels != image_.channels) {
    throw ConfigError(text(error_prefix(options.extractor), "it needs images of ", judge.info.channels,
                           " channels; these have ", image_.channels));
  }
  judge.feature = feature_of(options, judge.info);
  judge.extractor = identity_of(options.extractor, host, judge.info, judge.feature);
  judge.build = build_of(options.extractor, host);
  const bool is_first = judge.feature.name == judge.info.features.front().name;
  judge.name = !options.name.empty() ? options.name
               : is_first            ? component_name(options.extractor.type)
                                     : text(component_name(options.extractor.type), "_", judge.feature.name);
  const auto known = std::find(network.features.begin(), network.features.end(), judge.feature.name);
  if (known == network.features.end()) network.features.push_back(judge.feature.name);
  judges_.push_back(std::move(judge));
}

void Judges::add_metric(const SetMetricOptions& options, const PluginHost& host) {
  require_plain(options.name, options.metric);
  const Judge& judge = judges_.back();
  JudgeMetric metric;
  metric.judge = judges_.size() - 1;
  metric.metric = host.create<SetMetric>(options.metric, {judge.feature, 0});
  metric.info = metric.metric.call(&SetMetric::info);
  if (metric.info.scores.empty()) metric.metric.fail("it declares no score");
  metric.identity = Value(
      Value::Table{{"type", options.metric.type}, {"options", own_options(options.metric, SetMetric::kind, host)}});
  metric.build = build_of(options.metric, host);
  for (const ScoreInfo& score : metric.info.scores) {
    if (!is_displayable(score.name)) {
      metric.metric.fail(text("it declares a score ", quoted(score.name), "; expected a printable name"));
    }
    metric.score_names.push_back(text(judge.name, ".", options.name.empty() ? "" : options.name + ".", score.name));
  }
  metrics_.push_back(std::move(metric));
}

Value Judges::identity() const {
  Value::Array result;
  for (const JudgeMetric& metric : metrics_) {
    const Judge& judge = judges_[metric.judge];
    result.push_back(Value(Value::Table{{"extractor", judge.extractor},
                                        {"extractor_build", judge.build},
                                        {"metric", metric.identity},
                                        {"metric_build", metric.build}}));
  }
  return result;
}

namespace {

std::vector<std::string> names_of(const NamedTensors& state) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state) names.push_back(name);
  return names;
}

/// Fails unless `state`, which `call` returned or changed, can be saved.
void check_state(const JudgeMetric& metric, const char* call, const NamedTensors& state) {
  if (state.empty()) metric.metric.fail(text(call, " left a state without tensors; expected at least one"));
  for (const auto& [name, tensor] : state) {
    if (tensor.defined() && tensor.is_cpu() && tensor.layout() == at::kStrided) continue;
    metric.metric.fail(text(call, " left ", quoted(name), " in the state ",
                            tensor.defined() ? "sparse or on a device" : "undefined",
                            "; expected a tensor on the CPU"));
  }
}

NamedTensors started(const JudgeMetric& metric) {
  NamedTensors state = metric.metric.call(&SetMetric::start);
  check_state(metric, "start()", state);
  return state;
}

}  // namespace

Moments moments_of(const JudgeMetric& metric, const NamedTensors& state) {
  const Untouched given(handles_in(state), Untouched::Compared::versions);
  Moments moments = metric.metric.call([&](SetMetric&) { return metric.of_moments()->moments(state); });
  given.check(metric.metric, "the state");
  const auto is_sound = [](const Tensor& tensor, std::int64_t sides) {
    return tensor.defined() && tensor.is_cpu() && tensor.layout() == at::kStrided &&
           tensor.scalar_type() == at::kDouble && tensor.dim() == sides && tensor.isfinite().all().item<bool>();
  };
  const bool are_sound = is_sound(moments.mean, 1) && is_sound(moments.covariance, 2) &&
                         moments.covariance.size(0) == moments.mean.size(0) &&
                         moments.covariance.size(1) == moments.mean.size(0) && moments.images >= 0;
  if (!are_sound) {
    metric.metric.fail("moments() did not return a finite float64 mean [D] and covariance [D, D] on the CPU");
  }
  return {moments.mean.contiguous(), moments.covariance.contiguous(), moments.images};
}

NamedTensors state_of(const JudgeMetric& metric, const Moments& moments) {
  const Untouched given({moments.mean, moments.covariance}, Untouched::Compared::versions);
  NamedTensors state = metric.metric.call([&](SetMetric&) { return metric.of_moments()->from_moments(moments); });
  given.check(metric.metric, "the moments");
  check_state(metric, "from_moments()", state);
  if (const auto names = names_of(started(metric)); names_of(state) != names) {
    metric.metric.fail(text("from_moments() left a state of ", join(names_of(state), ", "), "; start() has ",
                            join(names, ", "), ", in this order"));
  }
  return state;
}

SetState Judges::start() const {
  SetState set;
  for (const JudgeMetric& metric : metrics_) set.metrics.push_back(started(metric));
  return set;
}

NamedTensors Judges::features(const Network& network, const Tensor& images) const {
  const std::int64_t at_once = device_.is_cpu() ? kAtOnceOnCpu : images.size(0);
  NamedTensors all;
  std::vector<std::vector<Tensor>> parts(network.features.size());
  for (std::int64_t start = 0; start < images.size(0); start += at_once) {
    const Tensor part = images.slice(0, start, std::min(start + at_once, images.size(0)));
    all = extracted(network.extractor, network.info, part.to(device_), network.features);
    require_unchanged_state();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Tensor& found = all[i].second;
      const bool is_like_others =
          parts[i].empty() || (found.defined() && parts[i][0].defined() && found.dim() == parts[i][0].dim() &&
                               found.dim() > 0 && found.sizes().slice(1) == parts[i][0].sizes().slice(1));
      if (!is_like_others) {
        network.extractor.fail(text("extract() returned ", shape_of(found), " as ", quoted(network.features[i]),
                                    " of some images and ", shape_of(parts[i][0]), " of others"));
      }
      // An extractor may use the memory of its results again in the next call.
      parts[i].push_back(found.defined() ? found.clone() : found);
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].second = parts[i].size() > 1 ? at::cat(parts[i]) : parts[i].front();
  }
  return all;
}

Tensor Judges::checked_feature(const Judge& judge, const NamedTensors& found, std::int64_t count,
                               std::int64_t first) const {
  const Network& network = networks_[judge.network];
  const auto at = std::find(network.features.begin(), network.features.end(), judge.feature.name);
  const Tensor& feature = found[static_cast<std::size_t>(at - network.features.begin())].second;
  const Tensor finite = feature.isfinite().flatten(1).all(1).cpu();
  if (!finite.all().item<bool>()) {
    const std::int64_t image = first + finite.logical_not().nonzero()[0].item<std::int64_t>();
    network.extractor.fail(text("feature ", quoted(judge.feature.name), " of image ", image, " is not finite"));
  }
  return feature;
}

Tensor Judges::features_of(std::size_t judge, const Tensor& images, std::int64_t first) const {
  const at::NoGradGuard no_grad;
  const ExactFloats exact;
  const Judge& chosen = judges_.at(judge);
  return checked_feature(chosen, features(networks_[chosen.network], images), images.size(0), first);
}

void Judges::update(SetState& set, const Tensor& images, std::int64_t first, const std::vector<bool>& wanted) const {
  const at::NoGradGuard no_grad;
  const ExactFloats exact;
  FeatureBatch batch;
  for (std::int64_t i = 0; i < images.size(0); ++i) batch.images.push_back(first + i);
  for (std::size_t n = 0; n < networks_.size(); ++n) {
    const auto is_of_network = [&](std::size_t i) {
      return judges_[metrics_[i].judge].network == n && (wanted.empty() || wanted[i]);
    };
    bool is_needed = false;
    for (std::size_t i = 0; i < metrics_.size(); ++i) is_needed = is_needed || is_of_network(i);
    if (!is_needed) continue;
    const NamedTensors found = features(networks_[n], images);
    for (std::size_t i = 0; i < metrics_.size(); ++i) {
      if (!is_of_network(i)) continue;
      batch.features = checked_feature(judges_[metrics_[i].judge], found, images.size(0), first);
      const Untouched given({batch.features});
      const std::vector<std::string> names = names_of(set.metrics[i]);
      metrics_[i].metric.call(&SetMetric::update, set.metrics[i], batch);
      given.check(metrics_[i].metric, "features");
      check_state(metrics_[i], "update()", set.metrics[i]);
      const std::vector<std::string> now = names_of(set.metrics[i]);
      if (now == names) continue;
      metrics_[i].metric.fail(
          text("update() left a state of ", join(now, ", "), "; start() has ", join(names, ", "), " in this order"));
    }
  }
  set.images += images.size(0);
}

void Judges::require_enough(std::int64_t num, std::int64_t reference_num) const {
  for (const JudgeMetric& metric : metrics_) {
    const std::int64_t least = metric.info.minimum_images;
    const bool lacks_reference = metric.info.needs_reference && reference_num > 0 && reference_num < least;
    if (num >= least && !lacks_reference) continue;
    throw ConfigError(
        text("evaluate: ", metric.score_names.front(), " needs at least ", least, " images in each set; ",
             num < least ? text("there are ", num, " to judge") : text("the reference has ", reference_num),
             ". Give more images, or leave this metric out of [[evaluate.judges]]"));
  }
}

std::vector<JudgedScore> Judges::compare(const SetState& generated, const SetState& reference) const {
  const at::NoGradGuard no_grad;
  const ExactFloats exact;
  std::vector<JudgedScore> result;
  for (std::size_t i = 0; i < metrics_.size(); ++i) {
    const JudgeMetric& metric = metrics_[i];
    if (metric.info.needs_reference && reference.metrics[i].empty()) continue;
    const NamedTensors none = metric.info.needs_reference ? NamedTensors{} : started(metric);
    const NamedTensors& other = none.empty() ? reference.metrics[i] : none;
    const Untouched sets(handles_in(generated.metrics[i]), Untouched::Compared::versions);
    const Untouched references(handles_in(other), Untouched::Compared::versions);
    const std::vector<Score> scores = metric.metric.call(&SetMetric::compare, generated.metrics[i], other);
    sets.check(metric.metric, "the state of the images");
    references.check(metric.metric, "the state of the reference");
    if (scores.size() != metric.info.scores.size()) {
      metric.metric.fail(
          text("compare() returned ", scores.size(), " scores; it declares ", metric.info.scores.size()));
    }
    for (std::size_t s = 0; s < scores.size(); ++s) {
      if (scores[s].name != metric.info.scores[s].name) {
        metric.metric.fail(text("compare() returned the score ", quoted(scores[s].name), "; it declares ",
                                quoted(metric.info.scores[s].name), " there"));
      }
      if (scores[s].standard_error && *scores[s].standard_error < 0) {
        metric.metric.fail(text("compare() returned the standard error ", *scores[s].standard_error, " of ",
                                quoted(scores[s].name), "; expected at least 0"));
      }
      result.push_back(
          {metric.score_names[s], i, scores[s].value, scores[s].standard_error, metric.info.scores[s].is_lower_better});
    }
  }
  require_unchanged_state();
  return result;
}

bool Judges::is_lower_better(const std::string& name) const {
  std::vector<std::string> names;
  for (const JudgeMetric& metric : metrics_) {
    for (std::size_t i = 0; i < metric.score_names.size(); ++i) {
      if (metric.score_names[i] == name) return metric.info.scores[i].is_lower_better;
      names.push_back(metric.score_names[i]);
    }
  }
  const std::vector<std::string> near = nearest(name, names, 1);
  throw ConfigError(text("evaluate.keep_best: there is no score ", quoted(name),
                         near.empty() ? "." : text("; did you mean ", near[0], "?"), " There are ", join(names, ", ")));
}

}  // namespace casdm
