#include "framework/training/progression.h"

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

Value Progression::numbers() const {
  Value result{Value::Table{}};
  result.set("step", step);
  result.set("images", images);
  result.set("num_classes", num_classes);
  result.set("loss_scales", Value::Array(loss_scales.begin(), loss_scales.end()));
  return result;
}

Progression Progression::of(const Checkpoint& checkpoint) {
  Progression result;
  result.images = checkpoint.images();
  result.step = checkpoint.count("step", result.images);
  result.num_classes = checkpoint.num_classes();
  const Value* scales = checkpoint.numbers().find("loss_scales");
  if (scales == nullptr || !scales->is_array()) {
    throw Error(text("checkpoint ", checkpoint.path().string(), ": 'loss_scales' is not an array"));
  }
  for (const Value& scale : scales->as_array()) {
    const double value = scale.is_number() ? scale.as_number() : -1;
    if (!std::isfinite(value) || value < 0) {
      throw Error(text("checkpoint ", checkpoint.path().string(), ": 'loss_scales' holds ", to_json(scale),
                       ": expected finite numbers of at least 0"));
    }
    result.loss_scales.push_back(value);
  }
  return result;
}

}  // namespace casdm
