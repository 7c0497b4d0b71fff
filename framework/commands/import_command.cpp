#include <algorithm>
#include <iostream>
#include <optional>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/weights_output.h"
#include "framework/composition/memory_advice.h"
#include "framework/composition/model.h"
#include "framework/config/document.h"
#include "framework/interchange/weight_layouts.h"
#include "framework/interchange/weights_file.h"
#include "framework/interchange/weights_folder.h"
#include "framework/loading/find_plugins.h"
#include "framework/support/broken_tensors.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/one_line.h"
#include "framework/training/checkpoint.h"
#include "framework/training/pretrained.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct ImportArguments {
  std::string file;
  std::string out;
  std::string key;
  std::string strip;
  std::string config;
  std::string module;
  std::vector<std::string> overrides;
  std::vector<std::string> plugins;
  std::optional<std::int64_t> image_size;
  bool overwrite = false;
};

constexpr const char* kImportCommand = "import";
constexpr const char* kImportUsage =
    R"(usage: casdm import FILE --out OUT.safetensors [--set KEY=VALUE] [--config EXPERIMENT --module NAME]

Reads weights of other programs: a state_dict saved by PyTorch's torch.save (zip or legacy format), a safetensors file,
or a folder. No code in the file is executed. The weight layouts of the plugins found are asked which network the
weights belong to; the one that recognises them gives the tensors that network's names and prints its options. Weights
that no layout recognises keep their names. Training starts from the result by

  [[init]]
  module = "NAME"
  from = "OUT.safetensors"

--set tells the layout what the file does not record; `casdm plugins list` names the layouts, `casdm plugins inspect`
their options.

  casdm import 64x64_diffusion.pt --out adm64.safetensors --set attention_order=new --image-size 64
  casdm import model.pt --key ema --strip module. --out mine.safetensors --config mine.toml --module theta
)";

po::options_description described(ImportArguments& a) {
  po::options_description options("options");
  options.add_options()("file", po::value(&a.file), "the file or folder to read (also as the first argument)")(
      "out", po::value(&a.out), "the safetensors file to write")(
      "set", po::value(&a.overrides)->composing()->value_name("KEY=VALUE"),
      "an option of the layout; those that the weights depend on are recorded in OUT and compared in training")(
      "key", po::value(&a.key), "which dict of a file that holds several: model, ema, ...")(
      "strip", po::value(&a.strip), "use only the tensors whose names begin with this, and remove it: module.")(
      "image-size", whole_number("image-size", a.image_size, 1, 4096),
      "side of the network's images in pixels; default: --config's")(
      "config", po::value(&a.config), "compare names, shapes and options with a network of this experiment")(
      "module", po::value(&a.module), "which of its networks, by the name of its table under [head]")(
      "plugin", po::value(&a.plugins)->composing(), "an additional plugin library")(
      "overwrite", po::bool_switch(&a.overwrite), "replace OUT if an earlier import wrote it");
  return options;
}

/// Sets the arguments; false after --help was printed. If an unknown option belongs to a weight layout, the error says
/// how to pass it.
bool fill(ImportArguments& a, const std::vector<std::string>& arguments) {
  const po::options_description options = described(a);
  try {
    return fill_arguments({kImportCommand, kImportUsage, options, {"file"}}, arguments);
  } catch (const ConfigError& error) {
    for (const std::string& word : arguments) {
      std::string name = word.substr(0, word.find('='));
      if (!name.starts_with("--") || options.find_nothrow(name.substr(2), false) != nullptr) continue;
      name.erase(0, 2);
      std::replace(name.begin(), name.end(), '-', '_');
      const PluginCatalog catalog = PluginCatalog::discover({});
      for (const std::string& layout : catalog.names(WeightLayout::kind)) {
        for (const OptionSpec& option : catalog.component(WeightLayout::kind, layout).options) {
          if (name.empty() || !option.name.starts_with(name)) continue;
          throw ConfigError(text(error.what(), "\n", option.name, " is an option of the weight layout ", layout,
                                 ": give --set ", option.name, "=..."));
        }
      }
    }
    throw;
  }
}

void check(const ImportArguments& a) {
  const std::string hint = "; see `casdm import --help`";
  if (a.file.empty() || a.out.empty()) throw ConfigError("import: give a file and --out OUT.safetensors" + hint);
  if (a.config.empty() != a.module.empty()) throw ConfigError("import: --config and --module go together" + hint);
  check_output({kImportCommand, a.out, a.file, a.overwrite});
}

