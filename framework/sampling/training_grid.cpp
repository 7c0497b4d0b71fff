#include "framework/sampling/training_grid.h"

#include <ATen/ATen.h>

#include <chrono>
#include <iostream>
#include <optional>

#include "casdm/build_info.h"
#include "framework/data/image_transform.h"
#include "framework/reporting/image_files.h"
#include "framework/reporting/progress.h"
#include "framework/sampling/generate.h"

namespace casdm {

namespace {

constexpr std::chrono::seconds kLong(2);

Value provenance(const Experiment& options, std::int64_t images) {
  Value about{Value::Table{}};
  about.set("run", options.run.name);
  about.set("images", images);
  about.set("weights", "ema");
  about.set("sampler", options.sampler.table);
  about.set("guidance", write_options(options.guidance));
  about.set("seed", options.run.seed);
  return about;
}

}  // namespace

void draw_training_grid(const LoadedExperiment& experiment, std::int64_t images, const std::filesystem::path& path,
                        const Draw& draw) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(path, ignored)) && !is_png_of_ours(path)) {
    std::cerr << "warning: " << path.string() << " was not written by this program and is left as it is; the grid of "
              << images << " images is not drawn\n";
    return;
  }
  const Experiment& said = experiment.options;
  GenerateOptions options;
  options.seed = static_cast<std::uint64_t>(said.run.seed);
  options.count = said.log.sample_count;

  const auto start = std::chrono::steady_clock::now();
  std::optional<Progress> progress;
  options.on_step = [&](std::size_t step, std::size_t steps) {
    const bool is_long = std::chrono::steady_clock::now() - start > kLong;
    if (is_long && !progress) progress.emplace("drawing samples", static_cast<std::int64_t>(steps), "steps");
    if (progress) progress->update(static_cast<std::int64_t>(step));
  };
  const Image grid = image_grid(to_uint8(draw(options)));
  write_png(path, grid, {{"Software", "casdm " CASDM_SDK_VERSION}, {"casdm", to_json(provenance(said, images))}});
}

}  // namespace casdm
