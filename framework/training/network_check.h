#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "framework/loading/plugin_host.h"
#include "framework/training/checkpoint.h"

namespace casdm {

/// Throws ConfigError when `weights`, of the file or run `source`, were trained in another network than head.MODULE of
/// the resolved experiment makes, as far as their run tells and no shape shows. Of a backbone without a native layout
/// nobody knows which options that takes: then those that differ are named on stderr.
void check_network(const Pretrained& weights, const std::string& source, const Value& experiment,
                   const std::string& module, const PluginHost& host);

/// Names on stderr, after `what`, in which settings that give the networks' outputs their meaning the resolved
/// experiment `ours` differs from those that trained them. They may be meant so: theta of a DDPM serves in a cascade.
/// @param theirs  `meaning_of` an experiment; null: not known
void report_other_meaning(std::string_view what, const Value& theirs, const Value& ours);

/// Both of the weights of `modules` in a file that takes the place of a run's own. Throws Error when they hold NaN.
void check_weights_file(const std::string& file, const std::vector<std::string>& modules, const Value& experiment,
                        const PluginHost& host);

/// check_network of every network whose table under [head] is another than in the experiment of `checkpoint`.
void check_networks(const Checkpoint& checkpoint, const Value& experiment, const std::vector<std::string>& modules,
                    const PluginHost& host);

}  // namespace casdm
