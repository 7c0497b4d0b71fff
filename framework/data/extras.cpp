#include "framework/data/extras.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "casdm/error.h"
#include "casdm/text.h"

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
  return info.is_integer ? bytes_of(array.integers) : bytes_of(array.values);
}

std::map<std::string, at::Tensor> extras_of(const Dataset& dataset, std::int64_t first, std::int64_t count) {
  std::map<std::string, at::Tensor> result;
  const std::vector<ExtraInfo> extras = dataset.extras();
  for (const ExtraInfo& info : extras) {
    std::vector<std::int64_t> shape{count};
    shape.insert(shape.end(), info.shape.begin(), info.shape.end());
    result[info.name] = at::empty(shape, info.is_integer ? at::kLong : at::kFloat);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const Example example = dataset.get((first + i) % dataset.size());
    for (const ExtraInfo& info : extras) {
      const std::vector<std::uint8_t> bytes = prepared_extra(info, example);
      std::memcpy(result[info.name][i].data_ptr(), bytes.data(), bytes.size());
    }
  }
  return result;
}

std::int64_t label_of_sample(const Dataset* conditions, std::int64_t classes, std::int64_t index) {
  const std::int64_t label = conditions == nullptr ? -1 : conditions->get(index % conditions->size()).label;
  return label >= 0 ? label : index % classes;
}

at::Tensor labels_of_samples(const Dataset* conditions, std::int64_t classes, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = first; i < first + count; ++i) labels.push_back(label_of_sample(conditions, classes, i));
  return at::tensor(labels, at::kLong);
}

}  // namespace casdm
