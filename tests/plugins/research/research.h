#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "casdm/head_network.h"
#include "casdm/metric_loss.h"
#include "casdm/noise_scheduler.h"
#include "casdm/plugin.h"

/// Small forms of what research with this framework may bring: each is a component and a TOML file, and the host knows
/// nothing of it.
namespace casdm::research {

void add_paths(PluginRegistrar& plugin);
void add_heads(PluginRegistrar& plugin);
void add_metrics(PluginRegistrar& plugin);
void add_networks(PluginRegistrar& plugin);

}  // namespace casdm::research
