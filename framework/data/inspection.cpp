#include "framework/data/inspection.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "casdm/error.h"
#include "casdm/prepare_image.h"
#include "casdm/text.h"
#include "framework/data/extras.h"
#include "framework/data/image_cache.h"
#include "framework/data/whole_image.h"
#include "framework/support/one_line.h"

namespace casdm {

namespace {

constexpr std::size_t kMostNamed = 10;
/// Images with a larger aspect ratio lose most of their area to the crop.
constexpr std::int64_t kLongest = 4;

/// Opens the data set without cropping, so that the stored sizes are visible; `prepared` if its plugin cannot do that.
std::shared_ptr<Dataset> open_whole(const LoadedExperiment& experiment, const std::shared_ptr<Dataset>& prepared) {
  if (prepared->is_floating_point()) return prepared;
  LoadedExperiment whole = experiment;
  whole.options.data.image_size = 0;
  try {
    std::shared_ptr<Dataset> dataset = make_dataset(whole);
    for (std::int64_t i = 0; i < dataset->size(); ++i) {
      try {
        const Image image = dataset->get(i).image;
        return image.width > 0 && image.height > 0 ? dataset : prepared;
      } catch (const PluginError&) {
        return prepared;
      } catch (const Error&) {  // a damaged image
      }
    }
    return dataset;
  } catch (const Error&) {
    return prepared;
  }
}

void require_whole(const Dataset& dataset, std::int64_t index, const Image& image) {
  const bool is_floating_point = dataset.is_floating_point();
  const std::size_t count = is_floating_point ? image.values.size() : image.pixels.size();
  if (is_whole(image, count)) return;
  throw Error(text(dataset.describe(index), ": an image of ", image.width, " x ", image.height, " pixels and ",
                   image.channels, " channels has ", count, is_floating_point ? " values" : " bytes"));
}

void require_numbers(const Dataset& dataset, std::int64_t index, const Example& example) {
  try {
    require_pixel_range(example.image.values, "an image in floating point");
    for (const ExtraInfo& info : dataset.extras()) prepared_extra(info, example);
  } catch (const Error& error) {
    throw Error(text(dataset.describe(index), ": ", error.what()));
  }
}

void look_at(const Dataset& dataset, std::int64_t index, const Dataset::Spec& spec, bool is_in_grid, std::mutex& mutex,
             Inspection& result) {
  Example example;
  Image prepared;
  try {
    example = dataset.get(index);
    require_whole(dataset, index, example.image);
    require_numbers(dataset, index, example);
    if (is_in_grid && example.image.values.empty()) prepared = prepare_image(example.image, spec);
  } catch (const std::exception& error) {
    const std::lock_guard lock(mutex);
    result.unreadable[index] = error.what();
    return;
  }
  const std::lock_guard lock(mutex);
  ++result.sizes[{example.image.width, example.image.height}];
  if (!example.remark.empty()) ++result.remarks[example.remark];
  if (example.label >= 0 && example.label < std::ssize(result.classes)) {
    ++result.classes[static_cast<std::size_t>(example.label)];
  } else if (!result.classes.empty()) {
    result.unreadable[index] = text(dataset.describe(index), " has the label ", example.label,
                                    "; the data set promises 0 to ", result.classes.size() - 1);
  }
  if (!prepared.pixels.empty()) result.grid.push_back(std::move(prepared));
}

std::string to_text(const std::pair<std::int64_t, std::int64_t>& size) { return text(size.first, " x ", size.second); }

std::int64_t count_if(const Inspection& inspection, const std::function<bool(std::int64_t, std::int64_t)>& is_counted) {
  std::int64_t count = 0;
  for (const auto& [size, images] : inspection.sizes) count += is_counted(size.first, size.second) ? images : 0;
  return count;
}

std::int64_t enlarged(const Inspection& inspection, std::int64_t image_size) {
  return count_if(inspection, [&](std::int64_t w, std::int64_t h) { return std::min(w, h) < image_size; });
}

std::int64_t long_ones(const Inspection& inspection) {
  return count_if(inspection,
                  [](std::int64_t w, std::int64_t h) { return std::max(w, h) > kLongest * std::min(w, h); });
}

std::string describe_sizes(const Inspection& inspection, std::int64_t image_size) {
  if (inspection.sizes.empty()) return "none was read";
  const auto most = std::max_element(inspection.sizes.begin(), inspection.sizes.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  const auto by_area = [](const auto& a, const auto& b) {
    return a.first.first * a.first.second < b.first.first * b.first.second;
  };
  const auto [least, largest] = std::minmax_element(inspection.sizes.begin(), inspection.sizes.end(), by_area);
  std::string words = to_text(most->first);
  if (inspection.sizes.size() > 1) {
    words = text(inspection.sizes.size(), " from ", to_text(least->first), " to ", to_text(largest->first),
                 ", most often ", to_text(most->first), " (", most->second, " images)");
  }
  const std::int64_t small = enlarged(inspection, image_size), narrow = long_ones(inspection);
  if (small > 0) words += text("; ", small, " are smaller than ", image_size, " and are enlarged");
  if (narrow > 0)
    words += text("; ", narrow, " are over ", kLongest, " times as long as wide, and lose most to the crop");
  return words;
}

std::string describe_classes(const std::vector<std::int64_t>& classes) {
  const auto [least, most] = std::minmax_element(classes.begin(), classes.end());
  return text(classes.size(), " with ", *least, " (class ", least - classes.begin(), ") to ", *most, " images (class ",
              most - classes.begin(), ")");
}

double bytes_of(const Inspection& inspection, const DataOptions& data) {
  return static_cast<double>(inspection.images) * (inspection.is_floating_point ? sizeof(float) : 1) *
         static_cast<double>(data.channels * data.image_size * data.image_size);
}

std::string describe_memory(const Inspection& inspection, const DataOptions& data) {
  const double bytes = bytes_of(inspection, data);
  const bool is_plain = !inspection.is_floating_point && !inspection.has_extras;
  const bool is_kept =
      is_plain && (data.cache == CacheMode::always || (data.cache == CacheMode::automatic && bytes < kMostCachedBytes));
  const std::string why = is_plain ? text("data.cache = \"", to_string(data.cache), '"')
                                   : text("they ", inspection.has_extras ? "have extras" : "are in floating point");
  return text(static_cast<std::int64_t>(bytes / (1 << 20)) + 1, " MiB for all images at ", data.image_size, " x ",
              data.image_size, is_kept ? ", which a training keeps" : ", which a training does not keep", " (", why,
              ')');
}

}  // namespace

Inspection inspect_data(const LoadedExperiment& experiment, const std::shared_ptr<Dataset>& prepared,
                        std::optional<std::int64_t> most, std::int64_t in_grid,
                        const std::function<void(std::int64_t)>& progress) {
  const DataOptions& data = experiment.options.data;
  const std::shared_ptr<Dataset> dataset = open_whole(experiment, prepared);
  Inspection result{describe(*dataset), dataset->size(), dataset->is_floating_point(), !dataset->extras().empty()};
  const std::int64_t looks = std::min(result.images, most.value_or(result.images));
  result.classes.resize(static_cast<std::size_t>(dataset->num_classes()));
  const Dataset::Spec spec{ImageShape::square(data.channels, data.image_size)};
  const std::int64_t grid = std::min(in_grid, looks);
  std::mutex mutex;
  std::atomic<std::int64_t> next = 0;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (std::int64_t i = next++; i < looks; i = next++) {
        const bool is_in_grid = (i + 1) * grid / looks > i * grid / looks;
        look_at(*dataset, i * result.images / looks, spec, is_in_grid, mutex, result);
        const std::lock_guard lock(mutex);
        progress(++result.looked_at);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::int64_t i = 1; i < data.workers; ++i) threads.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
  return result;
}

std::string describe(const Inspection& inspection, const Experiment& experiment) {
  std::string lines = text("data     ", one_line(inspection.summary), '\n');
  lines +=
      text("read     ", inspection.looked_at, " of ", inspection.images, ": ",
           inspection.unreadable.empty() ? "all good" : text(inspection.unreadable.size(), " cannot be used"), '\n');
  lines += text("sizes    ", describe_sizes(inspection, experiment.data.image_size), '\n');
  if (!inspection.classes.empty()) lines += text("classes  ", describe_classes(inspection.classes), '\n');
  lines += text("memory   ", describe_memory(inspection, experiment.data), '\n');
  for (const auto& [remark, count] : inspection.remarks)
    lines += text("remark   ", count, " images ", one_line(remark), '\n');
  std::size_t named = 0;
  for (const auto& [index, message] : inspection.unreadable) {
    if (named++ == kMostNamed) {
      lines += text("         and ", inspection.unreadable.size() - kMostNamed, " more; --json names all\n");
      break;
    }
    lines += text("bad      ", one_line(message), '\n');
  }
  return lines;
}

Value to_value(const Inspection& inspection, const Experiment& experiment) {
  Value value{Value::Table{}};
  value.set("summary", inspection.summary);
  value.set("images", inspection.images);
  value.set("looked_at", inspection.looked_at);
  Value::Array sizes, unreadable;
  for (const auto& [size, count] : inspection.sizes) {
    Value entry{Value::Table{}};
    entry.set("width", size.first);
    entry.set("height", size.second);
    entry.set("images", count);
    sizes.push_back(std::move(entry));
  }
  for (const auto& [index, message] : inspection.unreadable) {
    Value entry{Value::Table{}};
    entry.set("index", index);
    entry.set("message", message);
    unreadable.push_back(std::move(entry));
  }
  value.set("stored_sizes", std::move(sizes));
  value.set("enlarged", enlarged(inspection, experiment.data.image_size));
  value.set("class_counts", Value::Array(inspection.classes.begin(), inspection.classes.end()));
  value.set("unreadable", std::move(unreadable));
  value.set("bytes", static_cast<std::int64_t>(bytes_of(inspection, experiment.data)));
  return value;
}

}  // namespace casdm
