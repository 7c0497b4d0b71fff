#include "framework/distributed/divided_tensors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>

#include "casdm/text.h"
#include "casdm/value.h"

namespace casdm {

namespace {

/// Tensors by name; an undefined one where there is none.
class ByName {
 public:
  explicit ByName(const NamedTensors& tensors) {
    for (const auto& [name, tensor] : tensors) tensors_.emplace(name, tensor);
  }
  at::Tensor operator[](const std::string& name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? at::Tensor() : found->second;
  }

 private:
  std::map<std::string, at::Tensor> tensors_;
};

/// Names, types and shapes, without the content.
std::string forms_of(const NamedTensors& tensors) {
  Value::Array forms;
  for (const auto& [name, tensor] : tensors) {
    Value::Array shape;
    for (const std::int64_t length : tensor.sizes()) shape.emplace_back(length);
    forms.emplace_back(Value::Table{
        {"name", name}, {"type", static_cast<std::int64_t>(tensor.scalar_type())}, {"shape", std::move(shape)}});
  }
  return to_json(Value(std::move(forms)));
}

}  // namespace

DividedTensors::DividedTensors(const std::vector<std::string>& names, const NamedTensors& own, World& world)
    : world_(world) {
  std::map<std::string, Entry> known;
  const std::vector<std::string> forms = world.gather(forms_of(own));
  for (std::size_t rank = 0; rank < forms.size(); ++rank) {
    const Value forms_of_rank = from_json(forms[rank]);
    for (const Value& form : forms_of_rank.as_array()) {
      const std::string& name = form.find("name")->as_string();
      Entry& entry = known[name];
      entry.name = name;
      entry.type = static_cast<c10::ScalarType>(form.find("type")->as_integer());
      entry.shape.clear();
      for (const Value& length : form.find("shape")->as_array()) entry.shape.push_back(length.as_integer());
      entry.owners.push_back(static_cast<int>(rank));
    }
  }
  for (const std::string& name : names) {
    const auto found = known.find(name);
    if (found == known.end()) throw Error(text("no process has the tensor ", name));
    entries_.push_back(std::move(found->second));
    known.erase(found);
  }
  if (!known.empty()) throw Error(text("the tensor ", known.begin()->first, " is not one of those divided"));
}

NamedTensors DividedTensors::collect(const NamedTensors& own) const {
  NamedTensors all;
  const ByName mine(own);
  for (const Entry& entry : entries_) {
    const int from = entry.owners.front();
    const bool is_new = world_.is_first() && from != 0;
    const at::Tensor tensor = is_new ? at::empty(entry.shape, entry.type) : mine[entry.name];
    if (is_new || world_.rank() == from) world_.give_to_first(tensor, from);
    if (world_.is_first()) all.emplace_back(entry.name, tensor);
  }
  return all;
}

NamedTensors DividedTensors::blank() const {
  NamedTensors all;
  for (const Entry& entry : entries_) all.emplace_back(entry.name, at::zeros(entry.shape, entry.type));
  return all;
}

void DividedTensors::distribute(const NamedTensors& all, const NamedTensors& own) const {
  const at::NoGradGuard no_grad;
  const ByName mine(own);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    const at::Tensor tensor = world_.is_first() ? all.at(i).second : at::empty(entry.shape, entry.type);
    world_.take_from_first(tensor);
    if (at::Tensor handle = mine[entry.name]; handle.defined()) handle.copy_(tensor);
  }
}

void DividedTensors::add_bytes(std::vector<std::int64_t>& bytes) const {
  for (const Entry& entry : entries_) {
    const std::int64_t size =
        c10::multiply_integers(entry.shape) * static_cast<std::int64_t>(c10::elementSize(entry.type));
    for (const int owner : entry.owners) bytes.at(static_cast<std::size_t>(owner)) += size;
  }
}

}  // namespace casdm
