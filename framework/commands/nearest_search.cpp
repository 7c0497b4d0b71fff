#include "framework/commands/nearest_search.h"

#include <algorithm>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/sealed_json.h"
#include "framework/training/signals.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// Adds which weights drew the images, and how.
void add_origin(Value& found, const DrawnImages& images) {
  const std::string& weights = images.request().weights;
  found.set("checkpoint_images", images.checkpoint().images());
  found.set("weights", weights);
  for (const std::string& name : {weights == "raw" ? std::string("weights") : weights, "ema-" + weights}) {
    if (!images.checkpoint().has_average(weights) || !images.checkpoint().has(name)) continue;
    found.set("weights_file", images.checkpoint().file(name).filename().string());
    found.set("weights_sha256", images.checkpoint().sha256_of(name));
    break;
  }
  for (const char* key : {"steps", "guidance", "labels", "seed"}) found.set(key, *images.settings().find(key));
}

}  // namespace

NearestSearch::NearestSearch(const EvaluateArguments& a, const Judges& judges, const PluginHost& host,
                             c10::Device device)
    : judges_(judges), looks_again_(a.overwrite) {
  request_.count = a.nearest.value();
  request_.is_cancelled = interrupted;
  const std::vector<Judge>& all = judges.judges();
  const auto is_named = [&](const Judge& judge) { return judge.name == a.nearest_by; };
  const auto named = a.nearest_by.empty() ? all.begin() : std::find_if(all.begin(), all.end(), is_named);
  if (named != all.end()) {
    request_.judge = static_cast<std::size_t>(named - all.begin());
    return;
  }
  try {
    own_judge_.emplace(a.nearest_by, "--nearest-by", host, judges.image(), device);
  } catch (const ConfigError& error) {
    throw ConfigError(text("evaluate: --nearest-by ", quoted(a.nearest_by), " is not a judge here: ", error.what()));
  }
}

void NearestSearch::set_reference(ImageStream reference, std::vector<std::int64_t> indices, std::string sha256) {
  reference_ = std::move(reference);
  request_.indices = std::move(indices);
  sha256_ = std::move(sha256);
}

void NearestSearch::find(const ImageStream& images, std::vector<std::int64_t> own) {
  request_.own = std::move(own);
  found_.push_back(nearest_images(images, reference_, judges(), request_));
}

std::optional<Value> NearestSearch::earlier(const fs::path& kept_in) const {
  if (looks_again_) return std::nullopt;
  try {
    return read_record(kept_in);
  } catch (const Error& error) {
    std::cerr << "warning: looking again, since " << kept_in.string() << " cannot be used: " << error.what() << '\n';
    return std::nullopt;
  }
}

void NearestSearch::find_of_run(const DrawnImages& images, const ImageStream& stream, const EvaluationFile& file,
                                const std::function<bool()>& may_keep) {
  const Judge& judge = judges().judges()[request_.judge];
  const fs::path kept_in = file.nearest(Value(Value::Table{
      {"count", request_.count}, {"reference", sha256_}, {"by", judge.extractor}, {"build", judge.build}}));
  if (const std::optional<Value> known = earlier(kept_in)) {
    found_.push_back(*known);
    return;
  }
  Value found = nearest_images(stream, reference_, judges(), request_);
  add_origin(found, images);
  found_.push_back(sealed(std::move(found)));
  if (!may_keep()) return;
  try {
    write_record(kept_in, found_.back());
  } catch (const Error& error) {
    std::cerr << "warning: the nearest images could not be saved, so a report cannot show them: " << error.what()
              << '\n';
  }
}

}  // namespace casdm
