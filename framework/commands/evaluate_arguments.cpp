#include "framework/commands/evaluate_arguments.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <optional>
#include <utility>

#include "casdm/error.h"
#include "casdm/sampler.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/config/overrides.h"
#include "framework/evaluation/nearest_images.h"
#include "framework/support/comma_list.h"
#include "framework/support/run_contents.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr const char* kEvaluateUsage = R"(usage: casdm evaluate RUN [--num N] [--reference IMAGES|FILE]
                          [--weights A,B] [--guidance X,Y] [--steps N,M] [--floor] [--nearest N] [--json]
       casdm evaluate IMAGES --reference IMAGES|FILE [--size N]
       casdm evaluate --reference IMAGES --write-reference FILE

Judges the images of a run, or existing images, against real ones, and prints how far apart they are
and how certain that is. A run is sampled and judged in one go, without writing images to disk; its
scores are kept in RUN/evaluation. Without --reference, the real images are those of the run's
[data], prepared as for training.

IMAGES is a folder, an archive, an NPZ (arr_0), or an experiment file, whose [data] is used. FILE is
what --write-reference wrote (.safetensors, .npz), or statistics of guided-diffusion or EDM (.npz, .pkl).
The judges are those of [[evaluate.judges]] in the run's experiment, or in --config FILE.

Ctrl-C, SIGTERM and SIGHUP stop it within a step, with exit status 1; the same command continues, for
IMAGES only with --state FILE.

  casdm evaluate runs/quickstart --floor --nearest 8
  casdm evaluate runs/quickstart --num 50000 --steps 50,100 --weights ema,raw
  casdm evaluate samples/samples.npz --reference configs/quickstart.toml
  casdm evaluate --reference configs/cifar10_casdm.toml --write-reference cifar10.safetensors
)";

po::options_description described(EvaluateArguments& a) {
  po::options_description options("options");
  options.add_options()("what", po::value(&a.what), "the run, its checkpoint, or images (also as the first argument)")(
      "reference", po::value(&a.reference), "images or a file to compare with; default: the run's [data]")(
      "num", whole_number("num", a.num, 1, kMostSamples),
      "number of images to judge; default: evaluate.num for a run, all for a folder, archive or NPZ")(
      "config", po::value(&a.config), "an experiment file, or part of one, whose [evaluate] is used")(
      "weights", po::value(&a.weights_list)->value_name("NAME"),
      "which weights of the run, as for `casdm sample`; several: ema,raw; default: ema")(
      "guidance", po::value(&a.guidance_list)->value_name("X"), "guidance scale of the samples; several: 1,1.5,2")(
      "steps", po::value(&a.steps_list)->value_name("N"), "number of sampling steps; several: 10,50,100")(
      "sampler", unparsed(a.sampler, "NAME"), "another sampler than the run's; `casdm plugins list` shows them")(
      "eta", unparsed(a.eta, "X"),
      text("noise of a step; short for --set sampler.", Sampler::eta_option, "=X").c_str())(
      "set", po::value(&a.overrides)->composing(),
      "set one key of the run's experiment, or of [evaluate]: evaluate.reference_num=1000")(
      "seed", whole_number("seed", a.seed, 0), "seed of the samples' noise; default: evaluate.seed")(
      "batch", whole_number("batch", a.batch, 1, SamplingRequest::kLargestBatch),
      "samples drawn at once; does not change their noise; default: 64")(
      "label", whole_number("label", a.label, 0),
      "class of all samples, for a conditional run; default: each in turn, or that of the image whose extras are used")(
      "size", whole_number("size", a.size, 1, 4096), "side of the images of folders and archives, in pixels")(
      "floor", po::bool_switch(&a.floor),
      "also judge real images against real ones: two random halves of the reference")(
      "held-out", po::value(&a.held_out)->value_name("IMAGES"),
      "also judge these real images, which must not be in the reference")(
      "nearest", whole_number("nearest", a.nearest, 1, NearestRequest::kMost),
      "also find the images of the reference that are nearest to the first N, for the report")(
      "nearest-by", po::value(&a.nearest_by)->value_name("NAME"),
      "whose features define nearest: a judge, or a feature extractor; default: the first judge")(
      "write-reference", po::value(&a.write_reference)->value_name("FILE"),
      "save the reference: .safetensors for casdm, .npz in guided-diffusion's format")(
      "out", po::value(&a.out), "also keep the samples in this folder, as `casdm sample` does")(
      "state", po::value(&a.state)->value_name("FILE"),
      "where to keep an interrupted evaluation; default for a run: in RUN/evaluation")(
      "device", unparsed(a.device, "NAME"), "auto, cpu or cuda; default: auto")(
      "plugin", po::value(&a.plugins)->composing(), "an additional plugin library")("json", po::bool_switch(&a.json),
                                                                                    "print JSON instead of a table")(
      "no-cache", po::bool_switch(&a.no_cache), "compute the reference again, and do not keep it")(
      "overwrite", po::bool_switch(&a.overwrite), "evaluate again what was evaluated, and replace files")(
      "allow-rebuilt", po::bool_switch(&a.allow_rebuilt), "sample even if a plugin was rebuilt since the checkpoint");
  return options;
}

/// Whether both words are one, or the same number.
bool are_same(const std::string& a, const std::string& b) {
  const auto number = [](const std::string& word) {
    double value = 0;
    const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), value);
    return problem == std::errc() && end == word.data() + word.size() ? std::optional(value) : std::nullopt;
  };
  return a == b || (number(a) && number(a) == number(b));
}

