#include "framework/training/initial_weights.h"

#include <algorithm>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/interchange/recorded_options.h"
#include "framework/training/checkpoint.h"

namespace casdm {

namespace {

TensorFile weights_of(const InitOptions& init) {
  try {
    return pretrained(init.from, init.module);
  } catch (const NoCheckpoint& error) {
    throw ConfigError(text("init: from = ", quoted(init.from.string()), " of module ", quoted(init.module),
                           " is neither a safetensors file nor a run or checkpoint: ", error.what()));
  }
}

}  // namespace

std::vector<NamedModule> initial_modules(const Model& model, const Experiment& options, bool is_new) {
  std::vector<NamedModule> modules = model.modules;
  for (const InitOptions& init : options.init) {
    const auto module =
        std::find_if(modules.begin(), modules.end(), [&](const NamedModule& m) { return m.name == init.module; });
    if (module == modules.end()) throw ConfigError(text("init: the head has no module '", init.module, "'"));
    if (init.freeze) module->is_trainable = false;
    if (!is_new) continue;
    const TensorFile weights = weights_of(init);
    // A module has the name of its table under [head].
    if (const Value* table = options.head.table.find(init.module)) {
      check_recorded_options(weights.metadata, *table, init.from.string(), "head." + init.module);
    }
    load_state(*module->module, weights.tensors, init.from.string());
  }
  return modules;
}

}  // namespace casdm
