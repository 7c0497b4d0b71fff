#pragma once

#include <map>
#include <string>
#include <string_view>

#include "framework/config/resolve.h"

namespace casdm {

/// The reference pages, Markdown by file name, made from the schemas alone: README.md (all kinds and components),
/// experiment.md (the host's keys), sweep.md (the keys of a sweep) and a page for each kind of component, with a table
/// of the options and an example of each component. The same schemas give the same text on every machine.
std::map<std::string, std::string> reference_pages(const OptionSchema& schema, const OptionSchema& sweep,
                                                   const ComponentCatalog& catalog);

/// Whether `content` is a reference page written by this or an earlier version.
bool is_reference_page(std::string_view content);

}  // namespace casdm
