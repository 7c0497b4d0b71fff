#include <algorithm>
#include <iostream>
#include <set>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/weights_output.h"
#include "framework/sampling/weights_origin.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/files.h"
#include "framework/support/number_format.h"
#include "framework/training/checkpoint.h"
#include "framework/training/ema_snapshots.h"
#include "framework/training/pretrained.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct EmaArguments {
  std::string run;
  std::string out;
  std::optional<double> sigma_rel;
  std::optional<std::int64_t> at;
  bool overwrite = false;
};

constexpr const char* kEmaCommand = "ema";
constexpr double kLargestError = 0.2;  // of a fitted profile; beyond it, the result is a different average
constexpr const char* kEmaUsage = R"(usage: casdm ema RUN --sigma-rel X --out FILE [--at IMAGES]

Computes an average of the weights with any width after training (Karras et al. 2024), from the snapshots
that a run saves with ema.snapshot_every_images, and writes it as safetensors. The width is the
average's standard deviation as a fraction of the training so far: 0.05 is short, 0.15 long.

  casdm ema runs/mine --sigma-rel 0.08 --out p08.safetensors
  casdm sample runs/mine --weights p08.safetensors --num 64 --out samples
)";

po::options_description described(EmaArguments& a) {
  po::options_description options("options");
  options.add_options()("run", po::value(&a.run), "the run folder (also as the first argument)")(
      "sigma-rel", real_number("sigma-rel", a.sigma_rel, 0), "width of the average, 1e-6 to 0.2886")(
      "out", po::value(&a.out), "file to write")("at", whole_number("at", a.at, 1),
                                                 "average as of this many images; default: the newest snapshot")(
      "overwrite", po::bool_switch(&a.overwrite), "replace the file if an earlier `casdm ema` wrote it");
  return options;
}

void check(const EmaArguments& a) {
  const std::string hint = "; see `casdm ema --help`";
  if (a.run.empty() || a.out.empty() || !a.sigma_rel) {
    throw ConfigError("ema: give a run, --sigma-rel X and --out FILE" + hint);
  }
  gamma_of(*a.sigma_rel);
  check_output({kEmaCommand, a.out, {}, a.overwrite});
}

/// The snapshots up to `at` images, or all of them.
std::vector<EmaSnapshot> snapshots_until(const RunFolder& run, std::optional<std::int64_t> at) {
  std::vector<EmaSnapshot> snapshots = ema_snapshots(run);
  if (snapshots.empty()) {
    throw ConfigError(
        text("ema: ", run.path().string(), " has no snapshots of averages; train with ",
             "ema.snapshot_every_images = N and two [[ema.also]] with a sigma_rel, such as 0.05 and 0.1"));
  }
  if (!at) return snapshots;
  std::set<std::int64_t> moments;
  for (const EmaSnapshot& snapshot : snapshots) moments.insert(snapshot.images);
  if (!moments.contains(*at)) {
    std::vector<std::string> names;
    for (const std::int64_t moment : moments) names.push_back(std::to_string(moment));
    throw ConfigError(text("ema: --at ", *at, ": expected the image count of a snapshot, one of ", join(names, ", ")));
  }
  std::erase_if(snapshots, [&](const EmaSnapshot& snapshot) { return snapshot.images > *at; });
  return snapshots;
}

/// The experiment of the run's newest readable checkpoint; an empty table if there is none.
Value experiment_of(const RunFolder& run) {
  try {
    return Checkpoint::open(run.path()).config();
  } catch (const Error&) {
    return Value(Value::Table{});
  }
}

std::vector<std::string> widths_of(const std::vector<EmaSnapshot>& snapshots) {
  std::set<double> widths;
  for (const EmaSnapshot& snapshot : snapshots) widths.insert(snapshot.sigma_rel);
  std::vector<std::string> names;
  for (const double width : widths) names.push_back(number(width));
  return names;
}

int ema_command(const std::vector<std::string>& arguments) {
  EmaArguments a;
  if (!fill_arguments({kEmaCommand, kEmaUsage, described(a), {"run"}}, arguments)) return 0;
  check(a);
  const RunFolder run = RunFolder::open(a.run);
  const std::vector<EmaSnapshot> snapshots = snapshots_until(run, a.at);
  const std::int64_t images = snapshots.back().images;
  const Reconstruction average = reconstruct_ema(snapshots, *a.sigma_rel, images);
  remove_leftovers(fs::absolute(a.out).parent_path());
  std::map<std::string, std::string> metadata = {{"sigma_rel", number(*a.sigma_rel)},
                                                 {kImagesOfAverage, std::to_string(images)},
                                                 {kRunOfAverage, a.run},
                                                 {kSnapshotOfAverage, snapshots.back().path.filename().string()},
                                                 {kSnapshotDigest, sha256_of_file(snapshots.back().path)}};
  const Value experiment = experiment_of(run);
  if (!experiment.as_table().empty()) metadata.merge(description_of(experiment));
  write_checked_tensors(a.out, average.tensors, marked(std::move(metadata), kEmaCommand));
  std::cerr << "average of sigma_rel " << number(*a.sigma_rel) << " at " << images << " images from "
            << snapshots.size() << " snapshots; its profile is off by " << significant(100 * average.error) << " %\n";
  if (average.unchecked > 0) {
    std::cerr << "warning: " << average.unchecked << " of the snapshots have no checksum, as casdm 0.1 wrote them: "
              << "whether they were altered is not known\n";
  }
  if (average.error > kLargestError) {
    std::cerr << "warning: these snapshots cannot give an average of that width: choose a --sigma-rel nearer to "
              << join(widths_of(snapshots), ", ") << (a.at ? "" : ", or an earlier --at") << '\n';
  }
  std::cout << a.out << '\n';
  return 0;
}

}  // namespace

}  // namespace casdm

int casdm_ema_command(const std::vector<std::string>& arguments) { return casdm::ema_command(arguments); }
