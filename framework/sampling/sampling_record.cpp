#include "framework/sampling/sampling_record.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/files.h"
#include "framework/support/json_member.h"
#include "framework/support/sealed_json.h"

namespace casdm {

namespace fs = std::filesystem;

std::optional<NpzFile::Sum> kept_sum(const Value& record) {
  const Value* npz = json_member(record, "drawn").find("npz");
  if (npz == nullptr) return std::nullopt;
  return NpzFile::Sum{json_member(*npz, "bytes").as_integer(),
                      static_cast<std::uint32_t>(json_member(*npz, "crc32").as_integer())};
}

std::optional<Value> read_sampling(const fs::path& folder) {
  const fs::path file = folder / kSamplingRecord;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  Value record = from_json(read_regular_file(file, kLargestRecord));
  if (json_member(record, "format").as_integer() != kSamplingFormat) {
    throw Error(text("format ", json_member(record, "format").as_integer(), " is not format ", kSamplingFormat,
                     " of this program"));
  }
  const Value& settings = json_member(record, "settings");
  json_member(settings, "images").as_integer();
  json_member(settings, "png").as_boolean();
  json_member(json_member(record, "checkpoint"), "path").as_string();
  const Value& drawn = json_member(record, "drawn");
  if (!json_member(drawn, "complete").as_boolean()) {
    json_member(drawn, "images").as_integer();
    json_member(drawn, "crc32").as_integer();
  }
  kept_sum(record);
  return record;
}

void collect_differences(const Value& there, const Value& now, const std::string& path,
                         std::vector<std::string>& lines) {
  // It depends on what else is on the disk; the SHA-256 beside it identifies the weights.
  if (path == "weights.warning") return;
  if (!there.is_table() || !now.is_table()) {
    if (!(there == now)) lines.push_back(text("  ", path, ": ", to_json(there), " there, ", to_json(now), " now"));
    return;
  }
  const auto name = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
  for (const auto& [key, value] : there.as_table()) {
    const Value* other = now.find(key);
    collect_differences(value, other != nullptr ? *other : Value(), name(key), lines);
  }
  for (const auto& [key, value] : now.as_table()) {
    if (there.find(key) == nullptr) collect_differences(Value(), value, name(key), lines);
  }
}

}  // namespace casdm
