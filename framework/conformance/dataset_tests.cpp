#include <future>

#include "casdm/dataset.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"
#include "framework/data/extras.h"
#include "framework/data/whole_image.h"

namespace casdm::conformance::datasets {

namespace {

constexpr std::int64_t kLooks = 16;

std::shared_ptr<Dataset> dataset(const Subject& subject, std::int64_t channels = kChannels) {
  return subject.make<Dataset>({ImageShape::square(channels, kImageSize)});
}

/// Indices spread over the whole set.
std::vector<std::int64_t> some_indices(const Dataset& data) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < std::min(kLooks, data.size()); ++i)
    indices.push_back(i * data.size() / std::min(kLooks, data.size()));
  return indices;
}

void require_whole(const Dataset& data, const Image& image, std::int64_t channels, std::int64_t index) {
  require(image.width > 0 && image.height > 0 && image.channels == channels,
          text("image ", index, " is ", image.width, "x", image.height, "x", image.channels, "; ", channels,
               " channels were asked for"));
  const bool is_floating_point = data.is_floating_point();
  const std::size_t count = is_floating_point ? image.values.size() : image.pixels.size();
  require(is_whole(image, count), text("image ", index, " has ", count, is_floating_point ? " values" : " bytes",
                                       ", not width * height * channels"));
  require((is_floating_point ? image.pixels.size() : image.values.size()) == 0,
          text("image ", index, " has both pixels and values"));
  require(!is_floating_point || (image.width == kImageSize && image.height == kImageSize),
          text("image ", index, " is in floating point but does not have the size asked for"));
}

/// Each image has the declared extras, complete.
void holds_its_extras(const Subject& subject) {
  const auto data = dataset(subject);
  for (const std::int64_t index : some_indices(*data)) {
    const Example example = data->get(index);
    require(example.extras.size() == data->extras().size(),
            text("image ", index, " has ", example.extras.size(), " extras, ", data->extras().size(), " are declared"));
    for (const ExtraInfo& info : data->extras()) prepared_extra(info, example);
  }
}

void holds_whole_images(const Subject& subject) {
  const auto data = dataset(subject);
  require(data->size() > 0, "the data set is empty");
  require(data->left_out().find('\n') == std::string::npos, "left_out() has several lines; it becomes part of one");
  const std::int64_t classes = data->num_classes();
  require(classes >= 0, text("num_classes() is ", classes, "; 0 means that there are no labels"));
  for (const std::int64_t index : some_indices(*data)) {
    const Example example = data->get(index);
    require_whole(*data, example.image, kChannels, index);
    require(classes > 0 || example.label == -1,
            text("image ", index, " has label ", example.label, ", but num_classes() is 0; without classes it is -1"));
    require(classes == 0 || (example.label >= 0 && example.label < classes),
            text("image ", index, " has label ", example.label, " of ", classes, " classes"));
    require(!data->describe(index).empty(), text("describe(", index, ") is empty"));
  }
}

void gives_the_channels_asked_for(const Subject& subject) {
  const auto data = dataset(subject, 1);
  for (const std::int64_t index : some_indices(*data)) require_whole(*data, data->get(index).image, 1, index);
}

bool same(const Example& a, const Example& b) {
  return a.label == b.label && a.image.width == b.image.width && a.image.height == b.image.height &&
         a.image.pixels == b.image.pixels && a.image.values == b.image.values && a.remark == b.remark &&
         std::equal(a.extras.begin(), a.extras.end(), b.extras.begin(), b.extras.end(),
                    [](const auto& one, const auto& other) {
                      return one.first == other.first && one.second.values == other.second.values &&
                             one.second.integers == other.second.integers;
                    });
}

void is_a_function_of_the_index(const Subject& subject) {
  const auto data = dataset(subject);
  const auto other = dataset(subject);
  require(data->size() == other->size() && data->num_classes() == other->num_classes(),
          "two instances differ in their number of images or classes");
  for (const std::int64_t index : some_indices(*data)) {
    const Example first = data->get(index);
    require(same(first, data->get(index)), text("image ", index, " differs when read twice"));
    require(same(first, other->get(index)), text("image ", index, " differs between two instances"));
  }
}

void can_be_read_by_several_threads(const Subject& subject) {
  const auto data = dataset(subject);
  const std::vector<std::int64_t> indices = some_indices(*data);
  std::vector<Example> expected;
  for (const std::int64_t index : indices) expected.push_back(data->get(index));
  std::vector<std::future<bool>> readers;
  for (int thread = 0; thread < 4; ++thread) {
    readers.push_back(std::async(std::launch::async, [&] {
      bool good = true;
      for (int round = 0; round < 4; ++round) {
        for (std::size_t i = 0; i < indices.size(); ++i) good = same(data->get(indices[i]), expected[i]) && good;
      }
      return good;
    }));
  }
  bool good = true;
  for (auto& reader : readers) good = reader.get() && good;
  require(good, "several threads read other images than one thread alone");
}

Dataset::Spec spec_for(const Subject&) { return {kImage}; }

}  // namespace

Suite requirements() {
  const auto kind = Dataset::kind;
  return suite<Dataset, spec_for>({{kind, "holds_whole_images", false, holds_whole_images},
                                   {kind, "holds_its_extras", false, holds_its_extras},
                                   {kind, "gives_the_channels_asked_for", false, gives_the_channels_asked_for},
                                   {kind, "is_a_function_of_the_index", false, is_a_function_of_the_index},
                                   {kind, "can_be_read_by_several_threads", false, can_be_read_by_several_threads}},
                                  call_dataset);
}

}  // namespace casdm::conformance::datasets
