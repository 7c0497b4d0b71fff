#include <algorithm>
#include <iostream>
#include <optional>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/device/device.h"
#include "framework/device/heap.h"
#include "framework/device/threads.h"
#include "framework/distributed/run_in_world.h"
#include "framework/evaluation/drawn_images.h"
#include "framework/evaluation/evaluation_file.h"
#include "framework/evaluation/evaluation_setup.h"
#include "framework/evaluation/nearest_images.h"
#include "framework/evaluation/record.h"
#include "framework/evaluation/reference.h"
#include "framework/sampling/shared_sampling.h"
#include "framework/support/run_contents.h"
#include "framework/support/sealed_json.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct EvaluateArguments : SamplingRequest {
  std::string what;
  std::string reference;
  std::string config;
  std::string weights_list;
  std::string guidance_list;
  std::string steps_list;
  std::string out;
  std::string state;
  std::string write_reference;
  std::string held_out;
  std::string nearest_by;
  std::optional<std::int64_t> nearest;
  std::optional<std::int64_t> num;
  std::optional<std::int64_t> size;
  bool floor = false;
  bool json = false;
  bool overwrite = false;
  bool no_cache = false;
};

constexpr const char* kUsage = R"(usage: casdm evaluate RUN [--num N] [--reference IMAGES|FILE]
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

Ctrl-C, SIGTERM and SIGHUP stop it within a step, with exit status 1; the same command continues.

  casdm evaluate runs/quickstart --floor --nearest 8
  casdm evaluate runs/quickstart --num 50000 --steps 50,100 --weights ema,raw
  casdm evaluate samples/samples.npz --reference configs/quickstart.toml
  casdm evaluate --reference configs/cifar10_casdm.toml --write-reference cifar10.safetensors
)";

constexpr std::int64_t kMostImages = 1000000000;

po::typed_value<std::string>* said(std::optional<std::string>& target, const char* placeholder) {
  return po::value<std::string>()->value_name(placeholder)->notifier([&](const std::string& value) { target = value; });
}

po::options_description described(EvaluateArguments& a) {
  po::options_description options("options");
  options.add_options()("what", po::value(&a.what), "the run, its checkpoint, or images (also as the first argument)")(
      "reference", po::value(&a.reference), "images or a file to compare with; default: the run's [data]")(
      "num", whole_number("num", a.num, 1, kMostImages),
      "number of images to judge; default: evaluate.num for a run, all for a folder, archive or NPZ")(
      "config", po::value(&a.config), "an experiment file, or part of one, whose [evaluate] is used")(
      "weights", po::value(&a.weights_list)->value_name("NAME"),
      "which weights of the run, as for `casdm sample`; several: ema,raw; default: ema")(
      "guidance", po::value(&a.guidance_list)->value_name("X"), "guidance scale of the samples; several: 1,1.5,2")(
      "steps", po::value(&a.steps_list)->value_name("N"), "number of sampling steps; several: 10,50,100")(
      "sampler", said(a.sampler, "NAME"), "another sampler than the run's; `casdm plugins list` shows them")(
      "eta", said(a.eta, "X"), text("noise of a step; short for --set sampler.", Sampler::eta_option, "=X").c_str())(
      "set", po::value(&a.overrides)->composing(),
      "set one key of the run's experiment, or of [evaluate]: evaluate.reference_num=1000")(
      "seed", whole_number("seed", a.seed, 0), "seed of the samples' noise; default: evaluate.seed")(
      "batch", whole_number("batch", a.batch, 1, SamplingRequest::kLargestBatch),
      "samples drawn at once; does not change their noise; default: 64")(
      "label", whole_number("label", a.label, 0),
      "class of all samples, for a conditional run; default: each class in turn")(
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
      "device", said(a.device, "NAME"), "auto, cpu or cuda; default: auto")(
      "plugin", po::value(&a.plugins)->composing(), "an additional plugin library")("json", po::bool_switch(&a.json),
                                                                                    "print JSON instead of a table")(
      "no-cache", po::bool_switch(&a.no_cache), "compute the reference again, and do not keep it")(
      "overwrite", po::bool_switch(&a.overwrite), "evaluate again what was evaluated, and replace files")(
      "allow-rebuilt", po::bool_switch(&a.allow_rebuilt), "sample even if a plugin was rebuilt since the checkpoint");
  return options;
}

