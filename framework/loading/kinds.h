#pragma once

#include <string_view>
#include <vector>

namespace casdm {

/// A kind of component as the host knows it: a row of the table in kinds.cpp. Stamps, `casdm plugins new`, the
/// conformance tests, the reference pages and the tests of the documentation iterate over these rows.
struct Kind {
  std::string_view name;        ///< K::kind: "metric_loss"; also the name of its template and its pages
  int version = 0;              ///< K::interface_version: the version that this host calls
  std::string_view short_name;  ///< accepted by `--kind` of `casdm plugins new`: "metric"
  std::string_view suffix;      ///< of the class names in the template: "Loss"
};

/// All kinds, sorted by name.
const std::vector<Kind>& kinds();

/// The row of `name`, or null if this host does not know the kind.
const Kind* find_kind(std::string_view name);

}  // namespace casdm
