#include "framework/interchange/weight_layouts.h"

#include <algorithm>
#include <iostream>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/overrides.h"
#include "framework/interchange/recorded_options.h"
#include "framework/loading/child_process.h"
#include "framework/support/component_name.h"

namespace casdm {

namespace {

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

void check(const FoundLayout& found) {
  const WeightLayoutInfo& info = found.info;
  if (info.backbone.empty()) found.layout.fail("info(): backbone is empty");
  if (info.weights_file.empty() && info.config_file.empty()) return;
  if (!is_plain_file_name(info.weights_file) || !is_plain_file_name(info.config_file)) {
    found.layout.fail("info(): weights_file and config_file must both name a file of the folder, or both be empty");
  }
}

/// Creates the layout and asks it which backbone it is for.
FoundLayout made(const PluginHost& host, const std::string& type, std::int64_t image_size) {
  FoundLayout found{type, "", {}, configured_layout(host, type, {}, image_size)};
  found.info = found.layout.call(&WeightLayout::info);
  check(found);
  const std::string& own = found.info.backbone;
  const bool is_full = own.find('/') != std::string::npos;
  found.backbone = is_full ? own : found.type.substr(0, found.type.find('/') + 1) + own;
  return found;
}

void warn_of(const std::string& name, const std::string& problem) {
  std::cerr << "warning: the weight layout " << name << " is left out: " << problem << '\n';
}

/// Whether a layout in another plugin is for `backbone`. The question runs in a child process: a plugin that only might
/// have had such a layout must not count as used by a run.
bool is_of(const std::string& backbone, const PluginHost& host, const std::string& type, std::int64_t image_size) {
  constexpr double kSeconds = 60;
  const ChildResult child = run_in_child_process(
      [&](std::string& message) {
        try {
          return made(host, type, image_size).backbone == backbone ? 0 : 1;
        } catch (const std::exception& error) {
          message = error.what();
          return 2;
        }
      },
      kSeconds);
  if (child.end != ChildResult::End::returned || child.status == 2) {
    warn_of(type, child.message.empty() ? "it " + child.description : child.message);
  }
  return child.end == ChildResult::End::returned && child.status == 0;
}

void check_tensors(const Component<WeightLayout>& layout, const char* call, const NamedTensors& tensors) {
  const auto fail = [&](const std::string& what) { layout.fail(text(call, " returned ", what)); };
  if (tensors.empty()) fail("no tensors");
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    if (!is_displayable(name) || !names.insert(name).second) {
      fail(text("a tensor ", quoted(name), "; expected printable names, each once"));
    }
    const bool is_storable = tensor.defined() && tensor.layout() == at::kStrided && tensor.is_cpu();
    if (!is_storable) fail(text(quoted(name), " undefined, sparse or on a device; expected a dense tensor on the CPU"));
  }
}

std::string plugin_of(const std::string& type) { return type.substr(0, type.find('/')); }

}  // namespace

std::vector<FoundLayout> weight_layouts(const PluginHost& host, const std::string& backbone, std::int64_t image_size) {
  std::vector<FoundLayout> result;
  for (const std::string& name : host.catalog().names(WeightLayout::kind)) {
    const std::string type = host.catalog().full_name(WeightLayout::kind, name);
    const bool is_foreign = !backbone.empty() && plugin_of(type) != plugin_of(backbone);
    if (is_foreign && !is_of(backbone, host, type, image_size)) continue;
    try {
      FoundLayout found = made(host, type, image_size);
      if (backbone.empty() || found.backbone == backbone) result.push_back(std::move(found));
    } catch (const Error& error) {
      warn_of(name, error.what());
    }
  }
  return result;
}

std::optional<LayoutMatch> recognised(const FoundLayout& found, const ForeignWeights& weights) {
  try {
    const LayoutMatch match = found.layout.call(&WeightLayout::recognise, weights);
    if (match.confidence >= 0 && match.confidence <= 1) return match;
    found.layout.fail(text("recognise() returned the confidence ", number(match.confidence), "; expected 0 to 1"));
  } catch (const Error& error) {
    warn_of(found.type, error.what());
  }
  return std::nullopt;
}

BackboneWeights read_by(const Component<WeightLayout>& layout, const ForeignWeights& weights) {
  BackboneWeights result = layout.call(&WeightLayout::read, weights);
  check_tensors(layout, "read()", result.tensors);
  if (!result.options.is_table()) layout.fail("read() returned options that are no table");
  return result;
}

ForeignWeights written_by(const Component<WeightLayout>& layout, const BackboneWeights& weights) {
  ForeignWeights result = layout.call(&WeightLayout::write, weights);
  check_tensors(layout, "write()", result.tensors);
  if (!result.recorded.is_table()) layout.fail("write() returned recorded options that are no table");
  return result;
}

const FoundLayout* native_layout(const std::vector<FoundLayout>& layouts, const std::string& backbone) {
  const auto found = std::find_if(layouts.begin(), layouts.end(), [&](const FoundLayout& candidate) {
    return candidate.info.is_native && candidate.backbone == backbone;
  });
  return found != layouts.end() ? &*found : nullptr;
}

void check_unseen_options(const FoundLayout* native, const NamedTensors& tensors, const Value& recorded,
                          const Value& options, std::int64_t image_size, const std::string& source,
                          const std::string& where) {
  Value theirs = options;
  for (const auto& [name, value] : recorded.as_table()) theirs.set(name, value);
  const auto unseen = [&](const Value& table) {
    if (native == nullptr) return table;
    BackboneWeights network{tensors, table};
    network.spec.image.height = network.spec.image.width = image_size;
    return written_by(native->layout, network).recorded;
  };
  Metadata metadata;
  record_options(metadata, native == nullptr ? recorded : unseen(theirs));
  check_recorded_options(metadata, unseen(options), source, where);
}

Component<WeightLayout> configured_layout(const PluginHost& host, const std::string& type,
                                          const std::vector<std::string>& overrides, std::int64_t image_size) {
  Value table{Value::Table{}};
  apply_overrides(table, overrides);
  table.set("type", type);
  const Value resolved = resolve_component(table, WeightLayout::kind, host.catalog());
  return host.create<WeightLayout>({type, resolved}, {image_size});
}

}  // namespace casdm
