#include <iostream>
#include <optional>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/weights_output.h"
#include "framework/config/key_path.h"
#include "framework/interchange/recorded_options.h"
#include "framework/interchange/weight_layouts.h"
#include "framework/interchange/weights_file.h"
#include "framework/interchange/weights_folder.h"
#include "framework/loading/find_plugins.h"
#include "framework/loading/lock.h"
#include "framework/sampling/weights_origin.h"
#include "framework/support/checked_tensors.h"
#include "framework/training/checkpoint.h"
#include "framework/training/module_state.h"
#include "framework/training/network_check.h"
#include "framework/training/pretrained.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

/// The value of --layout that keeps the network's own names.
constexpr const char* kOwnNames = "reference";

struct ExportArguments {
  std::string run;
  std::string module;
  std::string out;
  std::string weights = "ema";
  std::string layout = kOwnNames;
  std::vector<std::string> plugins;
  bool overwrite = false;
};

constexpr const char* kExportCommand = "export";
constexpr const char* kExportUsage =
    R"(usage: casdm export RUN --module NAME --out OUT [--weights NAME] [--layout NAME]

Writes the weights of one network of a run, or of one of its checkpoints, for other programs.

reference   OUT is a safetensors file with the network's own names; `casdm import` reads it back.
NAME        A weight layout of the network's backbone writes a file, or a folder, as another program reads it. What the
            other program cannot express is refused with the reasons. `casdm plugins list` names the layouts.

  casdm export runs/quickstart --module theta --out theta.safetensors
  casdm export runs/mine/checkpoints/000000100000 --module theta --out theta --layout diffusers --weights raw
)";

po::options_description described(ExportArguments& a) {
  po::options_description options("options");
  options.add_options()("run", po::value(&a.run), "the run folder or checkpoint (also as the first argument)")(
      "module", po::value(&a.module), "which network, by the name of its table under [head]")(
      "out", po::value(&a.out), "the safetensors file, or the folder, to write")(
      "weights", po::value(&a.weights)->default_value("ema"),
      "ema, raw for the weights themselves, an average of [[ema.also]] by name, or a file of `casdm ema`")(
      "layout", po::value(&a.layout)->default_value(kOwnNames),
      "reference, or a weight layout of the network's backbone")("plugin", po::value(&a.plugins)->composing(),
                                                                 "an additional plugin library")(
      "overwrite", po::bool_switch(&a.overwrite), "replace what an earlier export wrote to OUT");
  return options;
}

void check(const ExportArguments& a) {
  const std::string hint = "; see `casdm export --help`";
  if (a.run.empty() || a.module.empty() || a.out.empty()) {
    throw ConfigError("export: give a run, --module NAME and --out OUT" + hint);
  }
}

/// The network's table in the run's experiment; empty if the head has none of that name.
Value options_of_module(const Checkpoint& checkpoint, const std::string& module) {
  const Value* head = checkpoint.config().find("head");
  const Value* table = head != nullptr ? head->find(module) : nullptr;
  return table != nullptr ? *table : Value(Value::Table{});
}

/// Weights from a file that is no part of the checkpoint must fit the network that the checkpoint has.
NamedTensors weights_of(const Checkpoint& checkpoint, const std::string& module, const std::string& which) {
  if (checkpoint.has_average(which)) return checkpoint.weights(module, which);
  const NamedTensors network = checkpoint.weights(module, "raw");
  copy_into(network, checkpoint.weights(module, which), text(which, ", module ", module));
  return network;
}

/// The layouts of a backbone. Without its plugin there are none, and only the network's own names can be written.
std::vector<FoundLayout> layouts_of(const PluginHost& host, const std::string& type, const ExportArguments& a,
                                    std::int64_t image_size) {
  try {
    return weight_layouts(host, host.catalog().full_name(Backbone::kind, type), image_size);
  } catch (const ConfigError& error) {
    if (a.layout != kOwnNames) throw;
    std::cerr << "warning: options that the weights depend on are not recorded in " << a.out << ": " << error.what()
              << '\n';
    return {};
  }
}

