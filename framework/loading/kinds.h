#pragma once

#include <string_view>
#include <vector>

namespace casdm {

/// A kind of component, as the host knows it: one row of the table in kinds.cpp. Stamps, `casdm plugins new`, the
/// conformance tests, the reference pages and the tests of the documentation walk these rows.
struct Kind {
  std::string_view name;        ///< K::kind: "metric_loss"; also of its template, and of its pages
  int version = 0;              ///< K::interface_version: what this host calls
  std::string_view short_name;  ///< what `--kind` of `casdm plugins new` takes too: "metric"
  std::string_view suffix;      ///< of a class of this kind, in the template: "Loss"
};

/// All kinds, in the order of their names.
const std::vector<Kind>& kinds();

/// The row of `name`, or null: this host knows no such kind.
const Kind* find_kind(std::string_view name);

}  // namespace casdm
