#include "framework/interchange/weights_folder.h"

#include <set>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/interchange/weights_file.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/files.h"
#include "framework/support/json_member.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfigSum = "config_sha256";
constexpr std::size_t kLargestIndex = std::size_t{1} << 26;

/// The tensors of the files that `index` names: JSON as transformers and diffusers write it, with the file of each
/// tensor under "weight_map". Throws Error if a file lies elsewhere, or lacks a tensor.
NamedTensors read_parts(const fs::path& index) {
  const Value listed = from_json(read_regular_file(index, kLargestIndex));
  std::map<std::string, std::set<std::string>> files;
  for (const auto& [tensor, file] : json_member(listed, "weight_map").as_table())
    files[file.as_string()].insert(tensor);
  NamedTensors all;
  for (auto& [file, tensors] : files) {
    if (fs::path(file).filename() != file || file == "..") {
      throw Error(text(index.string(), ": expected the name of a file beside it; got ", quoted(file)));
    }
    for (auto& [name, tensor] : read_weights(index.parent_path() / file).tensors) {
      if (tensors.erase(name) == 1) all.emplace_back(name, std::move(tensor));
    }
    if (tensors.empty()) continue;
    throw Error(text((index.parent_path() / file).string(), " lacks ", quoted(*tensors.begin()), ", which ",
                     index.filename().string(), " says it holds"));
  }
  return all;
}

/// Weights in `folder` whose name says more than `name`, as "model.fp16.safetensors" does; empty: there are none.
std::string variant_of(const fs::path& folder, const fs::path& name) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string other = entry.path().filename().string();
    if (other.starts_with(name.stem().string() + ".") && other.ends_with(name.extension().string()))
      names.insert(other);
  }
  return names.empty() ? "" : *names.begin();
}

/// The weights in the safetensors file `name`, or in what libraries write instead of it: a file of torch.save with the
/// ending .bin, or either in parts with an index.
NamedTensors read_tensors(const fs::path& folder, const std::string& name) {
  const std::string older = fs::path(name).replace_extension(".bin").string();
  for (const std::string& whole : {name, older}) {
    if (fs::exists(folder / whole)) return read_weights(folder / whole).tensors;
    if (const fs::path index = folder / (whole + ".index.json"); fs::exists(index)) return read_parts(index);
  }
  const std::string variant = variant_of(folder, name);
  throw Error(text("expected ", name, " or ", older, ", or an index of parts, such as ", name, ".index.json; ",
                   variant.empty() ? "none of them is there"
                                   : text("found ", variant, ": rename it, or link it under one of these names")));
}

}  // namespace

bool is_weights_folder(const fs::path& path, const WeightLayoutInfo& layout) {
  return !layout.weights_file.empty() && fs::is_regular_file(path / layout.config_file);
}

ForeignWeights read_weights_folder(const fs::path& folder, const WeightLayoutInfo& layout) {
  try {
    Value config = from_json(read_file(folder / layout.config_file));
    return {read_tensors(folder, layout.weights_file), std::move(config), Value(Value::Table{})};
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
