#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "casdm/options.h"
#include "framework/config/resolve.h"

/// A sweep: one experiment in several arms, each with the same seeds. Two arms differ only in what their tables say.
namespace casdm {

/// One of [[arms]].
struct SweepArm {
  std::string name;
  std::vector<std::filesystem::path> include;
  std::vector<std::string> set;

  static void describe(Schema<SweepArm>& s);
};

/// One of [[grid]].
struct SweepAxis {
  std::string key;
  std::vector<std::string> values;

  static void describe(Schema<SweepAxis>& s);
};

/// The whole file.
struct SweepOptions {
  std::string name;
  std::vector<std::filesystem::path> base;
  std::vector<std::string> set;
  std::vector<std::int64_t> seeds = {0, 1, 2};
  std::string baseline;
  std::string directory = "runs";
  std::vector<SweepArm> arms;
  std::vector<SweepAxis> grid;
  std::optional<std::vector<std::string>> evaluate;

  static void describe(Schema<SweepOptions>& s);
};

/// One run of a sweep.
struct SweepCell {
  std::string name;       ///< of its run folder: "casdm-s0", "casdm-learning_rate=1e-3-s0"
  std::size_t point = 0;  ///< index into Sweep::points
  std::int64_t seed = 0;
  Value experiment;  ///< resolved
};

/// An arm at one point of the grid; just an arm if there is no grid.
struct SweepPoint {
  std::string name;          ///< "casdm", "casdm optimizer.learning_rate=1e-3"
  std::size_t baseline = 0;  ///< index of the baseline arm at the same point; its own index if it is the baseline
};

struct Sweep {
  std::filesystem::path file;
  std::string name;
  std::filesystem::path folder;  ///< contains its runs: directory/name
  std::vector<SweepPoint> points;
  std::optional<std::vector<std::string>> evaluate;  ///< options of `casdm evaluate RUN`; nothing: it is not run
  std::vector<SweepCell> cells;  ///< seed by seed, so that the arms can be compared if the sweep ends early
};

/// Reads the sweep in `file`, composes every cell and checks it without running anything. In order: the merged base
/// files, the sweep's `set`, the arm's `include` and `set`, the point of the grid, and the run's name, seed and
/// directory.
/// @param overrides   "key=value" of the command line; they apply to every cell, after its point of the grid
/// @param catalog_of  returns the components available to an experiment document
/// Throws ConfigError with the location in the file: unknown keys, arms with the same name or without a difference,
/// arms that cannot be composed, a baseline that is not an arm.
Sweep load_sweep(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                 const std::function<const ComponentCatalog&(const Value&)>& catalog_of);

/// A JSON Schema (draft-04) of sweep files, for editors. What it refuses, load_sweep refuses too.
Value sweep_json_schema(const ComponentCatalog& catalog);

/// Whether `document` is a sweep file rather than an experiment.
bool is_sweep(const Value& document);

}  // namespace casdm
