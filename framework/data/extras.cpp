#include "framework/data/extras.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/data/image_reader.h"
#include "framework/data/whole_image.h"
#include "framework/support/sha256.h"

namespace casdm {

namespace {

template <class T>
std::vector<std::uint8_t> bytes_of(const std::vector<T>& values) {
  const auto* first = reinterpret_cast<const std::uint8_t*>(values.data());
  return {first, first + values.size() * sizeof(T)};
}

}  // namespace

std::vector<std::uint8_t> prepared_extra(const ExtraInfo& info, const Example& example) {
  const auto found = example.extras.find(info.name);
  if (found == example.extras.end()) throw Error(text("the extra ", quoted(info.name), " is missing"));
  const ExtraArray& array = found->second;
  std::size_t expected = 1;
  for (const std::int64_t side : info.shape) expected *= static_cast<std::size_t>(side);
  const std::size_t found_count = info.is_integer ? array.integers.size() : array.values.size();
  if (found_count != expected || (info.is_integer ? array.values.size() : array.integers.size()) != 0) {
    throw Error(text("the extra ", quoted(info.name), " has ", array.values.size(), " values and ",
                     array.integers.size(), " integers; expected ", expected,
                     info.is_integer ? " integers" : " values"));
  }
  const bool is_finite =
      std::all_of(array.values.begin(), array.values.end(), [](float value) { return std::isfinite(value); });
  if (!is_finite) throw Error(text("the extra ", quoted(info.name), " has values that are not finite"));
  if (info.is_image) require_pixel_range(array.values, text("the extra ", quoted(info.name), ", an image,"));
  return info.is_integer ? bytes_of(array.integers) : bytes_of(array.values);
}

std::map<std::string, at::Tensor> extras_of(ImageReader& images, std::int64_t first, std::int64_t count) {
  std::map<std::string, at::Tensor> result;
  for (const ExtraInfo& info : images.extras()) {
    std::vector<std::int64_t> shape{count};
    shape.insert(shape.end(), info.shape.begin(), info.shape.end());
    result[info.name] = at::empty(shape, info.is_integer ? at::kLong : at::kFloat);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const PreparedImage image = images.read((first + i) % images.dataset().size());
    for (std::size_t k = 0; k < image.extras.size(); ++k) {
      std::memcpy(result[images.extras()[k].name][i].data_ptr(), image.extras[k].data(), image.extras[k].size());
    }
  }
  for (const std::string& warning : images.record().take_warnings()) std::cerr << "warning: " << warning << '\n';
  return result;
}

std::int64_t label_of_sample(ImageReader* conditions, std::int64_t classes, std::int64_t index) {
  if (conditions == nullptr) return index % classes;
  const std::int64_t image = index % conditions->dataset().size(), label = conditions->read(image).label;
  if (label >= classes) {
    throw Error(text(conditions->dataset().describe(image), " has the label ", label, "; expected 0 to ", classes - 1));
  }
  return label >= 0 ? label : index % classes;
}

at::Tensor labels_of_samples(ImageReader* conditions, std::int64_t classes, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = first; i < first + count; ++i) labels.push_back(label_of_sample(conditions, classes, i));
  return at::tensor(labels, at::kLong);
}

std::string digest_of_conditions(ImageReader& conditions, std::int64_t count,
                                 const std::function<std::int64_t(std::int64_t)>& label,
                                 const std::function<bool()>& is_cancelled) {
  Sha256 digest;
  for (std::int64_t i = 0; i < std::min(count, conditions.dataset().size()); ++i) {
    if (is_cancelled()) throw Error("interrupted while reading what the samples are conditioned on");
    const PreparedImage image = conditions.read(i);
    digest.update(text(label ? label(i) : -1, '\n'));
    for (std::size_t k = 0; k < image.extras.size(); ++k) {
      const std::vector<std::uint8_t>& extra = image.extras[k];
      digest.update(text(conditions.extras()[k].name, '\n', extra.size(), '\n'));
      digest.update({reinterpret_cast<const char*>(extra.data()), extra.size()});
    }
  }
  return digest.hexadecimal();
}

}  // namespace casdm
