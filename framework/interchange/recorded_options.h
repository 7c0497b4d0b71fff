#pragma once

#include <map>
#include <string>
#include <string_view>

#include "casdm/value.h"

namespace casdm {

/// Options that affect the weights without affecting any shape (ForeignWeights::recorded), stored in the metadata of a
/// safetensors file as "option.<name>" with the value as JSON.
using Metadata = std::map<std::string, std::string>;

/// The entry with the table of the network that a file's weights belong to, as JSON.
constexpr const char* kNetworkOfFile = "network_options";

void record_options(Metadata& metadata, const Value& options);

/// A table; empty if nothing is recorded. Throws Error, with the name of the file `source`, if an entry is damaged.
Value recorded_options(const Metadata& metadata, std::string_view source);

/// Throws ConfigError if `options`, the table `where` of an experiment, differs in the value of an option that `source`
/// recorded. Options that only one of them has are not compared.
void check_recorded_options(const Metadata& metadata, const Value& options, std::string_view source,
                            std::string_view where);

}  // namespace casdm