/// The layout chosen with --layout; null: keep the network's own names.
const FoundLayout* chosen_layout(const std::vector<FoundLayout>& layouts, const ExportArguments& a) {
  std::vector<std::string> names = {kOwnNames};
  for (const FoundLayout& candidate : layouts) {
    const std::string bare = candidate.type.substr(candidate.type.find('/') + 1);
    if (a.layout == kOwnNames ? candidate.info.is_native : a.layout == bare || a.layout == candidate.type) {
      return &candidate;
    }
    names.push_back(bare);
  }
  if (a.layout == kOwnNames) return nullptr;
  throw ConfigError(text("export: the layouts of ", a.module, " are ", join(names, ", "), "; got ", quoted(a.layout)));
}

/// @param meaning  `meaning_of` the experiment that trained the network; null: unknown
void write(const ExportArguments& a, const FoundLayout* layout, const BackboneWeights& network, const Value& meaning) {
  const ForeignWeights foreign = layout != nullptr ? written_by(layout->layout, network)
                                                   : ForeignWeights{network.tensors, Value(), Value(Value::Table{})};
  if (layout != nullptr && a.layout != kOwnNames) {
    const LayoutMatch match = layout->layout.call(&WeightLayout::recognise, foreign);
    if (match.confidence <= 0) {
      throw ConfigError(text("export: ", a.module, " is no network of the layout ", quoted(a.layout),
                             match.difference.empty() ? "" : ": ", match.difference,
                             "; leave --layout out to write it under its own names"));
    }
  }
  if (layout != nullptr && !layout->info.weights_file.empty()) {
    return write_weights_folder(a.out, layout->info, foreign, marked({}, kExportCommand));
  }
  Metadata metadata{{"format", "pt"}};
  if (!meaning.is_null()) metadata[kMeaning] = to_json(meaning);
  record_options(metadata, foreign.recorded);
  // Only the backbone's own layout knows which options the weights depend on.
  if (layout == nullptr && !network.options.as_table().empty()) {
    metadata[kNetworkOfFile] = to_json(network.options);
  }
  write_checked_tensors(a.out, foreign.tensors, marked(std::move(metadata), kExportCommand));
}

int export_command(const std::vector<std::string>& arguments) {
  ExportArguments a;
  if (!fill_arguments({kExportCommand, kExportUsage, described(a), {"run"}}, arguments)) return 0;
  check(a);

  const Checkpoint checkpoint = Checkpoint::open(a.run);
  BackboneWeights network;
  network.tensors = weights_of(checkpoint, a.module, a.weights);
  network.options = options_of_module(checkpoint, a.module);
  const Value* const size = find_path(checkpoint.config(), "data.image_size");
  if (size == nullptr || !size->is_integer()) {
    throw Error(text(checkpoint.path().string(), ": its experiment has no data.image_size; it is damaged"));
  }
  const std::int64_t image_size = size->as_integer();
  network.spec.image.height = network.spec.image.width = image_size;
  const auto host = find_plugins(checkpoint.config(), {a.plugins.begin(), a.plugins.end()});
  check_lock(network.options, lock_in(checkpoint.config()), host->catalog());
  Value meaning = meaning_of(checkpoint.config());
  if (!checkpoint.has_average(a.weights)) {
    check_weights_file(a.weights, {a.module}, checkpoint.config(), *host);
    meaning = pretrained(a.weights, a.module).meaning;
    const WeightsOrigin origin = origin_of(a.weights, checkpoint);
    if (!origin.warning.empty()) std::cerr << "warning: " << origin.warning << '\n';
  }
  std::vector<FoundLayout> layouts;
  if (const Value* type = network.options.find("type")) {
    layouts = layouts_of(*host, type->as_string(), a, image_size);
  }
  if (network.options.as_table().empty()) {
    std::cerr << "warning: the run's [head] has no table " << a.module
              << ", so the options of the network are not recorded in " << a.out << '\n';
  }
  const FoundLayout* layout = chosen_layout(layouts, a);
  const WeightLayoutInfo info = layout != nullptr ? layout->info : WeightLayoutInfo();
  check_output({kExportCommand, a.out, {}, a.overwrite}, info.weights_file, info.config_file);
  remove_leftovers(fs::absolute(a.out).parent_path());
  write(a, layout, network, meaning);
  std::cout << checkpoint.path().string() << ", " << a.module << ", " << a.weights << '\n'
            << summary_of(network.tensors) << a.out << '\n';
  return 0;
}

}  // namespace

}  // namespace casdm

int casdm_export_command(const std::vector<std::string>& arguments) { return casdm::export_command(arguments); }
