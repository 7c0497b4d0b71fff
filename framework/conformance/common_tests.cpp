#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <c10/core/DefaultDtype.h>
#include <malloc.h>
#include <unistd.h>

#include <fstream>

#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/conformance/conformance.h"

namespace casdm::conformance {

namespace {

constexpr double kMegabyte = 1024.0 * 1024.0;

/// Memory in use, after what was freed has gone back to the system.
double resident_megabytes() {
  ::malloc_trim(0);
  std::ifstream status("/proc/self/statm");
  double pages = 0;
  status >> pages >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / kMegabyte;
}

void constructs_with_defaults(const Subject& subject) { subject.make_default(); }

/// Each choice of each option is taken, or refused with one of casdm's errors.
void takes_documented_options(const Subject& subject) {
  for (const OptionSpec& option : subject.entry().options) {
    std::vector<Value> values(option.allowed.begin(), option.allowed.end());
    values.insert(values.end(), option.examples.begin(), option.examples.end());
    if (option.type == OptionType::boolean) values = {Value(true), Value(false)};
    if (option.type == OptionType::path) continue;
    for (const Value& value : values) {
      Value table{Value::Table{}};
      table.set(option.name, value);
      try {
        subject.make_default(table);
      } catch (const Skip&) {
        throw;
      } catch (const PluginError& error) {
        throw Failure(text(option.name, " = ", to_json(value), " is documented but: ", error.what()));
      } catch (const Error&) {
        continue;
      }
    }
  }
}

/// The schema itself is sound: documented, defaults inside their own bounds.
void declares_sound_options(const Subject& subject) {
  require(!subject.entry().doc.empty(), "the component has no documentation: give plugin.add a sentence");
  for (const OptionSpec& option : subject.entry().options) {
    require(!option.doc.empty(), text("option '", option.name, "' has no documentation"));
    if (option.default_value.is_number()) {
      const double value = option.default_value.as_number();
      const bool low =
          !option.minimum || value > *option.minimum || (!option.exclusive_minimum && value == *option.minimum);
      const bool high = !option.maximum || value <= *option.maximum;
      require(low && high, text("the default of '", option.name, "' is outside its own range"));
    }
    if (option.default_value.is_string() && !option.allowed.empty()) {
      const std::string& value = option.default_value.as_string();
      require(std::find(option.allowed.begin(), option.allowed.end(), value) != option.allowed.end(),
              text("the default of '", option.name, "' is none of its choices"));
    }
  }
}

void does_not_grow(const Subject& subject) {
  for (int i = 0; i < 8; ++i) subject.make_default();
  const double before = resident_megabytes();
  constexpr int kRounds = 24;
  for (int i = 0; i < kRounds; ++i) subject.make_default();
  const double growth = resident_megabytes() - before;
  require(growth < 16,
          text("making and destroying it ", kRounds, " times left ", static_cast<int>(growth), " MB behind"));
}

/// What a component must leave as it finds it.
struct GlobalState {
  int threads = at::get_num_threads();
  bool grad_mode = at::GradMode::is_enabled();
  caffe2::TypeMeta dtype = c10::get_default_dtype();
  Tensor generator = at::globalContext().defaultGenerator(c10::Device(c10::kCPU)).get_state().clone();
};

void leaves_global_state_alone(const Subject& subject) {
  const GlobalState before;
  const auto component = subject.make_default();
  const GlobalState after;
  require(before.threads == after.threads,
          text("it changed the number of threads from ", before.threads, " to ", after.threads));
  require(before.grad_mode == after.grad_mode, "it changed the global grad mode");
  require(before.dtype == after.dtype, "it changed the default dtype");
  require(at::equal(before.generator, after.generator),
          "it drew from the global random generator: use casdm::make_generator with the seed it is given");
}

void keeps_state_names(const Subject& subject) {
  const auto first = subject.make_module();
  if (first == nullptr) throw Skip("this kind holds no tensors of its own");
  const NamedTensors a = state(*first);
  const NamedTensors b = state(*subject.make_module());
  require(a.size() == b.size(), "two instances with the same options have different numbers of tensors");
  std::vector<std::string> names;
  for (std::size_t i = 0; i < a.size(); ++i) {
    require(a[i].first == b[i].first, text("state names differ between instances: ", a[i].first, " and ", b[i].first));
    require(at::equal(a[i].second, b[i].second),
            text("tensor ", a[i].first, " differs between instances made with one seed"));
    names.push_back(a[i].first);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  require(twice == names.end(), text("two tensors are named '", twice == names.end() ? "" : *twice, "'"));
}

void survives_save_and_load(const Subject& subject) {
  const auto module = subject.make_module();
  if (module == nullptr || state(*module).empty()) throw Skip("it holds no tensors");
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / text("casdm-conformance-", ::getpid(), ".safetensors");
  write_safetensors(path, state(*module));
  const auto other = subject.make_module();
  {
    at::NoGradGuard no_grad;
    for (auto& [name, tensor] : state(*other)) Tensor(tensor).zero_();
    for (const auto& [name, tensor] : state(*other)) {
      require(!tensor.any().item<bool>(),
              text("tensor ", name, " is a copy: return the handle that the module computes with"));
    }
  }
  const TensorFile file = read_safetensors(path);
  std::filesystem::remove(path);
  load_state(*other, file.tensors, "the saved state");
  const NamedTensors a = state(*module);
  const NamedTensors b = state(*other);
  for (std::size_t i = 0; i < a.size(); ++i) {
    require(at::equal(a[i].second, b[i].second), text("tensor ", a[i].first, " is not what was saved"));
  }
}

}  // namespace

std::vector<Test> common_tests() {
  return {{"", "constructs_with_defaults", false, constructs_with_defaults},
          {"", "declares_sound_options", false, declares_sound_options},
          {"", "takes_documented_options", false, takes_documented_options},
          {"", "leaves_global_state_alone", false, leaves_global_state_alone},
          {"", "keeps_state_names", false, keeps_state_names},
          {"", "survives_save_and_load", false, survives_save_and_load},
          {"", "does_not_grow", true, does_not_grow}};
}

}  // namespace casdm::conformance
