#include "framework/evaluation/drawn_images.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/text.h"
#include "framework/data/image_transform.h"
#include "framework/device/device.h"

namespace casdm {

DrawnImages::DrawnImages(Checkpoint checkpoint, SamplingRequest request, std::int64_t count)
    : checkpoint_(std::move(checkpoint)),
      request_(std::move(request)),
      count_(count),
      experiment_(experiment_to_sample(checkpoint_, request_)),
      options_(generate_options(experiment_.options, select_device(experiment_.options.run).device, request_)),
      model_(model_to_sample(experiment_, checkpoint_, request_, options_.device)),
      label_(label_of_image(checkpoint_, request_)),
      settings_(sampling_settings(experiment_, model_, checkpoint_, options_, request_)) {}

std::string DrawnImages::keep_in(const std::filesystem::path& folder, bool overwrite) {
  folder_ = std::make_unique<SampleFolder>(folder);
  Value settings = settings_;
  settings.set("images", count_);
  settings.set("png", true);
  const Value::Table source = {{"path", checkpoint_.path().string()}, {"images", checkpoint_.images()}};
  const Value origin(Value::Table{{"run", checkpoint_.path().string()}, {"checkpoint", Value(source)}});
  std::string remark = folder_->begin(
      {count_, options_.channels, options_.image_size, true, label_, origin, std::move(settings)}, overwrite);
  if (folder_->is_complete()) kept_ = images_of_npz(folder / "samples.npz");
  return remark;
}

void DrawnImages::finish() {
  if (folder_ && !folder_->is_complete()) folder_->finish();
}

ImageStream DrawnImages::stream(std::string name, CpuThreads& threads) {
  threads_ = &threads;
  on_drawn_ = std::make_shared<std::function<void(std::int64_t)>>();
  ImageStream stream;
  stream.name = std::move(name);
  stream.count = count_;
  stream.shape = ImageShape::square(options_.channels, options_.image_size);
  stream.identity = settings_;
  std::erase_if(stream.identity.as_table(), [](const Value::Member& member) { return member.first == "threads"; });
  stream.on_drawn = on_drawn_;
  stream.read = [this](std::int64_t first, std::int64_t n) { return read(first, n); };
  return stream;
}

at::Tensor DrawnImages::read(std::int64_t first, std::int64_t n) {
  std::vector<at::Tensor> parts;
  for (std::int64_t at = first; at < first + n;) {
    const std::int64_t start = at / request_.batch_size() * request_.batch_size();
    const at::Tensor batch = batch_from(start);
    const std::int64_t end = std::min(first + n, start + batch.size(0));
    parts.push_back(batch.slice(0, at - start, end - start));
    at = end;
  }
  return at::cat(parts);
}

/// The batch that begins with image `first`, which is a multiple of the batch size.
at::Tensor DrawnImages::batch_from(std::int64_t first) {
  if (first_ == first) return batch_;
  const std::int64_t n = std::min(request_.batch_size(), count_ - first);
  if (kept_) {
    std::vector<at::Tensor> images;
    for (std::int64_t i = first; i < first + n; ++i) images.push_back(kept_->read(i));
    batch_ = at::stack(images);
  } else if (folder_ && folder_->images() >= first + n) {
    batch_ = folder_->read(first, n);
  } else {
    // A folder may lack images that were judged already, when it was not there then.
    for (std::int64_t missing = folder_ ? folder_->images() : first; missing < first;
         missing += request_.batch_size()) {
      folder_->add(draw(missing));
    }
    batch_ = draw(first);
    if (folder_) folder_->add(batch_);
  }
  first_ = first;
  return batch_;
}

at::Tensor DrawnImages::draw(std::int64_t first) {
  GenerateOptions options = options_;
  options.first = first;
  options.count = std::min(request_.batch_size(), count_ - first);
  options.labels = labels_for(label_, first, options.count);
  options.on_step = [&](std::size_t step, std::size_t steps) {
    threads_->update();
    const auto drawn = static_cast<double>(options.count) * static_cast<double>(step) / static_cast<double>(steps);
    if (*on_drawn_) (*on_drawn_)(first + static_cast<std::int64_t>(drawn));
  };
  return to_uint8(generate(model_, options));
}

}  // namespace casdm