/// The network that the weights are for, if --config and --module name one.
struct Target {
  LoadedExperiment experiment;
  ComponentConfig network;  ///< as configured; a null table if the module has none

  Target(const ImportArguments& a, const std::vector<fs::path>& plugins)
      : experiment(load_experiment(a.config, {}, plugins)) {
    // A module is configured by the table of its name under [head].
    const Value* table = experiment.options.head.table.find(a.module);
    const Value* type = table != nullptr ? table->find("type") : nullptr;
    if (type != nullptr) network = {type->as_string(), *table};
  }

  /// Throws if the weights do not fit the network.
  /// @param native  the layout of the network's own backbone, or null
  void compare(const ImportArguments& a, const NamedTensors& tensors, const Metadata& metadata,
               const FoundLayout* native) const {
    const Value recorded = recorded_options(metadata, a.file);
    if (network.table.is_table() && !recorded.as_table().empty()) {
      check_unseen_options(native, tensors, recorded, network.table, experiment.options.data.image_size, a.file,
                           "head." + a.module);
    }
    const std::shared_ptr<Dataset> dataset = dataset_if_any();
    const auto made = [&](bool is_training) {
      return with_memory_advice(experiment.options, [&] {
        const std::int64_t classes = experiment.options.data.use_labels ? dataset->num_classes() : 0;
        return make_model(experiment, classes, dataset, is_training);
      });
    };
    Model model = made(/*is_training=*/false);
    const bool is_there = std::any_of(model.modules.begin(), model.modules.end(),
                                      [&](const NamedModule& module) { return module.name == a.module; });
    if (!is_there) model = made(/*is_training=*/true);  // some modules are of a training alone
    const Module& module = model.module(a.module);
    try {
      load_state(module, tensors, a.file);
    } catch (const ConfigError& error) {
      throw ConfigError(text(error.what(), "\nGive head.", a.module, " in ", a.config, " the options of the network ",
                             "that was trained, or leave --config and --module out: then nothing is compared"));
    }
  }

 private:
  /// Null if the data set cannot be opened and the network has no labels: then only the images are missing.
  std::shared_ptr<Dataset> dataset_if_any() const {
    try {
      return make_dataset(experiment);
    } catch (const Error& error) {
      if (experiment.options.data.use_labels) throw;
      std::cerr << "warning: the network is made without the data set, whose images may come with more: "
                << error.what() << '\n';
      return nullptr;
    }
  }
};

/// The options of the network whose tensors begin with `prefix`, if a run's own file records its [head], as one of
/// `casdm ema` does; an empty table if it does not.
Value options_of_run(const Metadata& metadata, const std::string& prefix) {
  const auto head = metadata.find(kHeadOfRun);
  const Value tables = head != metadata.end() ? from_json(head->second) : Value();
  const Value* network = tables.is_table() ? tables.find(prefix.substr(0, prefix.find_last_not_of('.') + 1)) : nullptr;
  return network != nullptr && network->is_table() ? *network : Value(Value::Table{});
}

/// Weights, and the layout that recognises them best.
struct Recognised {
  Weights weights;
  Value config;
  Value recorded{Value::Table{}};       ///< options of the network, as far as the file says them
  const FoundLayout* layout = nullptr;  ///< null: none does
  std::vector<std::string> differences;

  ForeignWeights foreign() const { return {weights.tensors, config, recorded}; }
};

Recognised recognise(const ImportArguments& a, const std::vector<FoundLayout>& layouts) {
  const bool is_folder = fs::is_directory(a.file);
  if (is_folder && !(a.key.empty() && a.strip.empty())) {
    throw ConfigError(text("import: --key and --strip are for files; ", a.file, " is a folder"));
  }
  Recognised result;
  if (!is_folder) {
    result.weights = read_weights(a.file, a.key);
    result.recorded = recorded_options(result.weights.metadata, a.file);
    if (!a.strip.empty()) {
      result.weights.tensors = without_prefix(result.weights.tensors, a.strip);
      if (result.recorded.as_table().empty()) result.recorded = options_of_run(result.weights.metadata, a.strip);
    }
  }
  double confidence = 0;
  for (const FoundLayout& candidate : layouts) {
    if (is_folder ? !is_weights_folder(a.file, candidate.info) : !candidate.info.weights_file.empty()) continue;
    ForeignWeights content = is_folder ? read_weights_folder(a.file, candidate.info) : result.foreign();
    const std::optional<LayoutMatch> match = recognised(candidate, content);
    if (!match) continue;
    if (!match->difference.empty()) {
      result.differences.push_back(
          text("not of the layout ", candidate.type, ", although it resembles one: ", one_line(match->difference)));
    }
    if (match->confidence <= confidence) continue;
    confidence = match->confidence;
    result.layout = &candidate;
    if (is_folder) {
      result.weights = {std::move(content.tensors), {}, candidate.type};
      result.config = std::move(content.config);
    }
  }
  if (is_folder && result.layout == nullptr) {
    throw Error(text(a.file, " is a folder that no weight layout found recognises",
                     result.differences.empty() ? "" : ":\n  " + join(result.differences, "\n  ")));
  }
  return result;
}

