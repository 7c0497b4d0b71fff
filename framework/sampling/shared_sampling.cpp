#include "framework/sampling/shared_sampling.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/data/image_transform.h"
#include "framework/device/device.h"
#include "framework/device/threads.h"
#include "framework/distributed/same_experiment.h"
#include "framework/sampling/draw_together.h"
#include "framework/support/json_member.h"
#include "framework/support/value_table.h"
#include "framework/training/experiment_change.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

constexpr const char* kOpen = "open";

/// Calls `use(key, field)` for each optional field of a request.
template <class Request, class Use>
void each_optional(Request& request, const Use& use) {
  use("device", request.device);
  use("sampler", request.sampler);
  use("steps", request.steps);
  use("eta", request.eta);
  use("guidance", request.guidance);
  use("seed", request.seed);
  use("batch", request.batch);
  use("label", request.label);
}

Value written(const SamplingRequest& request) {
  Value result = table({{"command", request.command},
                        {"weights", request.weights},
                        {"overrides", Value::Array(request.overrides.begin(), request.overrides.end())},
                        {"plugins", Value::Array(request.plugins.begin(), request.plugins.end())},
                        {"allow_rebuilt", request.allow_rebuilt}});
  each_optional(request, [&](const char* key, const auto& field) {
    if (field) result.set(key, Value(*field));
  });
  return result;
}

void read_field(const Value& value, std::optional<std::string>& field) { field = value.as_string(); }
void read_field(const Value& value, std::optional<std::int64_t>& field) { field = value.as_integer(); }

SamplingRequest read_request(const Value& said) {
  SamplingRequest request;
  request.command = json_member(said, "command").as_string();
  request.weights = json_member(said, "weights").as_string();
  request.allow_rebuilt = json_member(said, "allow_rebuilt").as_boolean();
  for (const Value& one : json_member(said, "overrides").as_array()) request.overrides.push_back(one.as_string());
  for (const Value& one : json_member(said, "plugins").as_array()) request.plugins.push_back(one.as_string());
  each_optional(request, [&](const char* key, auto& field) {
    if (const Value* value = said.find(key)) read_field(*value, field);
  });
  return request;
}

/// The settings that must be equal in all processes: each has its own device and threads, and only the first one knows
/// how many images, with their conditions, there will be.
Value without_place(Value settings) {
  std::erase_if(settings.as_table(), [](const Value::Member& member) {
    return member.first == "device" || member.first == "threads" || member.first == kConditionsDigest;
  });
  return from_json(to_json(settings));
}

/// The networks of a sampling, in a process that helps with it.
class Helper {
 public:
  Helper(const Value& said, World& world)
      : world_(world),
        threads_(json_member(said, "threads").as_integer()),
        request_(read_request(json_member(said, "request"))),
        checkpoint_(Checkpoint::open(json_member(said, "checkpoint").as_string())),
        experiment_(experiment_to_sample(checkpoint_, request_)),
        options_(generate_options(experiment_.options, select_device(experiment_.options.run).device, request_)) {
    require_own_device(world, options_.device);
    model_ = model_to_sample(experiment_, checkpoint_, request_, options_.device);
    const Value own = without_place(sampling_settings(experiment_, model_, checkpoint_, options_, request_));
    const std::vector<ExperimentChange> others = changes(json_member(said, "settings"), own);
    if (others.empty()) return;
    std::string lines;
    for (const ExperimentChange& change : others) lines += "\n  " + to_string(change);
    throw ConfigError("its images would not be those of rank 0:" + lines);
  }

  void draw(const std::string& words) {
    GenerateOptions options = options_;
    options.is_cancelled = [&] { return world_.any(interrupted()); };
    options.on_step = [&](std::size_t, std::size_t) { threads_.update(); };
    try {
      draw_together(model_, words, std::move(options), world_);
    } catch (const SamplingCancelled&) {  // thrown in all processes; the first one reports it
    }
  }

 private:
  World& world_;
  CpuThreads threads_;
  SamplingRequest request_;
  Checkpoint checkpoint_;
  LoadedExperiment experiment_;
  GenerateOptions options_;
  Model model_;
};

}  // namespace

SharedSampling::SharedSampling(const Model& model, GenerateOptions options, Labels label, std::int64_t batch,
                               World& world)
    : model_(model), options_(std::move(options)), label_(std::move(label)), batch_(batch), world_(world) {
  options_.is_cancelled = [this] { return was_cancelled_ = world_.any(interrupted()); };
}

bool SharedSampling::is_cancelled() const { return was_cancelled_ || interrupted(); }

void SharedSampling::invite(const Checkpoint& checkpoint, const SamplingRequest& request, const Value& settings) {
  if (world_.size() == 1) return;
  world_.take_from_first(to_json(table({{kOpen, table({{"checkpoint", checkpoint.path().string()},
                                                       {"request", written(request)},
                                                       {"threads", std::int64_t{at::get_num_threads()}},
                                                       {"settings", without_place(settings)}})}})));
  require_own_device(world_, options_.device);
}

Tensor SharedSampling::draw(std::int64_t first, std::int64_t end,
                            std::function<void(std::size_t step, std::size_t steps)> on_step) {
  GenerateOptions options = options_;
  options.first = first;
  options.count = std::min(at_once(), end - first);
  options.labels = labels_for(label_, first, options.count);
  options.on_step = std::move(on_step);
  const std::string words = world_.take_from_first(drawing_request(options, batch_));
  return to_uint8(draw_together(model_, words, std::move(options), world_));
}

void help_sampling(World& world) {
  std::optional<Helper> helper;
  world.on_first([] {},
                 [&](const std::string& words) {
                   const Value said = from_json(words);
                   const Value* opened = said.find(kOpen);
                   if (opened == nullptr) return helper->draw(words);
                   helper.reset();
                   helper.emplace(*opened, world);
                 });
}

}  // namespace casdm
