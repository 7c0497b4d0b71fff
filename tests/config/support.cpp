#include "support.h"

#include <stdlib.h>

#include <fstream>
#include <stdexcept>

#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"

namespace casdm::testing {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() : previous_(fs::current_path()) {
  std::string name = (fs::temp_directory_path() / "casdm-config-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder: " + name);
  path_ = fs::canonical(name);
  fs::current_path(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::current_path(previous_, ignored);
  fs::remove_all(path_, ignored);
}

fs::path TemporaryFolder::write(const std::string& name, const std::string& content) const {
  const fs::path file = path_ / name;
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << content;
  return file;
}

const char* const kSmallExperiment = R"([data]
type = "shapes"
[noise]
type = "linear"
[head]
type = "cascade"
[head.theta]
type = "unet"
[sampler]
type = "ddim"
)";

namespace {

struct UNetOptions {
  std::int64_t channels = 64;
  std::vector<std::int64_t> channel_mult = {1, 2, 2};
  std::string order = "legacy";
  double dropout = 0;
  std::filesystem::path weights;
  std::optional<std::int64_t> num_heads;

  static void describe(Schema<UNetOptions>& s) {
    s.option("channels", &UNetOptions::channels, "Base width.").range(1, 4096);
    s.option("channel_mult", &UNetOptions::channel_mult, "Width of each level.").at_least(1);
    s.option("order", &UNetOptions::order, "Order of the attention's channels.").choices({"legacy", "new"});
    s.option("dropout", &UNetOptions::dropout, "Dropout in each block.").range(0, 1);
    s.option("weights", &UNetOptions::weights, "Weights to start from.");
    s.option("num_heads", &UNetOptions::num_heads, "Attention heads.").greater_than(0);
  }
};

struct TermWeights {
  double eps = 1;
  double x0 = 1;

  static void describe(Schema<TermWeights>& s) {
    s.option("eps", &TermWeights::eps, "Of the eps term.").at_least(0);
    s.option("x0", &TermWeights::x0, "Of the x0 term.").at_least(0);
  }
};

struct CascadeOptions {
  TermWeights weights = {1, 2};
  ComponentConfig theta;
  ComponentConfig phi;

  static void describe(Schema<CascadeOptions>& s) {
    s.option("weights", &CascadeOptions::weights, "Of the loss terms.");
    s.component("theta", &CascadeOptions::theta, "backbone", "Predicts eps.").required();
    s.component("phi", &CascadeOptions::phi, "backbone", "Refines x0.");
  }
};

struct PartOptions {
  ComponentConfig metric;
  double factor = 1;

  static void describe(Schema<PartOptions>& s) {
    s.flatten_component(&PartOptions::metric, "metric_loss");
    s.option("factor", &PartOptions::factor, "Factor of the part.");
  }
};

struct SumOptions {
  std::vector<PartOptions> parts;

  static void describe(Schema<SumOptions>& s) {
    s.option("parts", &SumOptions::parts, "The metrics that add up.").required();
  }
};

struct LpipsOptions {
  std::string net = "vgg16";
  std::int64_t layers = 5;
  double scale = 0;
  double offset = 0;

  static void describe(Schema<LpipsOptions>& s) {
    s.option("net", &LpipsOptions::net, "Trunk.").choices({"vgg16", "alexnet"});
    s.option("layers", &LpipsOptions::layers, "Of the trunk.").only_with("net", {"vgg16"});
    s.option("scale", &LpipsOptions::scale, "Of the distance; 0: none.");
    s.option("offset", &LpipsOptions::offset, "Added before it is scaled.")
        .not_with("scale", {0})
        .not_with("noise.num_train_timesteps", {10});
  }
};

struct CollidingOptions {
  double weight = 1;

  static void describe(Schema<CollidingOptions>& s) {
    s.option("weight", &CollidingOptions::weight, "Of something else.");
  }
};

struct ZipOptions {
  std::filesystem::path path;

