#include <algorithm>
#include <array>
#include <utility>

#include "casdm/text.h"
#include "framework/cost/estimate.h"
#include "framework/support/number_format.h"
#include "framework/support/text_table.h"

namespace casdm {

namespace {

constexpr std::int64_t kFar = 4;  ///< times the images that were measured

std::string size_in_words(std::int64_t count) {
  constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(count);
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return text(three_digits(value), " ", kUnits[unit]);
}

std::string step_time(double seconds) {
  return seconds < 1 ? text(three_digits(1000 * seconds), " ms") : text(three_digits(seconds), " s");
}

std::int64_t parameters_of(const CostEstimate& cost, const std::string& part) {
  for (const ModuleSize& module : cost.modules) {
    if (module.module == part) return module.parameters;
  }
  return 0;
}

std::string count_or_none(std::int64_t value) { return value == 0 ? "-" : short_count(static_cast<double>(value)); }

std::string table_of_parts(const CostEstimate& cost) {
  std::vector<std::vector<std::string>> rows{
      {"part", "parameters", "multiply-adds forward", "backward", "activations"}};
  const auto add = [&](const PartUsage& part) {
    rows.push_back({part.part, count_or_none(parameters_of(cost, part.part)), count_or_none(part.forward),
                    count_or_none(part.backward), size_in_words(part.bytes)});
  };
  for (const ModuleSize& module : cost.modules) {
    const auto is_it = [&](const PartUsage& part) { return part.part == module.module; };
    const auto used = std::find_if(cost.usage.begin(), cost.usage.end(), is_it);
    add(used == cost.usage.end() ? PartUsage{.part = module.module} : *used);
  }
  for (const PartUsage& part : cost.usage) {
    if (parameters_of(cost, part.part) == 0) add(part);
  }
  return text_table(std::move(rows), 4);
}

std::string memory_line(const MemoryCost& memory) {
  std::vector<std::string> parts;
  const auto add = [&](const char* name, std::int64_t size) {
    if (size > 0) parts.push_back(text(name, " ", size_in_words(size)));
  };
  add("weights", memory.weights);
  add("optimiser", memory.optimizer);
  add("averages", memory.averages);
  add("gradients", memory.gradients);
  add("activations", memory.activations);
  add("metric networks", memory.metrics);
  add("kept images", memory.images);
  add("copy for a checkpoint", memory.checkpoint);
  add("program", memory.program);
  return text("  memory: ", size_in_words(memory.total()), " (", join(parts, ", "), ")\n");
}

std::string host_line(const CostEstimate& cost) {
  if (cost.checkpoint_on_host == 0) return "";
  return text("  memory of the host: ", size_in_words(cost.checkpoint_on_host), " for the copy of a checkpoint\n");
}

std::string sharding_line(const CostEstimate& cost) {
  if (!cost.is_sharded) return "";
  return text("  train.shard_optimizer: each of n processes keeps about 1/n of the ",
              size_in_words(cost.memory.optimizer + cost.memory.averages), " of optimiser and averages\n");
}

std::string time_lines(const CostEstimate& cost) {
  const bool is_whole = cost.measured_images == cost.part_images;
  const double rate = static_cast<double>(cost.batch_size) / cost.time.step;
  std::string result =
      text("  time: ", step_time(cost.time.step), " a step, ", three_digits(rate), " images/s, ", cost.steps,
           " steps in ", duration(cost.time.total), "\n", is_whole ? "  measured in " : "  extrapolated from ",
           cost.measured_steps, cost.measured_steps == 1 ? " step" : " steps", " of ", cost.measured_images,
           cost.measured_images == 1 ? " image" : " images", " each (", step_time(cost.time.shortest), " to ",
           step_time(cost.time.longest), ")");
  if (cost.parts > 1) result += text(", of which a step has ", cost.parts);
  if (cost.part_images > kFar * cost.measured_images) result += ", which is far: a rough estimate";
  return result + "; records, checkpoints, samples and evaluations come on top\n";
}

}  // namespace

std::string describe(const CostEstimate& cost) {
  return text("cost of a step of ", cost.batch_size, cost.batch_size == 1 ? " image" : " images", " in ",
              to_string(cost.precision), " on ", cost.device, ", ", cost.threads, ":\n", table_of_parts(cost),
              memory_line(cost.memory), host_line(cost), sharding_line(cost), time_lines(cost));
}

Value to_value(const CostEstimate& cost) {
  Value parts{Value::Table{}}, memory{Value::Table{}}, time{Value::Table{}}, measured{Value::Table{}};
  for (const ModuleSize& module : cost.modules) {
    Value entry{Value::Table{}};
    entry.set("parameters", module.parameters);
    parts.set(module.module, std::move(entry));
  }
  for (const PartUsage& part : cost.usage) {
    const Value* known = parts.find(part.part);
    Value entry = known != nullptr ? *known : Value(Value::Table{});
    entry.set("multiply_adds_forward", part.forward);
    entry.set("multiply_adds_backward", part.backward);
    entry.set("activation_bytes", part.bytes);
    parts.set(part.part, std::move(entry));
  }
  const MemoryCost& bytes = cost.memory;
  const std::vector<std::pair<const char*, std::int64_t>> sizes = {{"weights", bytes.weights},
                                                                   {"optimizer", bytes.optimizer},
                                                                   {"averages", bytes.averages},
                                                                   {"gradients", bytes.gradients},
                                                                   {"metrics", bytes.metrics},
                                                                   {"activations", bytes.activations},
                                                                   {"images", bytes.images},
                                                                   {"checkpoint", bytes.checkpoint},
                                                                   {"program", bytes.program},
                                                                   {"total", bytes.total()},
                                                                   {"checkpoint_on_host", cost.checkpoint_on_host}};
  for (const auto& [key, size] : sizes) memory.set(key, size);
  time.set("step", cost.time.step);
  time.set("total", cost.time.total);
  time.set("steps", cost.steps);
  measured.set("steps", cost.measured_steps);
  measured.set("images", cost.measured_images);
  measured.set("images_of_part", cost.part_images);
  measured.set("shortest", cost.time.shortest);
  measured.set("longest", cost.time.longest);
  Value result{Value::Table{}};
  result.set("batch_size", cost.batch_size);
  result.set("parts_of_batch", cost.parts);
  result.set("shard_optimizer", cost.is_sharded);
  result.set("device", cost.device);
  result.set("threads", cost.threads);
  result.set("precision", std::string(to_string(cost.precision)));
  result.set("parts", std::move(parts));
  result.set("memory_bytes", std::move(memory));
  result.set("seconds", std::move(time));
  result.set("measured", std::move(measured));
  return result;
}

}  // namespace casdm
