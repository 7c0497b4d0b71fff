#include <iostream>
#include <optional>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/composition/model.h"
#include "framework/config/document.h"
#include "framework/interchange/adm_layout.h"
#include "framework/interchange/diffusers_layout.h"
#include "framework/interchange/weights_file.h"
#include "framework/support/checked_tensors.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct ImportArguments {
  std::string file;
  std::string out;
  std::string key;
  std::string strip;
  std::string attention;
  std::string config;
  std::string module;
  std::vector<std::string> plugins;
  std::optional<std::int64_t> image_size;
  bool overwrite = false;
};

constexpr const char* kUsage =
    R"(usage: casdm import FILE --out OUT.safetensors [--attention legacy|new] [--config EXPERIMENT --module NAME]

Reads weights of others: a state_dict saved by PyTorch's torch.save (zip or legacy format), as OpenAI publishes its
diffusion models, a safetensors file, or a folder with a UNet2DModel of diffusers. Nothing of the file is executed.
Writes them as safetensors, prints what they are and, for a U-Net of guided-diffusion's names, the options of the
network that has them. Training starts from the result by

  [[init]]
  module = "theta"
  from = "OUT.safetensors"

guided-diffusion has two orders of the channels of attention's q, k and v, with equal shapes. The file does not tell
which: it is "new" for models trained with use_new_attention_order, "legacy" for all others, improved-diffusion's too.

  casdm import 64x64_diffusion.pt --out adm64.safetensors --attention new --image-size 64
  casdm import model.pt --key ema --strip module. --out theta.safetensors --config mine.toml --module theta
)";

po::options_description described(ImportArguments& a) {
  po::options_description options("options");
  options.add_options()("file", po::value(&a.file), "the file or diffusers folder to read (also as the first word)")(
      "out", po::value(&a.out), "the safetensors file to write")(
      "attention", po::value(&a.attention),
      "legacy or new: the order of q, k, v; kept in the file and compared in training")(
      "key", po::value(&a.key), "which dict of a file that holds several: model, ema, ...")(
      "strip", po::value(&a.strip), "take the tensors whose names begin so, without it: module.")(
      "image-size", whole_number("image-size", a.image_size, 1, 4096),
      "pixels of its images; tells attention's sizes (default: --config's)")(
      "config", po::value(&a.config), "compare names, shapes and options with a network of this experiment")(
      "module", po::value(&a.module), "which of its networks: theta, phi")(
      "plugin", po::value(&a.plugins)->composing(), "a plugin library to use besides those found")(
      "overwrite", po::bool_switch(&a.overwrite), "replace OUT when it exists");
  return options;
}

void check(const ImportArguments& a) {
  const std::string hint = "; see `casdm import --help`";
  if (a.file.empty() || a.out.empty()) throw ConfigError("import: give a file and --out OUT.safetensors" + hint);
  if (a.config.empty() != a.module.empty()) throw ConfigError("import: --config and --module go together" + hint);
  if (!a.attention.empty() && a.attention != "legacy" && a.attention != "new") {
    throw ConfigError(text("import: --attention is legacy or new, got ", a.attention, hint));
  }
  if (!a.overwrite && fs::exists(a.out)) {
    throw ConfigError(text("import: ", a.out, " exists; choose another name or pass --overwrite"));
  }
}

constexpr const char* kAttention = "attention_order";

/// What there is at a.file, and in a diffusers folder the size of its images.
Weights read(const ImportArguments& a, std::int64_t& image_size) {
  if (!is_diffusers_folder(a.file)) return read_weights(a.file, a.key);
  if (a.attention.empty()) {
    throw ConfigError(
        "import: diffusers keeps q, k and v apart; say --attention legacy or --attention new for the network "
        "that is to have them");
  }
  const AdmModel model = from_diffusers(read_diffusers(a.file), a.attention);
  Weights weights{model.tensors, {}, "diffusers"};
  record_options(weights.metadata, model.options, unseen_adm_options(model.options));
  image_size = model.image_size;
  return weights;
}

