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

/// The conformance tests behind `casdm plugins check`: what every plugin must comply with, whoever wrote it.
namespace casdm::conformance {

/// A violation of the contract; the message says what was expected and what was found.
class Failure : public Error {
 public:
  using Error::Error;
};

/// The test does not apply; the message says why.
class Skip : public Error {
 public:
  using Error::Error;
};

/// The component could not be created because an option has no value; the message says which and how to give it.
class NotTested : public Error {
 public:
  using Error::Error;
};

/// The device on which the tests of `--device` compute.
struct TestDevice {
  c10::Device device;
  /// Runs `work` and returns where the host waits for the device; empty: nowhere. Null: this cannot be measured.
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

  /// The component with the options of `table` over the defaults; small stand-ins fill the slots for other components.
  /// Throws NotTested if an option has neither default nor example.
  template <class K>
  std::shared_ptr<K> make(const typename K::Spec& spec, const Value& table = Value(Value::Table{})) const {
    return factory().make<K>(config(table), spec);
  }

  /// Type-erased and with the Spec of the kind's suite, for tests that apply to all kinds.
  std::shared_ptr<void> make_default(const Value& table = Value(Value::Table{})) const;

  /// The component as a Module; null if its kind has no tensors.
  std::shared_ptr<Module> make_module() const;

  ComponentConfig config(const Value& table = Value(Value::Table{})) const;

  /// Creates the plugin's own components and the stand-ins.
  const StandInFactory& factory() const { return *factory_; }

 private:
  const FoundPlugin& plugin_;
  const ComponentEntry& entry_;
  std::vector<std::string> overrides_;
  std::uint64_t seed_;
  TestDevice device_;
  std::filesystem::path folder_;  ///< to which relative paths refer
  std::shared_ptr<StandInFactory> factory_;
};

/// One test; it passes by returning and fails by throwing Failure.
struct Test {
  std::string_view kind;  ///< of the components it applies to; empty: all
  std::string_view name;
  bool is_strict = false;  ///< only at the strict level
  void (*run)(const Subject&) = nullptr;
};

/// The tests that apply to every kind.
std::vector<Test> common_tests();

/// The tests that need a device other than the CPU.
std::vector<Test> device_tests();

/// The device called `name`: "cpu", "cuda", or "stand-in" for the library that imitates CUDA. Throws Error if it is not
/// available.
TestDevice test_device(const std::string& name);

/// All of these and the tests of each kind.
std::vector<Test> tests();

/// Throws Failure with the message unless `good`.
void require(bool good, const std::string& message);

}  // namespace casdm::conformance
