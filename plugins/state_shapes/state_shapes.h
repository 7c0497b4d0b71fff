#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "casdm/module.h"
#include "casdm/text.h"
#include "casdm/value.h"

/// States of networks, recognised by names and shapes alone.
namespace casdm {

using Shape = std::vector<std::int64_t>;
using Shapes = std::map<std::string, Shape>;

struct NamedShape {
  std::string name;
  Shape shape;
};

inline Shapes shapes_of(const NamedTensors& state) {
  Shapes shapes;
  for (const auto& [name, tensor] : state) shapes[name] = tensor.sizes().vec();
  return shapes;
}

/// The size of a tensor along `axis`; 0 if it does not exist.
inline std::int64_t size_of(const Shapes& shapes, const std::string& name, std::size_t axis) {
  const auto found = shapes.find(name);
  return found != shapes.end() && axis < found->second.size() ? found->second[axis] : 0;
}

/// How `shapes` differ from those of `tensors`, each of which has a name and a shape; empty: not at all.
template <class Tensors>
std::string difference(Shapes shapes, const Tensors& tensors) {
  for (const auto& tensor : tensors) {
    const auto found = shapes.find(tensor.name);
    if (found == shapes.end()) return "there is no " + tensor.name;
    if (found->second != tensor.shape) {
      return text(tensor.name, " has shape ", at::IntArrayRef(found->second), ", expected ",
                  at::IntArrayRef(tensor.shape));
    }
    shapes.erase(found);
  }
  return shapes.empty() ? "" : "such a network has no " + quoted(shapes.begin()->first);
}

/// Those of `options` that have one of the names.
template <class Names = std::initializer_list<const char*>>
Value picked(const Value& options, const Names& names) {
  Value result{Value::Table{}};
  for (const char* name : names) {
    if (const Value* value = options.find(name)) result.set(name, *value);
  }
  return result;
}

}  // namespace casdm
