#include "framework/report/neighbours.h"

#include <algorithm>

#include "casdm/text.h"
#include "framework/comparison/evaluations.h"
#include "framework/report/html.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace {

constexpr std::size_t kMostBytes = 8 << 20;       // per arm, for its images
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

std::string about(const Value& record) {
  const std::string between = word(record, "between_reference");
  return text("Beside each sample the three nearest of ", word(record, "reference_num"), " images of ",
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
      for (const Value& record : kept_records(run.path, "nearest")) {
        // It belongs to another checkpoint than the scores.
        if (word(record, "checkpoint_images") != std::to_string(run.record.images)) continue;
        std::string rows;
        for (const Value& sample : list(record, "images")) rows += row_of(sample, arm.name);
        if (rows.empty() || of_run.size() + rows.size() > kMostBytes) continue;
        of_run += text("<p>", html(about(record)), "</p>\n<div class=\"neighbours\">\n", rows, "</div>\n");
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
