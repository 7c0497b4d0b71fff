#include "framework/evaluation/reference_writer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/atomic_file.h"
#include "casdm/build_info.h"
#include "casdm/text.h"
#include "framework/evaluation/statistics.h"
#include "framework/reporting/npz_file.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/value_table.h"
#include "sdk/arrays/npz_reader.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kMostWritten = 10000;  // images in arr_0
constexpr std::int64_t kPiece = 64;

Value record_of(const Reference& reference, const Judges& judges) {
  Value::Array metrics;
  for (const JudgeMetric& metric : judges.metrics()) {
    metrics.push_back(table({{"extractor", judges.judges()[metric.judge].extractor}, {"metric", metric.identity}}));
  }
  return table({{"format", kReferenceFormat},
                {"program", "casdm " CASDM_SDK_VERSION},
                {"name", reference.name},
                {"images", reference.images},
                {"sha256", reference.sha256},
                {"image", table({{"channels", judges.image().channels}, {"size", judges.image().height}})},
                {"metrics", metrics}});
}

/// Whether the file `path` was written by write_reference.
bool is_own(const fs::path& path) {
  try {
    if (path.extension() == ".npz") return NpzReader(path).text_of(kReferenceRecord).has_value();
    return path.extension() == ".safetensors" && read_safetensors(path).metadata.contains(kReferenceNote);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

void write_states(const fs::path& path, const Reference& reference, const Judges& judges) {
  write_checked_tensors(path, flat_state(reference.state), {{kReferenceNote, to_json(record_of(reference, judges))}});
}

void require_reference_form(const fs::path& path, const Judges& judges) {
  const auto refuse = [&](const std::string& why) {
    throw ConfigError(text("--write-reference ", path.string(), why));
  };
  std::error_code ignored;
  if (fs::exists(path, ignored) && !is_own(path)) {
    refuse(
        " exists and was not written by `casdm evaluate --write-reference`, so it is not replaced; choose another "
        "name, or move it away");
  }
  const fs::path folder = fs::absolute(path).parent_path();
  if (!fs::is_directory(folder, ignored)) refuse(text(": the folder ", folder.string(), " does not exist"));
  if (path.extension() == ".safetensors") return;
  if (path.extension() != ".npz") refuse(": expected a name that ends in .safetensors or .npz");
  const std::vector<JudgeMetric>& metrics = judges.metrics();
  if (std::any_of(metrics.begin(), metrics.end(), [](const JudgeMetric& m) { return m.of_moments() != nullptr; }))
    return;
  refuse(
      ": no metric of these judges is one of mean and covariance, which this form holds; write .safetensors, or choose "
      "such a metric");
}

namespace {

/// With the images that readers of such files expect beside the moments.
void write_moments(const fs::path& path, const Reference& reference, const Judges& judges, const ImageStream& images) {
  std::vector<std::pair<std::string, Tensor>> arrays;
  std::vector<std::size_t> judged;
  Value named{Value::Table{}};
  for (std::size_t i = 0; i < judges.metrics().size(); ++i) {
    const JudgeMetric& metric = judges.metrics()[i];
    const bool is_known = std::find(judged.begin(), judged.end(), metric.judge) != judged.end();
    if (metric.of_moments() == nullptr || is_known || judged.size() == 2) continue;
    const Moments moments = moments_of(metric, reference.state.metrics[i]);
    const std::string ending = judged.empty() ? "" : "_s";
    arrays.emplace_back("mu" + ending, moments.mean);
    named.set("mu" + ending, judges.judges()[metric.judge].extractor);
    arrays.emplace_back("sigma" + ending, moments.covariance);
    judged.push_back(metric.judge);
  }
  const std::vector<std::int64_t> chosen = spread(std::min(kMostWritten, images.count), images.count, "", "");
  Value record = record_of(reference, judges);
  record.set(kStatisticsOf, std::move(named));
  const AtomicFolder work(path);
  const fs::path written = work.temporary() / path.filename();
  NpzFile file(written, static_cast<std::int64_t>(chosen.size()), images.shape.channels, images.shape.height);
  file.start();
  for (std::size_t i = 0; i < chosen.size(); i += kPiece) {
    std::vector<Tensor> piece;
    for (std::size_t j = i; j < std::min(chosen.size(), i + kPiece); ++j) {
      piece.push_back(images.read(chosen[j], 1)[0]);
    }
    file.append(at::stack(piece));
  }
  file.finish({}, kReferenceRecord, to_json(record, 1) + "\n", arrays);
  fs::rename(written, path);
  sync_folder(path.parent_path());
}

}  // namespace

void write_reference(const fs::path& path, const Reference& reference, const Judges& judges,
                     const ImageStream& images) {
  remove_leftovers(fs::absolute(path).parent_path());
  if (path.extension() == ".safetensors") return write_states(path, reference, judges);
  try {
    write_moments(path, reference, judges, images);
  } catch (const PluginError&) {
    throw;
  } catch (const Error& error) {
    throw Error(text("--write-reference ", path.string(), ": ", error.what()));
  }
}

}  // namespace casdm
