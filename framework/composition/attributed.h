#pragma once

#include <memory>

#include "casdm/dataset.h"
#include "casdm/module.h"
#include "framework/loading/component.h"

namespace casdm {

/// Components that the host hands around by their interface: each call goes through the Component. They override every
/// method; one that is added to an interface and not here would be the interface's default for every plugin.

class AttributedModule final : public Module {
 public:
  explicit AttributedModule(Component<Module> module) : module_(std::move(module)) {}

  NamedTensors parameters() const override { return module_.call(&Module::parameters); }
  NamedTensors buffers() const override { return module_.call(&Module::buffers); }
  void train(bool on) override { module_.call(&Module::train, on); }

 private:
  Component<Module> module_;
};

class AttributedDataset final : public Dataset {
 public:
  explicit AttributedDataset(Component<Dataset> dataset) : dataset_(std::move(dataset)) {}

  std::int64_t size() const override { return dataset_.call(&Dataset::size); }
  Example get(std::int64_t index) const override { return dataset_.call(&Dataset::get, index); }
  std::int64_t num_classes() const override { return dataset_.call(&Dataset::num_classes); }
  std::string describe(std::int64_t index) const override { return dataset_.call(&Dataset::describe, index); }
  std::string left_out() const override { return dataset_.call(&Dataset::left_out); }

 private:
  Component<Dataset> dataset_;
};

}  // namespace casdm
