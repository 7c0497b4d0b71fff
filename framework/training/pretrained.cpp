#include "framework/training/pretrained.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/interchange/recorded_options.h"
#include "framework/support/checked_tensors.h"
#include "framework/training/module_state.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// The table of a module under [head]; null: there is none.
Value network_in(const Value* head, const std::string& module) {
  const Value* table = head != nullptr ? head->find(module) : nullptr;
  return table != nullptr ? *table : Value();
}

TensorFile read_weights_file(const fs::path& file) {
  try {
    return read_checked_tensors(file);
  } catch (const Error& error) {
    if (file.extension() == ".safetensors") throw;
    throw Error(text(error.what(), ". `casdm import` makes a safetensors file from the weights of other programs"));
  }
}

/// The experiment of the checkpoint that contains `file`, or of the run among whose snapshots of averages it is; null:
/// there is none.
Value config_beside(const fs::path& file) {
  std::error_code ignored;
  const fs::path folder = fs::canonical(file, ignored).parent_path();
  try {
    if (fs::is_regular_file(folder / "state.json", ignored)) return Checkpoint::open(folder).config();
    const RunFolder run = RunFolder::open(folder.parent_path());
    return folder == run.ema() ? load_document(run.config()) : Value();
  } catch (const Error&) {  // no run, or the file can be read, but not what is beside it
    return {};
  }
}

}  // namespace

Value meaning_of(const Value& experiment) {
  Value result{Value::Table{}};
  for (const char* name : {"noise", "head"}) {
    const Value* table = experiment.find(name);
    if (table == nullptr) continue;
    Value own = *table;
    std::erase_if(own.as_table(), [](const Value::Member& member) { return member.second.is_table(); });
    result.set(name, std::move(own));
  }
  return result;
}

std::map<std::string, std::string> description_of(const Value& experiment) {
  std::map<std::string, std::string> result = {{kMeaning, to_json(meaning_of(experiment))}};
  if (const Value* head = experiment.find("head")) result[kHeadOfRun] = to_json(*head);
  if (const Value* seed = find_path(experiment, "run.seed")) result[kSeedOfRun] = to_json(*seed);
  return result;
}

Pretrained pretrained(const Checkpoint& from, const std::string& module) {
  return {{from.weights(module, "ema"), {}}, network_in(from.config().find("head"), module), meaning_of(from.config())};
}

Pretrained pretrained(const fs::path& from, const std::string& module) {
  if (!fs::is_regular_file(from)) return pretrained(Checkpoint::open(from), module);
  Pretrained result{read_weights_file(from), {}, {}};
  const auto recorded_in = [&](const char* key) {
    const auto text_of = result.file.metadata.find(key);
    if (text_of == result.file.metadata.end()) return Value();
    try {
      return from_json(text_of->second);
    } catch (const Error& error) {
      throw Error(text(from.string(), ": its metadata ", quoted(key), " is damaged: ", error.what()));
    }
  };
  result.meaning = recorded_in(kMeaning);
  if (Value network = recorded_in(kNetworkOfFile); network.is_table()) result.network = std::move(network);
  NamedTensors of_module = part_of(result.file.tensors, module);
  if (!of_module.empty()) {
    result.file.tensors = std::move(of_module);
    if (const Value head = recorded_in(kHeadOfRun); !head.is_null()) result.network = network_in(&head, module);
  }
  if (!result.meaning.is_null() && !result.network.is_null()) return result;
  if (const Value config = config_beside(from); !config.is_null()) {
    if (result.meaning.is_null()) result.meaning = meaning_of(config);
    if (result.network.is_null()) result.network = network_in(config.find("head"), module);
  }
  return result;
}

}  // namespace casdm