std::vector<std::string> split(const std::string& list, const char* option,
                               const std::function<bool(const std::string&)>& is_file = nullptr) {
  std::vector<std::string> parts;
  if (list.empty()) return parts;
  for (const std::string& part : values_of_list(list, is_file)) {
    const auto refuse = [&](const char* why) {
      throw ConfigError(text("evaluate: ", option, ' ', quoted(list), ": ", why));
    };
    if (part.empty()) refuse("a value is empty");
    for (const std::string& earlier : parts) {
      if (are_same(part, earlier)) refuse("a value is given twice");
    }
    parts.push_back(part);
  }
  return parts;
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// Throws ConfigError if an option was given that has no effect here.
void refuse_idle(std::initializer_list<std::pair<bool, const char*>> options, const char* why) {
  for (const auto& [is_given, name] : options) {
    if (is_given) throw ConfigError(text("evaluate: ", name, " does not apply here: ", why));
  }
}

void check(const EvaluateArguments& a) {
  if (a.what.empty() && (a.reference.empty() || a.write_reference.empty())) {
    throw ConfigError(
        "evaluate: give a run or images, or --reference IMAGES --write-reference FILE; see `casdm evaluate --help`");
  }
  if (a.what.empty()) {
    refuse_idle({{a.num.has_value(), "--num"}, {!a.state.empty(), "--state"}, {a.nearest.has_value(), "--nearest"}},
                "nothing is judged");
  }
  refuse_idle({{!a.nearest_by.empty() && !a.nearest, "--nearest-by"}}, "it says how --nearest N measures");
  for (const auto& [file, option] :
       {std::pair(a.write_reference, "--write-reference"), std::pair(a.out, "--out"), std::pair(a.state, "--state")}) {
    if (!file.empty()) refuse_inside_run(text("evaluate ", option), file);
  }
  std::error_code ignored;
  const fs::path state = fs::weakly_canonical(a.state, ignored), out = fs::weakly_canonical(a.out, ignored);
  if (!a.state.empty() && !a.out.empty() &&
      std::mismatch(out.begin(), out.end(), state.begin(), state.end()).first == out.end()) {
    throw ConfigError(text("evaluate: --state ", quoted(a.state), " is in the folder of the samples, --out ",
                           quoted(a.out), "; choose another place for it"));
  }
  if (!a.write_reference.empty() && !a.overwrite && fs::exists(a.write_reference, ignored)) {
    throw ConfigError(text("evaluate: --write-reference ", a.write_reference,
                           " exists; choose another name, or pass "
                           "--overwrite"));
  }
}

}  // namespace

bool fill_evaluate_arguments(EvaluateArguments& target, const std::vector<std::string>& arguments) {
  target.command = "evaluate";
  if (!fill_arguments({"evaluate", kEvaluateUsage, described(target), {"what"}}, arguments)) return false;
  check(target);
  return true;
}

void check_options(const EvaluateArguments& a, bool is_run) {
  if (a.num) refuse_set_twice(text("--num ", *a.num), "evaluate.num", a.overrides);
  if (a.seed) refuse_set_twice(text("--seed ", *a.seed), "evaluate.seed", a.overrides);
  if (!a.reference.empty()) {
    std::vector<std::string> overrides = a.overrides;  // an empty one takes the experiment's away
    std::erase(overrides, "evaluate.reference=");
    refuse_set_twice(text("--reference ", a.reference), "evaluate.reference", overrides);
  }
  if (is_run) return refuse_idle({{a.size.has_value(), "--size"}}, "the images have the size of the run's samples");
  const bool sets_num = std::any_of(a.overrides.begin(), a.overrides.end(), [](const std::string& override) {
    return sets(override, "evaluate.num", override_location(override));
  });
  refuse_idle({{sets_num, "--set evaluate.num"},
               {!a.weights_list.empty(), "--weights"},
               {!a.guidance_list.empty(), "--guidance"},
               {!a.steps_list.empty(), "--steps"},
               {a.sampler.has_value(), "--sampler"},
               {a.eta.has_value(), "--eta"},
               {a.seed.has_value(), "--seed"},
               {a.batch.has_value(), "--batch"},
               {a.label.has_value(), "--label"},
               {a.allow_rebuilt, "--allow-rebuilt"},
               {!a.out.empty(), "--out"}},
              "no run is sampled");
}

std::vector<SamplingRequest> sampling_requests(const EvaluateArguments& a, const EvaluateOptions& options,
                                               const std::vector<std::string>& overrides) {
  std::vector<SamplingRequest> result;
  const auto optional = [](const std::vector<std::string>& parts) {
    std::vector<std::optional<std::string>> values(parts.begin(), parts.end());
    if (values.empty()) values.emplace_back();
    return values;
  };
  for (const std::string& weights : split(a.weights_list.empty() ? "ema" : a.weights_list, "--weights", is_file)) {
    for (const auto& guidance : optional(split(a.guidance_list, "--guidance"))) {
      for (const auto& steps : optional(split(a.steps_list, "--steps"))) {
        SamplingRequest request = a;
        request.weights = weights;
        request.guidance = guidance;
        request.steps = steps;
        request.overrides = overrides;
        if (!request.seed) request.seed = options.seed;
        result.push_back(request);
      }
    }
  }
  return result;
}

}  // namespace casdm
