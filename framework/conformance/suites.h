#pragma once

#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

#include "framework/conformance/calls.h"

namespace casdm::conformance {

/// The conformance tests of one kind, and what the tests for all kinds need to know about it.
struct Suite {
  std::string_view kind;
  std::vector<Test> tests;
  std::shared_ptr<void> (*make)(const Subject&, const Value& table) = nullptr;  ///< with the Spec of the suite
  std::shared_ptr<Module> (*make_module)(const Subject&) = nullptr;             ///< null: this kind holds no tensors
  void (*call)(Caller&) = nullptr;  ///< makes every call that the host makes, constructor first, destructor last
  /// Creates the component that `type = "conformance/stand_in"` means inside other components; null: there is none.
  std::shared_ptr<void> (*stand_in)(const void* spec) = nullptr;
};

/// The suite of kind K; `kSpec` makes the Spec for its components.
template <class K, typename K::Spec (*kSpec)(const Subject&)>
Suite suite(std::vector<Test> tests, void (*call)(Caller&),
            std::shared_ptr<void> (*stand_in)(const void* spec) = nullptr) {
  Suite suite{K::kind, std::move(tests), [](const Subject& subject, const Value& table) {
                return std::static_pointer_cast<void>(subject.make<K>(kSpec(subject), table));
              }};
  if constexpr (std::is_base_of_v<Module, K>) {
    suite.make_module = [](const Subject& subject) -> std::shared_ptr<Module> {
      return subject.make<K>(kSpec(subject));
    };
  }
  suite.call = call;
  suite.stand_in = stand_in;
  return suite;
}

/// Each is defined in its own file.
namespace augmentations {
Suite requirements();
}
namespace backbones {
Suite requirements();
}
namespace datasets {
Suite requirements();
}
namespace feature_extractors {
Suite requirements();
}
namespace heads {
Suite requirements();
}
namespace metrics {
Suite requirements();
}
namespace noise_schedulers {
Suite requirements();
}
namespace optimizers {
Suite requirements();
}
namespace samplers {
Suite requirements();
}
namespace set_metrics {
Suite requirements();
}
namespace timestep_samplers {
Suite requirements();
}
namespace weight_layouts {
Suite requirements();
}

/// One for each row of framework/loading/kinds.h.
const std::vector<Suite>& suites();

/// The suite of `kind`, or null.
const Suite* find_suite(std::string_view kind);

}  // namespace casdm::conformance