  static void describe(Schema<ZipOptions>& s) {
    s.option("path", &ZipOptions::path, "The archive.").existing_path().required();
  }
};

struct ShapesOptions {
  Count num_images = 100;

  static void describe(Schema<ShapesOptions>& s) {
    s.option("num_images", &ShapesOptions::num_images, "How many.").at_least(1).in_unit("images");
  }
};

struct LinearOptions {
  std::int64_t num_train_timesteps = 1000;

  static void describe(Schema<LinearOptions>& s) {
    s.option("num_train_timesteps", &LinearOptions::num_train_timesteps, "T.").at_least(1);
  }
};

struct DdimOptions {
  std::int64_t num_inference_steps = 50;
  std::string respacing;

  static void describe(Schema<DdimOptions>& s) {
    s.option("num_inference_steps", &DdimOptions::num_inference_steps, "Steps.")
        .at_least(1)
        .at_most("noise.num_train_timesteps")
        .not_with("respacing");
    s.option("respacing", &DdimOptions::respacing, "Which are kept.")
        .matching("[0-9]+(,[0-9]+)*")
        .at_most("noise.num_train_timesteps");
  }
};

struct AdamOptions {
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;

  static void describe(Schema<AdamOptions>& s) {
    s.option("betas", &AdamOptions::betas, "Decay rates.").at_least(0).less_than(1);
    s.option("eps", &AdamOptions::eps, "Stability.").greater_than(0);
  }
};

struct MomentumOptions {
  double momentum = 0.9;
  bool nesterov = false;

  static void describe(Schema<MomentumOptions>& s) {
    s.option("momentum", &MomentumOptions::momentum, "What is kept.").range(0, 1);
    s.option("nesterov", &MomentumOptions::nesterov, "Looks ahead.").not_with("momentum", {0});
  }
};

class FakeCatalog final : public ComponentCatalog {
 public:
  FakeCatalog() {
    add<UNetOptions>("backbone", "unet");
    add<CascadeOptions>("cascade_head", "cascade");
    add<NoOptions>("metric_loss", "l1");
    add<LpipsOptions>("metric_loss", "lpips");
    entries_.back().is_recommended = true;
    add<SumOptions>("metric_loss", "sum");
    add<CollidingOptions>("metric_loss", "colliding");
    add<ZipOptions>("dataset", "zip");
    add<ShapesOptions>("dataset", "shapes");
    add<LinearOptions>("noise_scheduler", "linear");
    add<DdimOptions>("sampler", "ddim");
    add<AdamOptions>("optimizer", "adamw");
    add<MomentumOptions>("optimizer", "sgd");
  }

  const ComponentEntry& component(std::string_view kind, const std::string& type) const override {
    for (const ComponentEntry& entry : entries_) {
      if (entry.kind == kind && (type == entry.name || type == text(kind, "_fake/", entry.name))) return entry;
    }
    throw ConfigError(text("no ", kind, " '", type, "'\n    looked nowhere"));
  }

  std::string full_name(std::string_view kind, const std::string& type) const override {
    return text(kind, "_fake/", component(kind, type).name);
  }

  std::vector<std::string> names(std::string_view kind) const override {
    std::vector<std::string> result;
    for (const ComponentEntry& entry : entries_) {
      if (entry.kind == kind && entry.name != "colliding") result.push_back(entry.name);
    }
    return result;
  }

 private:
  template <class Options>
  void add(std::string kind, std::string name) {
    entries_.push_back({std::move(kind), name, "The " + name + ".", 1, schema_of<Options>(), nullptr});
  }

  std::vector<ComponentEntry> entries_;
};

}  // namespace

const ComponentCatalog& fake_catalog() {
  static const FakeCatalog catalog;
  return catalog;
}

Value small_experiment(const std::string& more) {
  return resolve(parse_document(kSmallExperiment + more, "x", fs::current_path()), schema_of<Experiment>(),
                 fake_catalog());
}

}  // namespace casdm::testing
