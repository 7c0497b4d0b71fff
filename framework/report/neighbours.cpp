#include "framework/report/neighbours.h"

#include <algorithm>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/comparison/evaluations.h"
#include "framework/report/html.h"
#include "framework/support/files.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace {

constexpr std::size_t kMostBytes = 8 << 20;  // per arm, for its images
constexpr std::size_t kMostBytesOfState = 64 << 20;
constexpr std::size_t kDigits = 12;               // of a checkpoint's name
constexpr std::string_view kPng = "iVBORw0KGgo";  // the first characters of a PNG in base64

std::string word(const Value& table, const char* key) {
  const Value* value = table.find(key);
  if (value == nullptr) return "";
  if (value->is_string()) return value->as_string();
  if (value->is_integer()) return std::to_string(value->as_integer());
  return value->is_number() ? significant(value->as_number()) : "";
}

const Value::Array& list(const Value& table, const char* key) {
  static const Value::Array none;
  const Value* value = table.find(key);
  return value != nullptr && value->is_array() ? value->as_array() : none;
}

/// An image from a record with a caption; nothing if it is not a PNG in base64.
std::string picture(const Value& entry, const std::string& alternative, const std::string& below) {
  const std::string content = word(entry, "image");
  const bool is_base64 = std::all_of(content.begin(), content.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '+' || c == '/' || c == '=';
  });
  if (!is_base64 || !content.starts_with(kPng)) return "";
  return text("<li><img alt=\"", html(alternative), "\" src=\"data:image/png;base64,", content, "\">", html(below),
              "</li>");
}

std::string row_of(const Value& sample, const std::string& arm) {
  const std::string index = word(sample, "index");
  std::string pictures = picture(sample, text("Sample ", index, " of ", arm), text("sample ", index));
  if (pictures.empty()) return "";
  for (const Value& near : list(sample, "nearest")) {
    const std::string name = word(near, "index"), distance = word(near, "distance");
    pictures += picture(near, text("Image ", name, " of the data, at the distance ", distance, " from sample ", index),
                        text("no. ", name, " at ", distance));
  }
  return text("<ol>", pictures, "</ol>\n");
}

/// The SHA-256 that a checkpoint of the run records for one of its files; empty if the checkpoint is gone.
std::string recorded_sum(const std::filesystem::path& run, std::int64_t images, const std::string& file) {
  std::string name = std::to_string(images);
  name.insert(0, kDigits - std::min(kDigits, name.size()), '0');
  const std::filesystem::path state = run / "checkpoints" / name / "state.json";
  try {
    const Value recorded =
        std::filesystem::exists(state) ? from_json(read_regular_file(state, kMostBytesOfState)) : Value();
    const Value* files = recorded.find("files");
    const Value* entry = files != nullptr ? files->find(file) : nullptr;
    return entry != nullptr ? word(*entry, "sha256") : "";
  } catch (const Error&) {
    return "";
  }
}

/// Whether the samples were drawn from weights that the checkpoint no longer has. Earlier versions did not record them.
bool is_of_other_weights(const Value& record, const RunRecord& run) {
  const std::string sum = word(record, "weights_sha256");
  const std::string now = recorded_sum(run.path, run.images, word(record, "weights_file"));
  return !sum.empty() && !now.empty() && sum != now;
}

/// How the samples were drawn.
std::string drawn(const Value& record) {
  const std::string weights = word(record, "weights"), steps = word(record, "steps"), seed = word(record, "seed");
  const Value* guidance = record.find("guidance");
  const std::string scale = guidance != nullptr ? word(*guidance, "scale") : "";
  if (weights.empty() || steps.empty() || seed.empty() || scale.empty()) return "";
  return text("Samples from the weights ", weights, " in ", steps, " steps, guidance ", scale, ", seed ", seed, ". ");
}

std::string about(const Value& record) {
  const std::string between = word(record, "between_reference");
  return text(drawn(record), "Beside each sample the three nearest of ", word(record, "reference_num"), " images of ",
              word(record, "reference"), ", by the Euclidean distance of the feature ", word(record, "feature"), " of ",
              word(record, "judge"), ".",
              between.empty() ? ""
                              : text(" Images of the data are at ", between,
                                     " from the nearest other one (median): a sample far nearer than that is a copy."));
}

}  // namespace

std::string neighbours(const Comparison& comparison) {
  std::string result;
  for (const ComparedArm& arm : comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      std::string of_run;
      std::set<std::string> left_out;
      for (const Value& record : kept_records(run.path, "nearest")) {
        // The scores belong to the last checkpoint.
        const std::string images = word(record, "checkpoint_images");
        if (images != std::to_string(run.record.images)) {
          left_out.insert(text("those of the checkpoint at ", images, " images"));
          continue;
        }
        if (is_of_other_weights(record, run.record)) {
          left_out.insert("those of weights that the checkpoint no longer has");
          continue;
        }
        std::string rows;
        for (const Value& sample : list(record, "images")) rows += row_of(sample, arm.name);
        if (rows.empty()) continue;
        if (of_run.size() + rows.size() > kMostBytes) {
          left_out.insert(text("records beyond ", kMostBytes >> 20, " MiB"));
          continue;
        }
        of_run += text("<p>", html(about(record)), "</p>\n<div class=\"neighbours\">\n", rows, "</div>\n");
      }
      if (!left_out.empty()) {
        of_run += text("<p>", html(text("Not shown: ", join({left_out.begin(), left_out.end()}, "; "), ".")), "</p>\n");
      }
      if (of_run.empty()) continue;
      if (comparison.arms.size() > 1) result += text("<h3>", html(arm.name), ", seed ", run.seed, "</h3>\n");
      result += of_run;
      break;
    }
  }
  return result;
}

}  // namespace casdm
