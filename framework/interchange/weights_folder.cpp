#include "framework/interchange/weights_folder.h"

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfigSum = "config_sha256";

}  // namespace

bool is_weights_folder(const fs::path& path, const WeightLayoutInfo& layout) {
  return !layout.weights_file.empty() && fs::is_regular_file(path / layout.config_file);
}

ForeignWeights read_weights_folder(const fs::path& folder, const WeightLayoutInfo& layout) {
  try {
    Value config = from_json(read_file(folder / layout.config_file));
    return {read_checked_tensors(folder / layout.weights_file).tensors, std::move(config), Value(Value::Table{})};
  } catch (const Error& error) {
    throw Error(text(folder.string(), ": ", error.what()));
  }
}

bool has_written_config(const fs::path& folder, const std::string& config_file,
                        const std::map<std::string, std::string>& metadata) {
  const fs::path path = folder / config_file;
  if (!fs::exists(fs::symlink_status(path))) return true;
  const auto sum = metadata.find(kConfigSum);
  return sum != metadata.end() && fs::is_regular_file(path) && sha256_of_file(path) == sum->second;
}

void write_weights_folder(const fs::path& folder, const WeightLayoutInfo& layout, const ForeignWeights& weights,
                          std::map<std::string, std::string> metadata) {
  const std::string config = to_json(weights.config, 2) + "\n";
  metadata["format"] = "pt";
  metadata[kConfigSum] = sha256(config);
  const auto write_into = [&](const fs::path& to) {
    write_checked_tensors(to / layout.weights_file, weights.tensors, metadata);
    write_file(to / layout.config_file, config);
  };
  const auto replace = [&] {
    remove_leftovers(folder);
    const AtomicFolder made(folder / layout.weights_file);
    write_into(made.temporary());
    fs::remove(folder / layout.config_file);
    sync_folder(folder);
    for (const std::string& file : {layout.weights_file, layout.config_file}) {
      fs::rename(made.temporary() / file, folder / file);
    }
    sync_folder(folder);
  };
  try {
    if (fs::exists(folder)) return replace();
    if (folder.has_parent_path()) fs::create_directories(folder.parent_path());
    AtomicFolder made(folder);
    write_into(made.temporary());
    made.commit();
  } catch (const std::exception& error) {
    throw Error(text(folder.string(), " cannot be written: ", error.what()));
  }
}

}  // namespace casdm
