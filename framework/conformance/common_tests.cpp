#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <thread>

#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/config/experiment.h"
#include "framework/conformance/calls.h"
#include "framework/conformance/conformance.h"
#include "framework/conformance/global_state.h"

namespace casdm::conformance {

namespace {

constexpr double kMegabyte = 1024.0 * 1024.0;

/// Memory in use, after freed memory was returned to the system.
double resident_megabytes() {
  ::malloc_trim(0);
  std::ifstream status("/proc/self/statm");
  double pages = 0;
  status >> pages >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / kMegabyte;
}

void constructs_with_defaults(const Subject& subject) { subject.make_default(); }

/// Each choice of each option is accepted or refused with one of casdm's errors.
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
      } catch (const NotTested&) {
        throw;
      } catch (const PluginError& error) {
        throw Failure(text(option.name, " = ", to_json(value), " is documented but: ", error.what()));
      } catch (const Error&) {
        continue;
      }
    }
  }
}

/// The host's keys in the tables of an experiment that choose a component of `kind`.
std::set<std::string> keys_of_the_host(const OptionSchema& schema, const std::string& kind) {
  std::set<std::string> keys = {"type"};
  for (const OptionSpec& option : schema) {
    if (option.component_kind == kind) {
      for (const OptionSpec& field : option.fields) keys.insert(field.name);
    }
    keys.merge(keys_of_the_host(option.element, kind));
    keys.merge(keys_of_the_host(option.fields, kind));
  }
  return keys;
}

bool is_within(const OptionSpec& option, double value) {
  const bool low =
      !option.minimum || value > *option.minimum || (!option.exclusive_minimum && value == *option.minimum);
  return low && (!option.maximum || value <= *option.maximum);
}

/// A default or an example must be within the option's own bounds.
void require_allowed(const OptionSpec& option, const Value& value, const std::string& name) {
  const auto& allowed = option.allowed;
  if (value.is_number()) {
    require(is_within(option, value.as_number()), text(name, ", ", to_json(value), ", is outside its own range"));
  } else if (value.is_string() && !allowed.empty()) {
    require(std::find(allowed.begin(), allowed.end(), value.as_string()) != allowed.end(),
            text(name, ", ", to_json(value), ", is not one of its choices"));
  } else if (value.is_array() && !option.element.empty()) {
    require(!option.length || value.as_array().size() == *option.length,
            text(name, " has ", value.as_array().size(), " elements, not ", option.length.value_or(0)));
    for (const Value& element : value.as_array()) require_allowed(option.element.front(), element, name);
  }
}

void require_sound(const OptionSchema& options, const std::string& prefix) {
  for (const OptionSpec& option : options) {
    const std::string name = prefix + option.name;
    require(!option.doc.empty(), text("option '", name, "' has no documentation"));
    require_allowed(option, option.default_value, text("the default of '", name, "'"));
    for (const Value& example : option.examples) require_allowed(option, example, text("an example of '", name, "'"));
    for (const OptionCondition& condition : option.conditions) {
      if (condition.option.find('.') != std::string::npos) continue;  // of a table that another plugin may read
      const auto other =
          std::find_if(options.begin(), options.end(), [&](const OptionSpec& o) { return o.name == condition.option; });
      require(other != options.end(),
              text("'", name, "' depends on '", condition.option, "', which is no option beside it"));
      for (const Value& value : condition.values) {
        require_allowed(*other, value, text("a value of '", condition.option, "' that '", name, "' depends on"));
      }
    }
    require_sound(option.fields, name + ".");
    if (!option.element.empty()) require_sound(option.element.front().fields, name + ".");
  }
}