std::vector<std::string> split(const std::string& list, const char* option) {
  std::vector<std::string> parts;
  if (list.empty()) return parts;
  std::string::size_type start = 0;
  while (true) {
    const std::string::size_type comma = list.find(',', start);
    parts.push_back(list.substr(start, comma - start));
    if (parts.back().empty()) throw ConfigError(text("evaluate: ", option, ' ', quoted(list), ": a value is empty"));
    if (comma == std::string::npos) return parts;
    start = comma + 1;
  }
}

/// What to sample: one for each combination of weights, guidance and steps.
std::vector<SamplingRequest> requests(const EvaluateArguments& a, const EvaluateOptions& options,
                                      const std::vector<std::string>& overrides) {
  std::vector<SamplingRequest> result;
  const auto optional = [](const std::vector<std::string>& parts) {
    std::vector<std::optional<std::string>> values(parts.begin(), parts.end());
    if (values.empty()) values.emplace_back();
    return values;
  };
  for (const std::string& weights : split(a.weights_list.empty() ? "ema" : a.weights_list, "--weights")) {
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

/// Throws ConfigError when an option is given that means nothing here.
void refuse_idle(std::initializer_list<std::pair<bool, const char*>> options, const char* why) {
  for (const auto& [is_given, name] : options) {
    if (is_given) throw ConfigError(text("evaluate: ", name, " does not apply here: ", why));
  }
}

/// What belongs to a run alone, and what to images alone.
void check_options(const EvaluateArguments& a, bool is_run) {
  if (is_run) return refuse_idle({{a.size.has_value(), "--size"}}, "the images have the size of the run's samples");
  refuse_idle({{!a.weights_list.empty(), "--weights"},
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
  if (!a.write_reference.empty() && !a.overwrite && fs::exists(a.write_reference, ignored)) {
    throw ConfigError(text("evaluate: --write-reference ", a.write_reference,
                           " exists; choose another name, or pass "
                           "--overwrite"));
  }
}

class Command {
 public:
  Command(EvaluateArguments& a, World& world) : a_(a), world_(world), setup_(setup_request(a)) {
    check_options(a, setup_.checkpoint().has_value());
    const std::int64_t asked = world.threads(setup_.threads());
    threads_.emplace(asked > 0 ? asked : CpuThreads(0).count());
    RunOptions run;
    run.device = a.device.value_or("auto");
    device_ = select_device(run).device;
  }

  void run() {
    find_images();
    judges_.emplace(setup_.options(), setup_.host(), *setup_.shape(), device_);
    num_ = !a_.what.empty() ? number() : 0;
    if (!a_.write_reference.empty()) require_reference_form(a_.write_reference, *judges_);
    prepare_nearest();
    find_reference();
    find_floor();
    nearest_.indices = reference_indices_;
    if (num_ > 0) judges_->require_enough(num_, reference_.images);
    if (!a_.write_reference.empty()) write_reference(a_.write_reference, reference_, *judges_, reference_stream_);
    if (setup_.checkpoint()) judge_run();
    if (images_) judge_images();
    if (a_.floor) judge_halves();
    if (!a_.held_out.empty()) judge_held_out();
    print();
  }

 private:
  static SetupRequest setup_request(const EvaluateArguments& a) {
    return {a.what, a.config, a.overrides, {a.plugins.begin(), a.plugins.end()}, a.size};
  }

  ReferenceOptions reference_options() const { return {interrupted, !a_.no_cache}; }

  /// Opens what can say how large the images are, before what cannot.
  void find_images() {
    const bool is_stored = !a_.what.empty() && !setup_.checkpoint();
    if (is_stored && !is_of_any_size(a_.what)) images_ = setup_.open(a_.what);
    if (!a_.reference.empty() && !is_reference_file(a_.reference)) stored_reference_ = setup_.open(a_.reference);
    if (a_.reference.empty() && !setup_.checkpoint()) {
      throw ConfigError("evaluate: --reference is missing: images or a file to compare with");
    }
    if (is_stored && !images_) images_ = setup_.open(a_.what);
    if (!setup_.shape()) {
      throw ConfigError("evaluate: --size is missing: the side in pixels that the images have or are resized to");
    }
  }

  std::int64_t number() const {
    if (setup_.checkpoint()) return a_.num.value_or(setup_.options().num);
    return a_.num.value_or(images_->size());
  }

  void find_reference() {
    if (!a_.reference.empty() && !stored_reference_) return take_file(a_.reference);
    const std::string name = a_.reference.empty() ? setup_.own_data_name() : a_.reference;
    if (!stored_reference_) {
      if (const std::string own = setup_.options().reference.string(); !own.empty()) {
        if (is_reference_file(own)) return take_file(own);
        stored_reference_ = setup_.open(own);
      } else {
        stored_reference_ = setup_.own_data();
      }
    }
    reference_indices_ =
        spread(setup_.options().reference_num, stored_reference_->size(), "evaluate.reference_num", name);
    reference_stream_ = stream_of(stored_reference_, reference_indices_, name);
    judges_->require_enough(std::numeric_limits<std::int64_t>::max(), reference_stream_.count);
    reference_ = reference_of_images(reference_stream_, *judges_, reference_options());
  }

  void take_file(const std::string& path) {
    if (!a_.write_reference.empty()) {
      throw ConfigError(text("evaluate: --write-reference saves what it computes from images, but ", path,
                             " is such a file already; copy it, or give --reference IMAGES"));
    }
    reference_ = reference_of_file(path, *judges_, reference_options());
    if (setup_.options().reference_num.value > 0) {
      reference_.remarks.push_back(text("evaluate.reference_num = ", setup_.options().reference_num.value,
                                        " is ignored: the reference is a file, made from its own images"));
    }
  }

  void judge_run() {
    std::vector<std::string> remarks;
    const TrainedWith trained_with = setup_.trained_with(*judges_, remarks);
    const std::vector<SamplingRequest> all = requests(a_, setup_.options(), setup_.sampling_overrides());
    if (all.size() > 1 && !(a_.out.empty() && a_.state.empty())) {
      throw ConfigError(
          "evaluate: --out and --state are for one evaluation; leave them out, or give only one value for "
          "--weights, --guidance and --steps");
    }
    for (const SamplingRequest& request : all) {
      DrawnImages images(*setup_.checkpoint(), request, num_, world_);
      if (!a_.out.empty()) {
        const std::string remark = images.keep_in(a_.out, a_.overwrite);
        if (!remark.empty()) std::cerr << remark << '\n';
      }
      const EvaluationFile file(setup_.run_folder(), images, num_, reference_, *judges_);
      // The last bits depend on the number of threads.
      if (const std::int64_t earlier = file.earlier_threads(); earlier > 0 && setup_.threads() == 0) {
        threads_.emplace(earlier);
      }
      const ImageStream stream = images.stream(a_.what, *threads_);
      if (a_.nearest) find_nearest_of_run(images, stream, file);
      if (std::optional<Value> known = a_.overwrite || !a_.out.empty() ? std::nullopt : file.read()) {
        std::cerr << "already evaluated: " << file.path().string() << '\n';
        std::error_code ignored;
        fs::remove(file.state(), ignored);  // of a process that was killed before it did so
        records_.push_back(*known);
        continue;
      }
      GatherOptions gathering;
      gathering.title = text("judging ", request.weights);
      gathering.is_cancelled = [&] { return images.is_cancelled(); };
      gathering.state_file = a_.state.empty() ? file.state() : fs::path(a_.state);
      const JudgedSet set = gather(stream, *judges_, gathering);
      images.finish();
      records_.push_back(record_of({"run", a_.what, file.run_table(a_.what, images)}, set, reference_, *judges_,
                                   trained_with, remarks, setup_.host()));
      keep(file, gathering.state_file);
    }
  }

  /// Writes the last record into the run's folder. Where that fails, the scores are shown at least.
  void kept(const std::function<void()>& write) {
    try {
      write();
    } catch (const Error& error) {
      print();
      throw Error(text("the scores above could not be saved: ", error.what()));
    }
  }

  void keep(const EvaluationFile& file, const fs::path& state) {
    kept([&] { file.write(records_.back()); });
    std::error_code ignored;
    if (!state.empty()) fs::remove(state, ignored);
  }

  /// Who says what is near.
  void prepare_nearest() {
    if (!a_.nearest) return;
    const std::string reference = a_.reference.empty() ? setup_.options().reference.string() : a_.reference;
    if (!reference.empty() && !stored_reference_ && is_reference_file(reference)) {
      throw ConfigError(
          "evaluate: --nearest looks through the images of the reference, and this reference is a file of "
          "statistics; give images as the reference");
    }
    nearest_.count = *a_.nearest;
    nearest_.is_cancelled = interrupted;
    const std::vector<Judge>& judges = judges_->judges();
    const auto is_named = [&](const Judge& judge) { return judge.name == a_.nearest_by; };
    const auto named = a_.nearest_by.empty() ? judges.begin() : std::find_if(judges.begin(), judges.end(), is_named);
    if (named != judges.end()) {
      nearest_.judge = static_cast<std::size_t>(named - judges.begin());
      return;
    }
    try {
      nearest_judge_.emplace(a_.nearest_by, "--nearest-by", setup_.host(), *setup_.shape(), device_);
    } catch (const ConfigError& error) {
      throw ConfigError(text("evaluate: --nearest-by ", quoted(a_.nearest_by), " is not a judge here: ", error.what()));
    }
  }

  const Judges& who_finds() const { return nearest_judge_ ? *nearest_judge_ : *judges_; }

  void find_nearest_of_run(const DrawnImages& images, const ImageStream& stream, const EvaluationFile& file) {
    const fs::path kept_in = file.nearest(Value(Value::Table{{"count", nearest_.count},
                                                             {"reference", reference_.sha256},
                                                             {"by", who_finds().judges()[nearest_.judge].extractor}}));
    try {
      if (std::optional<Value> known = a_.overwrite ? std::nullopt : read_record(kept_in)) {
        nearest_found_.push_back(*known);
        return;
      }
    } catch (const Error& error) {
      std::cerr << "warning: looking again, since " << kept_in.string() << " cannot be used: " << error.what() << '\n';
    }
    Value found = nearest_images(stream, reference_stream_, who_finds(), nearest_);
    found.set("checkpoint_images", images.checkpoint().images());
    found.set("weights", images.request().weights);
    nearest_found_.push_back(sealed(std::move(found)));
    try {
      write_record(kept_in, nearest_found_.back());
    } catch (const Error& error) {
      std::cerr << "warning: the nearest images could not be saved, so a report cannot show them: " << error.what()
                << '\n';
    }
  }

  void judge_images() {
    nearest_.own = spread(num_, images_->size(), "--num", a_.what);
    const ImageStream stream = stream_of(images_, nearest_.own, a_.what);
    if (a_.nearest) nearest_found_.push_back(nearest_images(stream, reference_stream_, who_finds(), nearest_));
    GatherOptions gathering;
    gathering.title = "judging";
    gathering.is_cancelled = interrupted;
    gathering.state_file = a_.state;
    const JudgedSet set = gather(stream, *judges_, gathering);
    records_.push_back(record_of({"images", a_.what, std::nullopt}, set, reference_, *judges_, {}, {}, setup_.host()));
    std::error_code ignored;
    if (!a_.state.empty()) fs::remove(a_.state, ignored);
  }

  void find_floor() {
    if (a_.floor && !stored_reference_) {
      throw ConfigError(
          "evaluate: --floor takes two halves of the reference's images, and this reference is a file of "
          "statistics; give --held-out IMAGES, or images as the reference");
    }
    if (a_.held_out.empty()) return;
    held_out_ = setup_.open(a_.held_out);
    if (!stored_reference_ || held_out_->identity() != stored_reference_->identity()) return;
    throw ConfigError(text("evaluate: --held-out ", a_.held_out,
                           ": these are the images of the reference; give images that are not in it, or use --floor"));
  }

  void judge_halves() {
    const auto [one, other] = halves(stored_reference_->size(), static_cast<std::uint64_t>(setup_.options().seed));
    const auto half = static_cast<std::int64_t>(one.size());
    // As many as the model was judged by and with, where there are as many, since scores are biased by both.
    const auto some = [&](const std::vector<std::int64_t>& indices, std::int64_t count) {
      std::vector<std::int64_t> chosen;
      for (const std::int64_t i : spread(count > 0 ? std::min(count, half) : half, half, "", "")) {
        chosen.push_back(indices[static_cast<std::size_t>(i)]);
      }
      judges_->require_enough(static_cast<std::int64_t>(chosen.size()), 0);
      return reference_of_images(stream_of(stored_reference_, chosen, reference_.name), *judges_, reference_options());
    };
    const Reference judged = some(one, num_);
    const Reference against = some(other, reference_.images);
    add_floor(judged, against);
  }

  void judge_held_out() {
    const std::int64_t total = held_out_->size(), count = num_ > 0 ? std::min(num_, total) : total;
    const Reference judged = reference_of_images(stream_of(held_out_, spread(count, total, "", ""), a_.held_out),
                                                 *judges_, reference_options());
    add_floor(judged, reference_);
  }

  void add_floor(const Reference& judged, const Reference& against) {
    const JudgedSet set{judged.state, 0, false};
    records_.push_back(record_of({"floor", judged.name, std::nullopt}, set, against, *judges_, {}, {}, setup_.host()));
    kept([&] { keep_floor(setup_.run_folder(), records_.back()); });
  }

  void print() const {
    if (a_.json) {
      Value result{Value::Table{}};
      result.set("evaluations", Value::Array(records_.begin(), records_.end()));
      if (a_.nearest) result.set("nearest", Value::Array(nearest_found_.begin(), nearest_found_.end()));
      std::cout << to_json(result, 1) << '\n';
      return;
    }
    if (!records_.empty()) std::cout << table_of(records_);
    for (const Value& found : nearest_found_) std::cout << '\n' << nearest_table(found);
    if (records_.empty() && nearest_found_.empty()) std::cout << a_.write_reference << '\n';
  }

  EvaluateArguments& a_;
  World& world_;
  EvaluationSetup setup_;
  std::optional<CpuThreads> threads_;
  c10::Device device_ = c10::Device(c10::kCPU);
  std::shared_ptr<StoredImages> images_;
  std::shared_ptr<StoredImages> stored_reference_;
  std::shared_ptr<StoredImages> held_out_;
  std::optional<Judges> judges_;
  std::int64_t num_ = 0;
  ImageStream reference_stream_;
  Reference reference_;
  std::vector<std::int64_t> reference_indices_;  ///< of the images of reference_stream_ in their data
  std::vector<Value> records_;
  NearestRequest nearest_;
  std::optional<Judges> nearest_judge_;  ///< where no judge of the evaluation finds what is near
  std::vector<Value> nearest_found_;
};

int evaluate_command(const std::vector<std::string>& arguments) {
  EvaluateArguments a;
  a.command = "evaluate";
  if (!fill_arguments({"evaluate", kUsage, described(a), {"what"}}, arguments)) return 0;
  check(a);
  catch_signals();
  keep_freed_memory();
  return run_in_world(
      [&](World& world) {
        if (!world.is_first()) return help_sampling(world), 0;
        return world.on_first([&] { Command(a, world).run(); }), 0;
      },
      interrupted);
}

}  // namespace

}  // namespace casdm

int casdm_evaluate_command(const std::vector<std::string>& arguments) { return casdm::evaluate_command(arguments); }
