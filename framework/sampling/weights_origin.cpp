#include "framework/sampling/weights_origin.h"

#include <map>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "framework/support/tensor_file_header.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

using Metadata = std::map<std::string, std::string>;

std::string entry_in(const Metadata& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

/// Whether the weights were made from `run` as it is now. Its snapshot decides where there is one, wherever the run was
/// moved to; without it, its place or its name.
bool is_made_from(const Metadata& metadata, const fs::path& run) {
  const fs::path snapshot = run / "ema" / fs::path(entry_in(metadata, kSnapshotOfAverage)).filename();
  std::error_code failure;
  if (!entry_in(metadata, kSnapshotDigest).empty() && fs::is_regular_file(snapshot, failure)) {
    return sha256_of_file(snapshot) == entry_in(metadata, kSnapshotDigest);
  }
  const fs::path made_from = entry_in(metadata, kRunOfAverage);
  if (is_there(made_from)) return fs::equivalent(made_from, run, failure);
  const fs::path normal = (made_from / "").lexically_normal().parent_path();
  return normal.filename() == run.filename();
}

/// Whether a file in the folder of some checkpoint is one of this checkpoint.
bool is_of(const Checkpoint& checkpoint, const fs::path& file) {
  const std::string name = file.stem().string();
  return checkpoint.has(name) && sha256_of_file(file) == checkpoint.sha256_of(name);
}

/// Whether a snapshot of an average is one of the run.
bool is_snapshot_of(const fs::path& run, const fs::path& file) {
  const fs::path own = run / "ema" / file.filename();
  return is_there(own) && sha256_of_file(own) == sha256_of_file(file);
}

}  // namespace

WeightsOrigin origin_of(const std::string& weights, const Checkpoint& checkpoint) {
  WeightsOrigin origin;
  if (checkpoint.has_average(weights)) return origin;
  const Metadata metadata = metadata_of_file(weights);
  for (const char* key : {kImagesOfAverage, kRunOfAverage}) {
    if (const std::string said = entry_in(metadata, key); !said.empty()) origin.recorded.set(key, said);
  }
  std::vector<std::string> parts;
  const std::string images = entry_in(metadata, kImagesOfAverage);
  if (!images.empty() && images != std::to_string(checkpoint.images())) {
    parts.push_back(text("after ", printable(images), " images instead of ", checkpoint.images()));
  }
  const fs::path run = fs::absolute(checkpoint.path()).parent_path().parent_path();
  if (!entry_in(metadata, kRunOfAverage).empty() && !is_made_from(metadata, run)) {
    parts.push_back(text("from snapshots of ", quoted(entry_in(metadata, kRunOfAverage)), " that ", run.string(),
                         " does not have"));
  }
  const fs::path file = fs::absolute(weights);
  if (is_there(file.parent_path() / "state.json") && !is_of(checkpoint, file)) {
    std::error_code ignored;
    parts.emplace_back(fs::equivalent(file.parent_path(), checkpoint.path(), ignored)
                           ? "its state.json does not name the file, or with other contents"
                           : "the file is one of another checkpoint");
  }
  const bool is_snapshot = !images.empty() && entry_in(metadata, kRunOfAverage).empty();
  if (is_snapshot && !is_snapshot_of(run, file))
    parts.push_back(text("a snapshot that ", run.string(), " does not have"));
  if (!parts.empty())
    origin.warning = text("the weights in ", weights, " are not of this checkpoint: ", join(parts, ", "));
  return origin;
}

}  // namespace casdm
