#include <iostream>
#include <optional>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/interchange/adm_layout.h"
#include "framework/interchange/diffusers_layout.h"
#include "framework/interchange/weights_file.h"
#include "framework/support/checked_tensors.h"
#include "framework/training/checkpoint.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct ExportArguments {
  std::string run;
  std::string module;
  std::string out;
  std::string weights = "ema";
  std::string layout = "reference";
  bool overwrite = false;
};

constexpr const char* kUsage =
    R"(usage: casdm export RUN --module NAME --out OUT [--weights NAME] [--layout reference|diffusers]

Writes the weights of one network of a run, or of one of its checkpoints, for other programs.

reference  OUT is a safetensors file with the network's own names. A U-Net has those of guided-diffusion, so its
           UNetModel loads them; `casdm import` reads them back.
diffusers  OUT is a folder with config.json and diffusion_pytorch_model.safetensors, which diffusers loads by
           UNet2DModel.from_pretrained(OUT). What UNet2DModel cannot express is refused with the reasons.

  casdm export runs/quickstart --module theta --out theta.safetensors
  casdm export runs/mine/checkpoints/000000100000 --module theta --out theta --layout diffusers --weights raw
)";

po::options_description described(ExportArguments& a) {
  po::options_description options("options");
  options.add_options()("run", po::value(&a.run), "the run folder or checkpoint (also as the first word)")(
      "module", po::value(&a.module), "which network: theta, phi")("out", po::value(&a.out),
                                                                   "the safetensors file, or the folder, to write")(
      "weights", po::value(&a.weights)->default_value("ema"),
      "ema, raw for the weights themselves, an average of [[ema.also]] by name, or a file of `casdm ema`")(
      "layout", po::value(&a.layout)->default_value("reference"), "reference or diffusers")(
      "overwrite", po::bool_switch(&a.overwrite), "replace what OUT holds");
  return options;
}

void check(const ExportArguments& a) {
  const std::string hint = "; see `casdm export --help`";
  if (a.run.empty() || a.module.empty() || a.out.empty()) {
    throw ConfigError("export: give a run, --module NAME and --out OUT" + hint);
  }
  if (a.layout != "reference" && a.layout != "diffusers") {
    throw ConfigError(text("export: --layout is reference or diffusers, got ", a.layout, hint));
  }
  if (!a.overwrite && fs::exists(a.out)) {
    throw ConfigError(text("export: ", a.out, " exists; choose another name or pass --overwrite"));
  }
}

/// The network's table in the run's experiment; an empty one when the head has none of that name.
Value options_of_module(const Checkpoint& checkpoint, const std::string& module) {
  const Value* head = checkpoint.config().find("head");
  const Value* table = head != nullptr ? head->find(module) : nullptr;
  return table != nullptr ? *table : Value(Value::Table{});
}

void export_reference(const ExportArguments& a, const NamedTensors& tensors, const Value& options) {
  Metadata metadata{{"format", "pt"}};
  record_options(metadata, options, unseen_adm_options(options));
  write_checked_tensors(a.out, tensors, metadata);
}

void export_diffusers(const ExportArguments& a, const NamedTensors& tensors, const Value& options,
                      const Value& config) {
  std::string why;
  const std::optional<AdmLayout> layout = recognise_adm(tensors, why);
  if (!layout) {
    throw ConfigError(text("export: ", a.module,
                           " is no U-Net of guided-diffusion's names, so diffusers cannot express it",
                           why.empty() ? "" : ": ", why));
  }
  for (const std::string& name : unseen_adm_options(options)) {
    if (options.find(name) == nullptr)
      throw ConfigError(text("export: head.", a.module, " has no option '", name, "'"));
  }
  write_diffusers(a.out,
                  to_diffusers(*layout, tensors, options, config.find("data")->find("image_size")->as_integer()));
}

int export_command(const std::vector<std::string>& words) {
  ExportArguments a;
  if (!fill_arguments({"export", kUsage, described(a), {"run"}}, words)) return 0;
  check(a);

  const Checkpoint checkpoint = Checkpoint::open(a.run);
  const NamedTensors tensors = checkpoint.weights(a.module, a.weights);
  const Value table = options_of_module(checkpoint, a.module);
  remove_leftovers(fs::absolute(a.out).parent_path());
  if (a.layout == "reference") export_reference(a, tensors, table);
  if (a.layout == "diffusers") export_diffusers(a, tensors, table, checkpoint.config());
  std::cout << checkpoint.path().string() << ", " << a.module << ", " << a.weights << '\n'
            << summary_of(tensors) << a.out << '\n';
  return 0;
}

}  // namespace

}  // namespace casdm

int casdm_export_command(const std::vector<std::string>& arguments) { return casdm::export_command(arguments); }