/// Records the order of q, k, v that the user says; throws ConfigError when it is needed and nobody tells it.
void settle_attention(Weights& weights, const std::string& said) {
  const auto recorded = weights.metadata.find(text("option.", kAttention));
  const bool is_recorded = recorded != weights.metadata.end();
  if (said.empty()) {
    if (is_recorded) return;
    throw ConfigError(
        "import: say --attention legacy or --attention new. The two orders of q, k and v have equal shapes, and with "
        "the wrong one the network gives noise. \"new\" is right for models trained with use_new_attention_order, "
        "\"legacy\" for all others");
  }
  if (is_recorded && recorded->second != to_json(said)) {
    throw ConfigError(
        text("import: the file records attention_order = ", recorded->second, ", --attention says ", said));
  }
  Value options{Value::Table{}};
  options.set(kAttention, said);
  record_options(weights.metadata, options, {kAttention});
}

/// Throws when the weights do not fit the experiment's network. Returns the size of its images.
std::int64_t compare(const ImportArguments& a, const Weights& weights) {
  const LoadedExperiment experiment = load_experiment(a.config, {}, {a.plugins.begin(), a.plugins.end()});
  const Value* table = experiment.resolved.find("head")->find(a.module);
  if (table != nullptr) check_recorded_options(weights.metadata, *table, a.file, "head." + a.module);
  const std::int64_t classes = experiment.options.data.use_labels ? make_dataset(experiment)->num_classes() : 0;
  const Model model = make_model(experiment, classes);
  load_state(model.module(a.module), weights.tensors, a.file);
  return experiment.options.data.image_size;
}

/// The backbone among the plugins found that has all of these options; empty: there is none.
std::string backbone_with(const Value& options, const std::vector<std::string>& plugins) {
  SearchPaths search;
  search.files.assign(plugins.begin(), plugins.end());
  const PluginCatalog catalog = PluginCatalog::discover(search);
  for (const std::string& name : catalog.names(Backbone::kind)) {
    const OptionSchema& schema = catalog.component(Backbone::kind, name).options;
    const auto has = [&](const Value::Member& option) {
      return std::any_of(schema.begin(), schema.end(),
                         [&](const OptionSpec& spec) { return spec.name == option.first; });
    };
    if (std::all_of(options.as_table().begin(), options.as_table().end(), has)) return name;
  }
  return "";
}

/// Options that the file records although no shape shows them.
void add_recorded(Value& options, const Metadata& metadata) {
  for (const std::string& name : unseen_adm_options()) {
    const auto found = metadata.find("option." + name);
    if (found != metadata.end()) options.set(name, from_json(found->second));
  }
}

void print_layout(const AdmLayout& layout, const std::string& type, const Value& options, bool is_size_known) {
  std::cout << "\nA U-Net of guided-diffusion's names, " << layout.in_channels << " -> " << layout.out_channels
            << " channels" << (layout.out_channels == 2 * layout.in_channels ? " (a mean and a learned variance)" : "")
            << ", " << (layout.num_classes > 0 ? text(layout.num_classes, " classes") : "unconditional")
            << ". Its options:\n\n";
  if (!type.empty()) std::cout << "type = " << to_toml_value(type) << '\n';
  std::cout << to_toml(options);
  if (!is_size_known) std::cout << "# attention_resolutions: give --image-size\n";
  if (options.find("groups") == nullptr) {
    std::cout << "# num_heads or num_head_channels, groups, timestep_scale leave no trace in the weights\n";
  }
  std::cout << '\n';
}

int import_command(const std::vector<std::string>& words) {
  ImportArguments a;
  if (!fill_arguments({"import", kUsage, described(a), {"file"}}, words)) return 0;
  check(a);

  std::int64_t image_size = a.image_size.value_or(0);
  Weights weights = read(a, image_size);
  if (!a.strip.empty()) weights.tensors = without_prefix(weights.tensors, a.strip);
  std::string why;
  const std::optional<AdmLayout> layout = recognise_adm(weights.tensors, why);
  if (layout || !a.attention.empty()) settle_attention(weights, a.attention);
  if (!a.config.empty()) image_size = compare(a, weights);
  remove_leftovers(fs::absolute(a.out).parent_path());
  write_checked_tensors(a.out, weights.tensors, weights.metadata);

  std::cout << a.file << ": " << weights.format << '\n' << summary_of(weights.tensors);
  if (layout) {
    Value told = options_of(*layout, image_size);
    add_recorded(told, weights.metadata);
    print_layout(*layout, backbone_with(told, a.plugins), told, image_size > 0);
  }
  if (!why.empty()) std::cerr << "no U-Net of guided-diffusion's names, though it begins as one: " << why << '\n';
  std::cout << a.out << '\n';
  return 0;
}

}  // namespace

}  // namespace casdm

int casdm_import_command(const std::vector<std::string>& arguments) { return casdm::import_command(arguments); }
