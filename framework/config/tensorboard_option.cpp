#include "framework/config/tensorboard_option.h"

#include "framework/config/key_path.h"

namespace casdm {

void declare_tensorboard(OptionSpec& log) {
  OptionSpec key;
  key.name = "tensorboard";
  key.type = OptionType::boolean;
  key.doc = "Also write the log and the grids as TensorBoard event files, beside metrics.jsonl.";
  key.default_value = false;
  log.default_value.set(key.name, key.default_value);
  log.fields.push_back(std::move(key));
}

bool writes_tensorboard(const Value& experiment) {
  const Value* value = find_path(experiment, "log.tensorboard");
  return value != nullptr && value->as_boolean();
}

}  // namespace casdm
