#pragma once

#include <map>
#include <string>
#include <string_view>

#include "casdm/value.h"

namespace casdm {

/// Options that weights depend on although no shape shows them (ForeignWeights::recorded), kept in a safetensors file's
/// metadata as "option.<name>" with the value as JSON.
using Metadata = std::map<std::string, std::string>;

/// The entry that holds the table of the network that the weights of a file are of, as JSON.
constexpr const char* kNetworkOfFile = "network_options";

void record_options(Metadata& metadata, const Value& options);

/// A table; empty when none is recorded.
Value recorded_options(const Metadata& metadata);

/// Throws ConfigError when `options`, the table `where` of an experiment, has another value of an option that `source`
/// recorded. What only one of the two has is not compared.
void check_recorded_options(const Metadata& metadata, const Value& options, std::string_view source,
                            std::string_view where);

}  // namespace casdm