/// The schema itself is sound: documented, with defaults inside their bounds, and without keys that the host reads.
void declares_sound_options(const Subject& subject) {
  const ComponentEntry& entry = subject.entry();
  require(!entry.doc.empty(), "the component has no documentation: give plugin.add a sentence");
  require_sound(entry.options, "");
  const std::set<std::string> taken = keys_of_the_host(schema_of<Experiment>(), entry.kind);
  for (const OptionSpec& option : entry.options) {
    require(!taken.contains(option.name),
            text("option '", option.name, "' would never be given: the host reads this key itself"));
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

/// Starts the threads and opens the files that LibTorch keeps.
void warm_up() {
  const Tensor weight = at::ones({16, 3, 3, 3}).requires_grad_(true);
  at::conv2d(at::ones({16, 3, 64, 64}), weight, {}, 1, 1).square().mean().backward();
  at::ones({512, 512}).mm(at::ones({512, 512})).log().sum();
  at::parallel_for(0, 1 << 20, 1, [](std::int64_t, std::int64_t) {});
}

/// What differs from `before`; gives threads a little time to end.
std::string left_over(const Facts& before) {
  std::string left = changes(before, resources());
  for (int wait = 0; wait < 20 && !left.empty(); ++wait) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    left = changes(before, resources());
  }
  return left;
}

void leaves_global_state_alone(const Subject& subject) {
  warm_up();
  const Facts before_all = resources();
  make_every_call(subject, [](const char* name, const std::function<void()>& work) {
    const Facts before = settings();
    work();
    const std::string changed = changes(before, settings());
    require(changed.empty(), text(name, " changes ", changed, "; the whole process relies on it: leave it as it was"));
  });
  const std::string left = left_over(before_all);
  require(left.empty(), text("its destructor leaves changed: ", left, "; give back what it opened or started"));
}

void serves_any_thread(const Subject& subject) {
  const std::vector<Tensor> here =
      make_every_call(subject, [](const char*, const std::function<void()>& work) { work(); });
  const std::vector<Tensor> elsewhere = make_every_call(subject, [](const char*, const std::function<void()>& work) {
    const bool has_gradient = at::GradMode::is_enabled();
    std::exception_ptr thrown;
    std::thread([&] {
      const at::AutoGradMode mode(has_gradient);
      try {
        work();
      } catch (...) {
        thrown = std::current_exception();
      }
    }).join();
    if (thrown) std::rethrow_exception(thrown);
  });
  bool is_same = here.size() == elsewhere.size();
  for (std::size_t i = 0; is_same && i < here.size(); ++i) {
    is_same = at::allclose(here[i].to(at::kDouble), elsewhere[i].to(at::kDouble), 1e-5, 1e-6, /*equal_nan=*/true);
  }
  require(is_same, "called from another thread each time, it gives other results: what does it keep per thread?");
}

/// The Spec becomes inaccessible after the constructor.
void copies_its_spec(const Subject& subject) {
  std::cerr << "it may have read its Spec after the constructor returned: copy what is needed\n";
  make_every_call(
      subject, [](const char*, const std::function<void()>& work) { work(); }, /*keeps_spec=*/false);
}

void writes_no_files(const Subject& subject) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path();  // the test's own
  fs::current_path(folder);
  make_every_call(subject, [](const char*, const std::function<void()>& work) { work(); });
  std::vector<std::string> left;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) left.push_back(entry.path().filename());
  require(left.empty(), text("it left ", join(left, ", "), " behind in the working directory or TMPDIR"));
}

void hands_out_what_can_be_trained(const Subject& subject) {
  const auto module = subject.make_module();
  if (module == nullptr) throw Skip("this kind holds no tensors of its own");
  std::map<const void*, std::string> seen;
  for (const auto& [name, parameter] : module->parameters()) {
    require(parameter.defined(), text("parameter ", name, " is undefined"));
    require(parameter.scalar_type() == at::kFloat,
            text("parameter ", name, " is ", at::toString(parameter.scalar_type()), "; parameters are float32"));
    require(parameter.is_leaf() && parameter.requires_grad(),
            text("parameter ", name, " is not a leaf that requires gradients"));
    const auto [other, is_new] = seen.emplace(parameter.data_ptr(), name);
    require(is_new || parameter.numel() == 0,
            text("parameters ", other->second, " and ", name, " share their memory; list a shared tensor once"));
  }
  for (const auto& [name, buffer] : module->buffers()) {
    require(buffer.defined(), text("buffer ", name, " is undefined"));
    require(!buffer.requires_grad(), text("buffer ", name, " requires gradients; what is trained is a parameter"));
  }
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
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "state.safetensors";
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
          {"", "serves_any_thread", false, serves_any_thread},
          {"", "copies_its_spec", false, copies_its_spec},
          {"", "writes_no_files", false, writes_no_files},
          {"", "hands_out_what_can_be_trained", false, hands_out_what_can_be_trained},
          {"", "keeps_state_names", false, keeps_state_names},
          {"", "survives_save_and_load", false, survives_save_and_load},
          {"", "does_not_grow", true, does_not_grow}};
}

}  // namespace casdm::conformance
