#include "framework/interchange/weights_folder.h"

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

bool is_weights_folder(const fs::path& path, const WeightLayoutInfo& layout) {
  return !layout.weights_file.empty() && fs::is_regular_file(path / layout.config_file);
}

ForeignWeights read_weights_folder(const fs::path& folder, const WeightLayoutInfo& layout) {
  try {
    Value config = from_json(read_file(folder / layout.config_file));
    return {read_safetensors(folder / layout.weights_file).tensors, std::move(config), Value(Value::Table{})};
  } catch (const Error& error) {
    throw Error(text(folder.string(), ": ", error.what()));
  }
}

void write_weights_folder(const fs::path& folder, const WeightLayoutInfo& layout, const ForeignWeights& weights,
                          std::map<std::string, std::string> metadata) {
  metadata["format"] = "pt";
  const auto write_into = [&](const fs::path& to) {
    write_safetensors(to / layout.weights_file, weights.tensors, metadata);
    write_file(to / layout.config_file, to_json(weights.config, 2) + "\n");
  };
  try {
    if (fs::exists(folder)) return write_into(folder);
    if (folder.has_parent_path()) fs::create_directories(folder.parent_path());
    AtomicFolder made(folder);
    write_into(made.temporary());
    made.commit();
  } catch (const std::exception& error) {
    throw Error(text(folder.string(), " cannot be written: ", error.what()));
  }
}

}  // namespace casdm
