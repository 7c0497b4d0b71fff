#include "framework/evaluation/drawn_images.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "casdm/text.h"
#include "framework/device/device.h"
#include "framework/sampling/sampling_record.h"

namespace casdm {

DrawnImages::DrawnImages(Checkpoint checkpoint, SamplingRequest request, std::int64_t count, World& world)
    : checkpoint_(std::move(checkpoint)),
      request_(std::move(request)),
      count_(count),
      experiment_(experiment_to_sample(checkpoint_, request_)),
      options_(generate_options(experiment_.options, select_device(experiment_.options.run).device, request_)),
      model_(model_to_sample(experiment_, checkpoint_, request_, options_.device)),
      label_(label_of_image(checkpoint_, model_, request_)),
      settings_(sampling_settings(experiment_, model_, checkpoint_, options_, request_)),
      drawing_(model_, options_, label_, request_.batch_size(), world) {}

const Value& DrawnImages::settings() const {
  if (!std::exchange(knows_conditions_, true)) add_conditions(settings_, model_, count_, label_);
  return settings_;
}

std::string DrawnImages::keep_in(const std::filesystem::path& folder, bool overwrite) {
  folder_ = std::make_unique<SampleFolder>(folder);
  Value settings = this->settings();
  settings.set("images", count_);
  settings.set("png", true);
  const Value::Table source = {{"path", checkpoint_.path().string()}, {"images", checkpoint_.images()}};
  const Value origin(Value::Table{{"run", checkpoint_.path().string()}, {"checkpoint", Value(source)}});
  std::string remark = folder_->begin(
      {count_, options_.channels, options_.image_size, true, label_, origin, std::move(settings)}, overwrite);
  if (folder_->is_complete()) kept_ = images_of_npz(folder / kSamplesFile);
  return remark;
}

void DrawnImages::finish() {
  if (!folder_ || folder_->is_complete()) return;
  // The folder may lack images that were judged before it was used.
  while (folder_->images() < count_) draw(folder_->images());
  folder_->finish();
}

ImageStream DrawnImages::stream(std::string name, CpuThreads& threads) {
  drawing_.invite(checkpoint_, request_, settings());
  threads_ = &threads;
  on_drawn_ = std::make_shared<std::function<void(std::int64_t)>>();
  ImageStream stream;
  stream.name = std::move(name);
  stream.count = count_;
  stream.shape = shape();
  stream.identity = settings();
  std::erase_if(stream.identity.as_table(), [](const Value::Member& member) { return member.first == "threads"; });
  stream.on_drawn = on_drawn_;
  stream.read = [this](std::int64_t first, std::int64_t n) { return read(first, n); };
  return stream;
}

at::Tensor DrawnImages::read(std::int64_t first, std::int64_t n) {
  std::vector<at::Tensor> parts;
  for (std::int64_t at = first; at < first + n;) {
    const at::Tensor found = images_from(at);
    parts.push_back(found.slice(0, 0, first + n - at));
    at += parts.back().size(0);
  }
  return at::cat(parts);
}

/// Image `first` and those after it that are available together.
at::Tensor DrawnImages::images_from(std::int64_t first) {
  if (!held_.defined() || first < first_ || first >= first_ + held_.size(0)) {
    first_ = first / request_.batch_size() * request_.batch_size();
    if (kept_) {
      std::vector<at::Tensor> images;
      for (std::int64_t i = first_; i < std::min(first_ + request_.batch_size(), count_); ++i) {
        images.push_back(kept_->read(i));
      }
      held_ = at::stack(images);
    } else if (folder_ && folder_->images() > first) {
      held_ = folder_->read(first_, std::min(request_.batch_size(), folder_->images() - first_));
    } else {
      // The folder may lack images that were judged before it was used.
      if (folder_) first_ = folder_->images();
      for (held_ = draw(first_); first >= first_ + held_.size(0); held_ = draw(first_)) first_ += held_.size(0);
    }
  }
  return held_.slice(0, first - first_);
}

at::Tensor DrawnImages::draw(std::int64_t first) {
  const std::int64_t count = std::min(drawing_.at_once(), count_ - first);
  const at::Tensor images = drawing_.draw(first, count_, [&](std::size_t step, std::size_t steps) {
    threads_->update();
    const auto drawn = static_cast<double>(count) * static_cast<double>(step) / static_cast<double>(steps);
    if (*on_drawn_) (*on_drawn_)(first + static_cast<std::int64_t>(drawn));
  });
  if (folder_) folder_->add(images);
  return images;
}

}  // namespace casdm
