#include "framework/evaluation/telling_options.h"

#include <algorithm>

namespace casdm {

Value telling_options(const Value& extractor) {
  const Value* options = extractor.find("options");
  Value result = options != nullptr && options->is_table() ? *options : Value(Value::Table{});
  const Value* located_by = extractor.find(kLocatedBy);
  if (located_by == nullptr || !located_by->is_array()) {
    // Earlier versions told networks with weights by these alone.
    const Value* digest = extractor.find("weights_sha256");
    return digest == nullptr || *digest == Value("") ? result : Value(Value::Table{});
  }
  const Value::Array& names = located_by->as_array();
  std::erase_if(result.as_table(), [&](const Value::Member& option) {
    return std::find(names.begin(), names.end(), Value(option.first)) != names.end();
  });
  return result;
}

}  // namespace casdm
