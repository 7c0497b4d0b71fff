#include <iostream>

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/config/key_path.h"
#include "framework/config/void_options.h"
#include "framework/data/inspection.h"
#include "framework/data/packing.h"
#include "framework/reporting/image_files.h"
#include "framework/reporting/progress.h"
#include "framework/support/run_contents.h"
#include "framework/support/shell_word.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr const char* kDataCommand = "data";
constexpr std::int64_t kInGrid = 64;
constexpr const char* kDataUsage = R"(usage: casdm data inspect CONFIG [--images N] [--grid FILE] [--json]
       casdm data pack CONFIG --out FILE.zip

inspect    reads the images of an experiment and says how many there are, of which sizes and classes, what
           a training keeps in memory, and which cannot be read; --grid writes 64 of them as the networks
           see them. Exit status 1 when an image cannot be used
pack       writes the images, at data.image_size, as PNGs into a zip archive, with labels in its
           dataset.json (EDM's layout). It can be interrupted, with exit status 1, and goes on when
           called again; nothing is overwritten

  casdm data inspect configs/quickstart.toml --grid images.png
  casdm data inspect configs/quickstart.toml --images 1000 --set data.image_size=64
  casdm data pack configs/lsun_bedroom256_casdm_lpips.toml --out bedroom256.zip
)";

void refuse_existing(const char* option, const fs::path& path) {
  refuse_inside_run(kDataCommand, path);
  if (!fs::exists(fs::symlink_status(path))) return;
  throw ConfigError(text("data: --", option, ": ", path.string(), " is there already, and nothing is overwritten"));
}

void write_grid(const fs::path& path, const std::vector<Image>& images) {
  if (images.empty()) throw Error("no image could be read for the grid");
  std::vector<at::Tensor> tensors;
  for (const Image& image : images) {
    const at::Tensor rows = at::empty({image.height, image.width, image.channels}, at::kByte);
    std::copy(image.pixels.begin(), image.pixels.end(), rows.data_ptr<std::uint8_t>());
    tensors.push_back(rows.permute({2, 0, 1}));
  }
  write_png(path, image_grid(at::stack(tensors)));
}

int inspect(const LoadedExperiment& experiment, std::optional<std::int64_t> most, const std::string& grid,
            bool as_json) {
  if (!grid.empty()) refuse_existing("grid", grid);
  const std::shared_ptr<Dataset> dataset = make_dataset(experiment);
  if (!grid.empty() && dataset->is_floating_point()) {
    throw ConfigError("data: --grid: these images are numbers in floating point, which a PNG has no place for");
  }
  std::optional<Progress> progress;
  progress.emplace("reading", std::min(dataset->size(), most.value_or(dataset->size())), "images");
  const Inspection inspection = inspect_data(experiment, dataset, most, grid.empty() ? 0 : kInGrid,
                                             [&](std::int64_t done) { progress->update(done); });
  progress.reset();
  if (as_json) {
    std::cout << to_json(to_value(inspection, experiment.options), 2) << '\n';
  } else {
    std::cout << printable(describe(inspection, experiment.options));
  }
  if (!grid.empty()) {
    write_grid(grid, inspection.grid);
    if (!as_json) std::cout << "grid     " << grid << '\n';
  }
  return inspection.unreadable.empty() ? 0 : 1;
}

int pack(const LoadedExperiment& experiment, const fs::path& out, const std::string& again) {
  refuse_inside_run(kDataCommand, out);
  remove_parts_of_finished(out);
  refuse_existing("out", out);
  catch_signals();
  std::optional<Progress> progress;
  const std::optional<Packed> packed = pack_data(experiment, out, [&](std::int64_t done, std::int64_t total) {
    if (!progress) progress.emplace("packing", total, "images", done);
    progress->update(done);
    return !interrupted();
  });
  progress.reset();
  if (!packed) {
    std::cerr << "stopped; what is packed lies in " << out.string() << ".part. Go on with\n  " << again << '\n';
    return 1;
  }
  std::cerr << "packed " << packed->images << " images"
            << (packed->left_out > 0 ? text("; left out ", packed->left_out, " that cannot be read") : "") << '\n';
  if (packed->classes_in_archive < packed->classes) {
    std::cerr << "warning: the data set has " << packed->classes << " classes, and the archive has "
              << packed->classes_in_archive << ", since no image is of a later class: networks with labels that are "
              << "trained on it and on the data set differ; pack a part with images of the last class\n";
  }
  std::cout << out.string() << '\n';
  return 0;
}

int data_command(const std::vector<std::string>& arguments) {
  std::optional<std::int64_t> most;
  ArgumentRules rules{kDataCommand, kDataUsage, po::options_description("options"), {"verb", "config"}};
  const auto many = [](const char* name) { return po::value<std::vector<std::string>>()->value_name(name); };
  rules.visible.add_options()("set", many("KEY=VALUE"), "set one key over the file's; repeatable")(
      "plugin", many("FILE"), "also this library or folder of them; repeatable")(
      "images", whole_number("images", most, 1), "inspect: only so many, spread evenly")(
      "grid", po::value<std::string>()->value_name("FILE"), "inspect: write a PNG of some images")(
      "out", po::value<std::string>()->value_name("FILE"), "pack: the zip archive to write")("json",
                                                                                             "inspect: print JSON");
  const auto parsed = parse_arguments(std::move(rules), arguments);
  if (!parsed) return 0;
  const std::string verb = chosen_verb(*parsed, kDataCommand, {"inspect", "pack"});
  const std::string config = word(*parsed, "config", kDataCommand);
  const bool is_pack = verb == "pack";
  for (const char* option : {"images", "grid", "json", "out"}) {
    if (parsed->count(option) == 0 || (std::string_view(option) == "out") == is_pack) continue;
    throw ConfigError(text("data: ", verb, " takes no --", option, "; see `casdm data --help`"));
  }
  const std::vector<std::string> plugins = values(*parsed, "plugin"), overrides = values(*parsed, "set");
  const LoadedExperiment experiment = load_experiment(config, overrides, {plugins.begin(), plugins.end()});
  for (const VoidOption& option : void_options(experiment.resolved, experiment.host->catalog())) {
    if (option.key.starts_with("data.") && !option.is_overridden) fail_at(option.location, option.message);
  }
  if (!is_pack) {
    const std::string grid = parsed->count("grid") > 0 ? (*parsed)["grid"].as<std::string>() : "";
    return inspect(experiment, most, grid, parsed->count("json") > 0);
  }
  std::vector<std::string> words;
  for (const std::string& argument : arguments) words.push_back(shell_word(argument));
  if (parsed->count("out") == 0) throw ConfigError("data: pack needs --out FILE.zip; see `casdm data --help`");
  return pack(experiment, (*parsed)["out"].as<std::string>(), text("casdm data ", join(words, " ")));
}

}  // namespace

}  // namespace casdm

int casdm_data_command(const std::vector<std::string>& arguments) { return casdm::data_command(arguments); }
