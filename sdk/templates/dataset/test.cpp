#include <cstdlib>
#include <iostream>

#include "casdm/dataset.h"
#include "casdm/error.h"
#include "casdm/plugin_description.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

/// The component as the host makes it, with `options` as in the experiment file.
std::shared_ptr<casdm::Dataset> make(const casdm::Value& options, const casdm::Dataset::Spec& spec) {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  return std::static_pointer_cast<casdm::Dataset>(plugin.find("dataset", "template_name")->make(options, &spec));
}

bool throws_beyond_the_end(const casdm::Dataset& dataset) {
  try {
    dataset.get(dataset.size());
  } catch (const casdm::Error&) {
    return true;
  }
  return false;
}

}  // namespace

int main() {
  const casdm::Dataset::Spec spec{.image_size = 12, .channels = 3};
  const auto dataset = make(casdm::Value::Table{{"num_images", 10}}, spec);
  check(dataset->size() == 10, "it has as many images as asked for");
  const casdm::Image image = dataset->get(3).image;
  check(image.width == 12 && image.height == 12 && image.channels == 3, "an image has the size asked for");
  check(image.pixels.size() == 12 * 12 * 3, "an image has all its pixels");
  check(image.pixels == dataset->get(3).image.pixels, "an image is a pure function of its index");
  check(image.pixels != dataset->get(4).image.pixels, "two images differ");
  check(throws_beyond_the_end(*dataset), "an index past the end is refused");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
