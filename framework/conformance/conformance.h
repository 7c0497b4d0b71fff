#pragma once

#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/error.h"
#include "casdm/module.h"
#include "framework/conformance/stand_ins.h"
#include "framework/loading/plugin_host.h"

/// The conformance tests behind `casdm plugins check`: what every plugin must keep, whoever wrote it.
namespace casdm::conformance {

/// A broken contract; its text says what was expected and what was found.
class Failure : public Error {
 public:
  using Error::Error;
};

/// A test that does not apply; its text says why.
class Skip : public Error {
 public:
  using Error::Error;
};

/// The component could not be made for want of an option; the text says which, and how to give it.
class NotTested : public Error {
 public:
  using Error::Error;
};

/// Where the tests of `--device` compute.
struct TestDevice {
  c10::Device device;
  /// Where the host waits for the device in `work`; empty: nowhere. Null: nobody counts.
  std::string (*waits_in)(const std::function<void()>& work) = nullptr;
};

/// One component under test.
class Subject {
 public:
  /// @param overrides  "component/option=value" or "option=value", for options without a usable default
  Subject(const PluginHost& host, const FoundPlugin& plugin, const ComponentEntry& entry,
          const std::vector<std::string>& overrides, std::uint64_t seed, const TestDevice& device);

  const ComponentEntry& entry() const { return entry_; }
  std::uint64_t seed() const { return seed_; }
  const TestDevice& device() const { return device_; }

  /// The component with the options of `table` over the defaults; slots for other components hold
  /// small stand-ins. Throws NotTested when an option has neither default nor example.
  template <class K>
  std::shared_ptr<K> make(const typename K::Spec& spec, const Value& table = Value(Value::Table{})) const {
    return factory().make<K>(config(table), spec);
  }

  /// The same with the Spec of the kind's suite, type-erased: for tests that serve all kinds.
  std::shared_ptr<void> make_default(const Value& table = Value(Value::Table{})) const;

  /// The component as a Module; null when its kind holds no tensors.
  std::shared_ptr<Module> make_module() const;

  ComponentConfig config(const Value& table = Value(Value::Table{})) const;

  /// Makes the plugin's own components, and the stand-ins.
  const StandInFactory& factory() const { return *factory_; }

 private:
  const FoundPlugin& plugin_;
  const ComponentEntry& entry_;
  std::vector<std::string> overrides_;
  std::uint64_t seed_;
  TestDevice device_;
  std::filesystem::path folder_;  ///< that relative paths are meant in
  std::shared_ptr<StandInFactory> factory_;
};

/// One test; it passes by returning and fails by throwing Failure.
struct Test {
  std::string_view kind;  ///< of the components it is for; empty: all
  std::string_view name;
  bool is_strict = false;  ///< only at the strict level
  void (*run)(const Subject&) = nullptr;
};

/// The tests that suit every kind.
std::vector<Test> common_tests();

/// Those that need a device other than the CPU.
std::vector<Test> device_tests();

/// The device `name`: "cpu", "cuda", or "stand-in" for the library that takes CUDA's place. Throws Error where there is
/// none.
TestDevice test_device(const std::string& name);

/// Those, and the tests of each kind.
std::vector<Test> tests();

/// Throws Failure with the message when `good` is false.
void require(bool good, const std::string& message);

}  // namespace casdm::conformance
