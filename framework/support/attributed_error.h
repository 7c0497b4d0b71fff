#pragma once

namespace casdm {

/// Exceptions that say where they come from, or that no component causes: passing through a component's code, they stay
/// as they are (see throw_attributed).
struct Attributed {
  virtual ~Attributed() = default;
};

}  // namespace casdm
