#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "framework/loading/plugin_host.h"
#include "framework/training/pretrained.h"

namespace casdm {

/// Throws ConfigError if `weights`, from the file or run `source`, were trained in a network that differs from
/// head.MODULE of the resolved experiment in a way that shapes do not show, as far as their run records it. For a
/// backbone without a native layout it is unknown which options matter: then those that differ are printed to stderr.
void check_network(const Pretrained& weights, const std::string& source, const Value& experiment,
                   const std::string& module, const PluginHost& host);

/// Prints to stderr, after `what`, the settings that define the meaning of the networks' outputs and in which the
/// resolved experiment `ours` differs from the one that trained them. This may be intended: theta of a DDPM can serve
/// in a cascade.
/// @param theirs  `meaning_of` an experiment; null: unknown
void report_other_meaning(std::string_view what, const Value& theirs, const Value& ours,
                          const ComponentCatalog& catalog);

/// Makes both checks for the weights of `modules` in a file that replaces a run's own weights. Throws Error if they
/// contain NaN.
void check_weights_file(const std::string& file, const std::vector<std::string>& modules, const Value& experiment,
                        const PluginHost& host);

/// check_network for every network whose table under [head] differs from the one in the experiment of `checkpoint`.
void check_networks(const Checkpoint& checkpoint, const Value& experiment, const std::vector<std::string>& modules,
                    const PluginHost& host);

}  // namespace casdm