void print_network(const BackboneWeights& network, const FoundLayout& layout, const ComponentCatalog& catalog) {
  const std::vector<std::string> names = catalog.names(Backbone::kind);
  const std::string bare = layout.backbone.substr(layout.backbone.find('/') + 1);
  const bool is_unique = std::find(names.begin(), names.end(), bare) != names.end();
  std::cout << '\n'
            << one_line(network.summary)
            << ". Its options:\n\ntype = " << to_toml_value(is_unique ? bare : layout.backbone) << '\n'
            << to_toml(network.options);
  const std::int64_t classes = network.spec.condition.num_classes;
  if (classes > 0) {
    std::cout << "# it takes labels of " << classes << (classes == 1 ? " class" : " classes")
              << ", that of data.label_dropout included: set data.use_labels = true\n";
  }
  for (const std::string& remark : network.remarks) std::cout << "# " << one_line(remark) << '\n';
  std::cout << '\n';
}

/// @param found  the size in pixels according to `source`; 0: unknown
void check_size(const ImportArguments& a, std::int64_t found, const std::string& source) {
  if (!a.image_size || found == 0 || found == *a.image_size) return;
  throw ConfigError(text("import: --image-size ", *a.image_size, ", but the images of ", source, " have ", found,
                         " pixels; leave --image-size out"));
}

int import_command(const std::vector<std::string>& arguments) {
  ImportArguments a;
  if (!fill(a, arguments)) return 0;
  check(a);

  const std::vector<fs::path> plugins(a.plugins.begin(), a.plugins.end());
  std::optional<Target> target;
  if (!a.config.empty()) target.emplace(a, plugins);
  const std::shared_ptr<PluginHost> host = target ? target->experiment.host : find_plugins(Value(), plugins);
  const std::int64_t image_size = target ? target->experiment.options.data.image_size : a.image_size.value_or(0);

  check_size(a, target ? image_size : 0, a.config);
  const std::vector<FoundLayout> layouts = weight_layouts(*host, target ? target->network.type : "", image_size);
  const Recognised found = recognise(a, layouts);
  if (found.weights.tensors.empty()) throw Error(text(a.file, " holds no tensors"));
  NamedTensors tensors = found.weights.tensors;
  Metadata metadata = found.weights.metadata;
  std::optional<BackboneWeights> network;
  if (found.layout != nullptr) {
    network = read_by(configured_layout(*host, found.layout->type, a.overrides, image_size), found.foreign());
    check_size(a, network->spec.image.height, a.file);
    tensors = network->tensors;
    if (const FoundLayout* native = native_layout(layouts, found.layout->backbone)) {
      const ForeignWeights own = written_by(native->layout, *network);
      tensors = own.tensors;
      record_options(metadata, own.recorded);
    }
  } else if (!a.overrides.empty() || (a.image_size && !target)) {
    throw ConfigError(text("import: ", a.overrides.empty() ? "--image-size" : "--set",
                           " is for the layout of the weights, and no layout found recognises ", a.file,
                           found.differences.empty() ? "" : "; ", join(found.differences, "; ")));
  }
  refuse_nan(tensors, a.file);
  if (const std::string name = first_infinite(tensors); !name.empty()) {
    std::cerr << "warning: " << a.file << ": the tensor " << quoted(name) << " holds infinite numbers\n";
  }
  if (target) target->compare(a, tensors, metadata, native_layout(layouts, target->network.type));
  remove_leftovers(fs::absolute(a.out).parent_path());
  write_checked_tensors(a.out, tensors, marked(std::move(metadata), kImportCommand));

  std::cout << a.file << ": " << printable(found.weights.format) << '\n' << printable(summary_of(tensors));
  if (network) print_network(*network, *found.layout, host->catalog());
  if (!network) {
    for (const std::string& difference : found.differences) std::cerr << difference << '\n';
  }
  std::cout << a.out << '\n';
  return 0;
}

}  // namespace

}  // namespace casdm

int casdm_import_command(const std::vector<std::string>& arguments) { return casdm::import_command(arguments); }
